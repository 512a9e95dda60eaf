use std::time::Duration;

use metastore::{ErrorKind, JobRow, Keep, NextJob, Tx};
use model::{Clock, Timestamp};

use crate::{START, World};

const LEASE: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

async fn claim(tx: &mut Tx, seconds: u64) -> Option<JobRow> {
    tx.job_claim(at(seconds), LEASE).await.unwrap()
}

fn again(payload: &str, seconds: u64) -> NextJob {
    NextJob::Again { payload: payload.to_owned(), run_after: at(seconds) }
}

pub(crate) async fn one_live_job_a_key(world: World) {
    let mut tx = world.write().await;
    assert!(tx.job_enqueue("upload", "snap-1", "{\"step\":1}").await.unwrap());
    assert!(!tx.job_enqueue("upload", "snap-1", "{}").await.unwrap());
    assert!(!tx.job_enqueue("another kind", "snap-1", "{}").await.unwrap());
    assert!(tx.job_enqueue("upload", "snap-2", "{}").await.unwrap());
    let job = tx.job_by_key("snap-1").await.unwrap().unwrap();
    assert_eq!((job.kind.as_str(), job.payload.as_str()), ("upload", "{\"step\":1}"));
    assert_eq!((job.attempts, job.generation, job.lease_until), (0, 0, None));
    assert_eq!((job.created, job.run_after), (START, START));
    assert_eq!(tx.jobs_live().await.unwrap().len(), 2);
    let job = claim(&mut tx, 0).await.unwrap();
    tx.job_settle(job.job_id, job.generation, NextJob::Done).await.unwrap();
    assert_eq!(tx.job_by_key("snap-1").await.unwrap(), None);
    assert!(tx.job_enqueue("upload", "snap-1", "{}").await.unwrap());
}

pub(crate) async fn the_oldest_due_job_is_claimed_first(world: World) {
    let mut tx = world.write().await;
    for key in ["a", "b", "c"] {
        tx.job_enqueue("k", key, "{}").await.unwrap();
        world.advance(10);
    }
    assert_eq!(claim(&mut tx, 15).await.unwrap().key, "a");
    assert_eq!(claim(&mut tx, 15).await.unwrap().key, "b");
    assert_eq!(claim(&mut tx, 15).await, None, "c is due in 5 seconds");
    assert_eq!(claim(&mut tx, 20).await.unwrap().key, "c");
    assert_eq!(claim(&mut tx, 20).await, None, "all are held");
}

pub(crate) async fn a_lease_that_ran_out_is_stolen_and_fences_the_loser(world: World) {
    let mut tx = world.write().await;
    tx.job_enqueue("k", "a", "{}").await.unwrap();
    let loser = claim(&mut tx, 0).await.unwrap();
    assert_eq!((loser.generation, loser.attempts, loser.lease_until), (1, 1, Some(at(30))));
    assert_eq!(claim(&mut tx, 29).await, None);
    let thief = claim(&mut tx, 30).await.unwrap();
    assert_eq!((thief.job_id, thief.generation, thief.attempts), (loser.job_id, 2, 2));
    let (id, old) = (loser.job_id, loser.generation);
    assert_eq!(tx.job_settle(id, old, NextJob::Done).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tx.job_settle(id, old, again("x", 0)).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tx.job_retry(id, old, at(0), "late").await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tx.job_heartbeat(id, old, at(31), LEASE).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tx.job_by_key("a").await.unwrap(), Some(thief.clone()), "the loser changed nothing");
    tx.job_settle(id, thief.generation, NextJob::Done).await.unwrap();
    assert_eq!(tx.jobs_live().await.unwrap(), []);
}

pub(crate) async fn another_step_starts_over(world: World) {
    let mut tx = world.write().await;
    tx.job_enqueue("k", "a", "one").await.unwrap();
    let first = claim(&mut tx, 0).await.unwrap();
    tx.job_retry(first.job_id, first.generation, at(0), "disk full").await.unwrap();
    let first = claim(&mut tx, 0).await.unwrap();
    assert_eq!(first.last_error.as_deref(), Some("disk full"));
    tx.job_settle(first.job_id, first.generation, again("two", 5)).await.unwrap();
    assert!(!tx.job_enqueue("k", "a", "{}").await.unwrap(), "it is live still");
    assert_eq!(claim(&mut tx, 4).await, None);
    let second = claim(&mut tx, 5).await.unwrap();
    assert_eq!((second.payload.as_str(), second.attempts, second.last_error), ("two", 1, None));
    assert!(second.generation > first.generation);
}

