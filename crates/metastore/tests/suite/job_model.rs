//! Random histories of the queue against a model that fits on a page.

use std::collections::BTreeMap;
use std::time::Duration;

use metastore::{ErrorKind, JobId, JobRow, NextJob, Tx};
use model::{Clock, Timestamp};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::World;

const LEASE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
enum Step {
    Enqueue(u8),
    Claim,
    /// By the worker that made the n-th claim, perhaps long ago.
    Settle {
        claim: usize,
        done: bool,
        delay: u8,
    },
    Retry {
        claim: usize,
        delay: u8,
    },
    Heartbeat(usize),
    Wait(u8),
    /// Everything since the last commit is lost.
    Crash,
    Commit,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u8..4).prop_map(Step::Enqueue),
        4 => Just(Step::Claim),
        3 => (any::<usize>(), any::<bool>(), 0_u8..15)
            .prop_map(|(claim, done, delay)| Step::Settle { claim, done, delay }),
        2 => (any::<usize>(), 0_u8..15).prop_map(|(claim, delay)| Step::Retry { claim, delay }),
        1 => any::<usize>().prop_map(Step::Heartbeat),
        2 => (1_u8..15).prop_map(Step::Wait),
        1 => Just(Step::Crash),
        2 => Just(Step::Commit),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Job {
    id: JobId,
    run_after: Timestamp,
    lease_until: Option<Timestamp>,
    generation: i64,
    attempts: u32,
}

/// Live jobs by key.
type Model = BTreeMap<String, Job>;

/// The job that a worker's claim still holds.
fn held<'a>(model: &'a mut Model, claim: &(JobId, i64)) -> Option<&'a mut Job> {
    model.values_mut().find(|job| job.id == claim.0 && job.generation == claim.1 && job.lease_until.is_some())
}

fn claimable(model: &mut Model, now: Timestamp) -> Option<&mut Job> {
    let due = |job: &&mut Job| job.run_after <= now && job.lease_until.is_none_or(|until| until <= now);
    model.values_mut().filter(due).min_by_key(|job| (job.run_after, job.id))
}

fn delayed(now: Timestamp, seconds: u8) -> Timestamp {
    now.plus(Duration::from_secs(seconds.into()))
}

#[derive(Clone, Default)]
struct History {
    model: Model,
    /// Every claim ever made, of workers that may be gone, asleep or alive.
    claims: Vec<(JobId, i64)>,
}

impl History {
    fn claim(&self, n: usize) -> Option<(JobId, i64)> {
        self.claims.get(n.checked_rem(self.claims.len())?).copied()
    }

    async fn apply(&mut self, tx: &mut Tx, now: Timestamp, step: &Step) {
        match step {
            Step::Enqueue(key) => self.enqueue(tx, now, &format!("key-{key}")).await,
            Step::Claim => self.take(tx, now).await,
            Step::Settle { claim, done, delay } => {
                let Some(claim) = self.claim(*claim) else { return };
                let run_after = delayed(now, *delay);
                let next = if *done {
                    NextJob::Done
                } else {
                    NextJob::Again { payload: "{}".to_owned(), run_after }
                };
                let answer = tx.job_settle(claim.0, claim.1, next).await;
                let Some(job) = self.expect_fence(&claim, answer) else { return };
                (job.run_after, job.lease_until, job.attempts) = (run_after, None, 0);
                if *done {
                    self.model.retain(|_, job| job.id != claim.0);
                }
            }
            Step::Retry { claim, delay } => {
                let Some(claim) = self.claim(*claim) else { return };
                let run_after = delayed(now, *delay);
                let answer = tx.job_retry(claim.0, claim.1, run_after, "no").await;
                let Some(job) = self.expect_fence(&claim, answer) else { return };
                (job.run_after, job.lease_until) = (run_after, None);
            }
            Step::Heartbeat(claim) => {
                let Some(claim) = self.claim(*claim) else { return };
                let answer = tx.job_heartbeat(claim.0, claim.1, now, LEASE).await;
                let Some(job) = self.expect_fence(&claim, answer) else { return };
                job.lease_until = Some(now.plus(LEASE));
            }
            Step::Wait(_) | Step::Crash | Step::Commit => {}
        }
    }

    async fn enqueue(&mut self, tx: &mut Tx, now: Timestamp, key: &str) {
        let added = tx.job_enqueue("kind", key, "{}").await.unwrap();
        assert_eq!(added, !self.model.contains_key(key));
        if added {
            let id = tx.job_by_key(key).await.unwrap().unwrap().job_id;
            let job = Job { id, run_after: now, lease_until: None, generation: 0, attempts: 0 };
            self.model.insert(key.to_owned(), job);
        }
    }

    async fn take(&mut self, tx: &mut Tx, now: Timestamp) {
        let claimed = tx.job_claim(now, LEASE).await.unwrap();
        let expected = claimable(&mut self.model, now).map(|job| {
            job.generation += 1;
            job.attempts += 1;
            job.lease_until = Some(now.plus(LEASE));
            (job.id, job.generation)
        });
        assert_eq!(claimed.map(|job| (job.job_id, job.generation)), expected);
        self.claims.extend(expected);
    }

    /// The job, if the claim holds it; and the answer must say the same.
    fn expect_fence(&mut self, claim: &(JobId, i64), answer: metastore::Result<()>) -> Option<&mut Job> {
        let job = held(&mut self.model, claim);
        match answer {
            Ok(()) => assert!(job.is_some(), "a loser got through: {claim:?}"),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Conflict);
                assert!(job.is_none(), "the holder was fenced: {claim:?}");
            }
        }
        job
    }

    async fn compare(&self, tx: &mut Tx, now: Timestamp) {
        let live = tx.jobs_live().await.unwrap();
        let live: Model = live
            .into_iter()
            .map(|row| {
                let JobRow { job_id, key, attempts, run_after, lease_until, generation, .. } = row;
                (key, Job { id: job_id, run_after, lease_until, generation, attempts })
            })
            .collect();
        assert_eq!(live, self.model);
        let due =
            |job: &Job| job.lease_until.map_or(job.run_after, |until| until.max(job.run_after)).max(now);
        assert_eq!(tx.next_due(now).await.unwrap(), self.model.values().map(due).min());
    }
}

async fn run(world: &World, steps: &[Step]) {
    world.metastore.reset(metastore::Keep::Nothing).await.unwrap();
    let mut history = History::default();
    let mut committed = history.clone();
    let mut tx = world.write().await;
    for step in steps {
        match step {
            Step::Wait(seconds) => world.advance((*seconds).into()),
            Step::Commit => {
                tx.commit().await.unwrap();
                committed.clone_from(&history);
                tx = world.write().await;
            }
            Step::Crash => {
                drop(tx);
                history.clone_from(&committed);
                tx = world.write().await;
            }
            Step::Enqueue(_)
            | Step::Claim
            | Step::Settle { .. }
            | Step::Retry { .. }
            | Step::Heartbeat(_) => history.apply(&mut tx, world.clock.now(), step).await,
        }
        history.compare(&mut tx, world.clock.now()).await;
    }
}

pub(crate) async fn jobs_behave_as_the_model(world: World) {
    const HISTORIES: u32 = 60;
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..HISTORIES {
        let steps = prop::collection::vec(step(), 1..60).new_tree(&mut runner).unwrap().current();
        eprintln!("{steps:?}");
        run(&world, &steps).await;
    }
}