pub(crate) async fn a_failed_step_counts_attempts(world: World) {
    let mut tx = world.write().await;
    tx.job_enqueue("k", "a", "{}").await.unwrap();
    for attempt in 1..4 {
        let job = claim(&mut tx, 100).await.unwrap();
        assert_eq!(job.attempts, attempt);
        tx.job_retry(job.job_id, job.generation, at(100), "no").await.unwrap();
    }
}

pub(crate) async fn a_heartbeat_holds_the_claim(world: World) {
    let mut tx = world.write().await;
    tx.job_enqueue("k", "a", "{}").await.unwrap();
    let job = claim(&mut tx, 0).await.unwrap();
    tx.job_heartbeat(job.job_id, job.generation, at(20), LEASE).await.unwrap();
    assert_eq!(claim(&mut tx, 49).await, None);
    assert!(claim(&mut tx, 50).await.is_some());
}

pub(crate) async fn a_settled_claim_cannot_settle_again(world: World) {
    let mut tx = world.write().await;
    tx.job_enqueue("k", "a", "{}").await.unwrap();
    let job = claim(&mut tx, 0).await.unwrap();
    tx.job_settle(job.job_id, job.generation, again("{}", 0)).await.unwrap();
    for next in [NextJob::Done, again("{}", 0)] {
        let settled = tx.job_settle(job.job_id, job.generation, next).await;
        assert_eq!(settled.unwrap_err().kind, ErrorKind::Conflict);
    }
}

pub(crate) async fn due_times_are_told(world: World) {
    let mut tx = world.write().await;
    assert_eq!(tx.next_due(at(0)).await.unwrap(), None);
    tx.job_enqueue("k", "a", "{}").await.unwrap();
    assert_eq!(tx.next_due(at(7)).await.unwrap(), Some(at(7)), "due already");
    let job = claim(&mut tx, 0).await.unwrap();
    assert_eq!(tx.next_due(at(7)).await.unwrap(), Some(at(30)), "when the lease ends");
    tx.job_retry(job.job_id, job.generation, at(90), "no").await.unwrap();
    assert_eq!(tx.next_due(at(7)).await.unwrap(), Some(at(90)));
    world.advance(60);
    tx.job_enqueue("k", "b", "{}").await.unwrap();
    assert_eq!(tx.next_due(at(7)).await.unwrap(), Some(world.clock.now()));
}

pub(crate) async fn released_jobs_are_due_again(world: World) {
    let mut tx = world.write().await;
    tx.job_enqueue("k", "a", "{}").await.unwrap();
    tx.job_enqueue("k", "b", "{}").await.unwrap();
    let job = claim(&mut tx, 0).await.unwrap();
    assert_eq!(tx.jobs_release().await.unwrap(), 1);
    let settled = tx.job_settle(job.job_id, job.generation, NextJob::Done).await;
    assert_eq!(settled.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(claim(&mut tx, 0).await.unwrap().key, "a");
}

pub(crate) async fn numbers_are_not_reused_after_reset(world: World) {
    let mut tx = world.write().await;
    tx.job_enqueue("k", "a", "{}").await.unwrap();
    let before = claim(&mut tx, 0).await.unwrap();
    tx.commit().await.unwrap();
    world.metastore.reset(Keep::Nothing).await.unwrap();
    let mut tx = world.write().await;
    assert_eq!(tx.jobs_live().await.unwrap(), []);
    tx.job_enqueue("k", "a", "{}").await.unwrap();
    let after = claim(&mut tx, 0).await.unwrap();
    assert_eq!(after.generation, before.generation);
    let settled = tx.job_settle(before.job_id, before.generation, NextJob::Done).await;
    assert_eq!(settled.unwrap_err().kind, ErrorKind::Conflict);
}
