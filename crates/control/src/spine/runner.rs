//! Runs jobs: claim, work, settle; and sweeps on their timers.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use metastore::{JobRow, Metastore, NextJob};
use model::id_gen::random_bytes;
use model::{StateReason, Timestamp};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::env::Env;
use super::job::{Io, Job, JobWrite, Next, Stop, job_payload};
use crate::failure::Failure;
use crate::ports::Host;

const LEASE: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(10);
const RETRY_DELAY_FIRST: Duration = Duration::from_millis(200);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);
/// A runner without news looks again after this long.
const IDLE: Duration = Duration::from_secs(5);
/// Without a metastore that takes writes, a job that is due stays due.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// The type-free form of a job kind.
#[derive(Clone, Copy)]
pub(crate) struct JobEntry {
    pub(crate) kind: &'static str,
    attempts_max: u32,
    turn: for<'a> fn(&'a Io, &'a JobRow) -> BoxFuture<'a, Result<bool, Stop>>,
    give_up: for<'a> fn(&'a Io, &'a JobRow, StateReason) -> BoxFuture<'a, Result<bool, Failure>>,
}

impl JobEntry {
    pub(crate) const fn of<J: Job>() -> Self {
        Self { kind: J::KIND, attempts_max: J::ATTEMPTS_MAX, turn: turn::<J>, give_up: give_up::<J> }
    }
}

impl fmt::Debug for JobEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)
    }
}

/// Finds drift and enqueues jobs; takes no input, so that the path after a crash is the normal path.
#[derive(Clone, Copy)]
pub(crate) struct Sweep {
    pub(crate) name: &'static str,
    pub(crate) every: Duration,
    /// Whether it enqueued anything.
    pub(crate) run: for<'a> fn(&'a Io) -> BoxFuture<'a, Result<bool, Failure>>,
}

impl fmt::Debug for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct RunnerOptions {
    /// Turns at the same time.
    pub concurrency: usize,
}

/// The background half of the service.
#[derive(Debug)]
pub struct Runner {
    io: Io,
    wake: Arc<Notify>,
    slots: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Runner {
    pub fn new(
        metastore: Metastore,
        store: blockstore::Store,
        host: Arc<dyn Host>,
        env: Env,
        wake: Arc<Notify>,
        options: RunnerOptions,
    ) -> Self {
        Self {
            io: Io { metastore, store, host, env },
            wake,
            slots: Arc::new(Semaphore::new(options.concurrency)),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Ends `run` after the turns in hand.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs until stopped. The one process on a data directory first takes over the leases that a dead one left.
    pub async fn run(self) -> Result<(), Failure> {
        let mut tx = self.io.metastore.write().await?;
        tx.jobs_release().await?;
        tx.commit().await?;
        for sweep in crate::sweeps::ALL {
            self.tasks.spawn(run_sweep(*sweep, self.io.clone(), self.wake.clone(), self.stop.clone()));
        }
        while !self.stop.is_cancelled() {
            let pause = match self.start_due_jobs().await {
                Ok(()) => self.until_next().await,
                Err(failure) => {
                    tracing::error!(%failure, cause = cause_of(&failure), "looking for jobs failed");
                    FAILED_PAUSE
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
        Ok(())
    }

    /// One due turn in the caller's task; false when nothing is due. Simulations step with it.
    pub async fn turn(&self) -> Result<bool, Failure> {
        let Some(row) = claim(&self.io).await? else { return Ok(false) };
        run_turn(&self.io, &row).await;
        Ok(true)
    }

    /// Every sweep once, in the caller's task.
    pub async fn sweep_once(&self) -> Result<(), Failure> {
        for sweep in crate::sweeps::ALL {
            (sweep.run)(&self.io).await?;
        }
        Ok(())
    }

    async fn until_next(&self) -> Duration {
        let now = self.io.env.clock.now();
        let next = async { self.io.metastore.read().await?.next_due(now).await };
        match next.await {
            Ok(Some(due)) if self.slots.available_permits() > 0 => due.since(now).min(IDLE),
            _ => IDLE,
        }
    }

    async fn start_due_jobs(&self) -> Result<(), Failure> {
        loop {
            let Ok(slot) = self.slots.clone().try_acquire_owned() else { return Ok(()) };
            let Some(row) = claim(&self.io).await? else { return Ok(()) };
            let (io, wake) = (self.io.clone(), self.wake.clone());
            self.tasks.spawn(async move {
                run_turn(&io, &row).await;
                drop(slot);
                wake.notify_one();
            });
        }
    }
}

async fn claim(io: &Io) -> Result<Option<JobRow>, Failure> {
    let mut tx = io.metastore.write().await?;
    let row = tx.job_claim(io.env.clock.now(), LEASE).await?;
    tx.commit().await?;
    Ok(row)
}

async fn run_sweep(sweep: Sweep, io: Io, wake: Arc<Notify>, stop: CancellationToken) {
    loop {
        match (sweep.run)(&io).await {
            Ok(true) => wake.notify_one(),
            Ok(false) => {}
            Err(failure) => {
                tracing::error!(sweep = sweep.name, %failure, cause = cause_of(&failure), "sweep failed");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(sweep.every) => {}
        }
    }
}

/// One turn of one job, whatever becomes of it. Returns whether the job has ended.
pub(crate) async fn run_turn(io: &Io, row: &JobRow) {
    let Some(entry) = crate::jobs::ALL.iter().find(|entry| entry.kind == row.kind) else {
        tracing::error!(kind = row.kind, "a job of a kind that this version does not know is left alone");
        return;
    };
    let turn = AssertUnwindSafe(with_heartbeat(io, row, (entry.turn)(io, row))).catch_unwind().await;
    let stop = match turn {
        Ok(Ok(_)) => return,
        Ok(Err(stop)) => stop,
        Err(panic) => Stop::internal(format!("panic: {}", super::dispatcher::panic_text(panic.as_ref()))),
    };
    if let Err(failure) = stopped(io, entry, row, stop).await {
        tracing::error!(job = row.key, %failure, cause = cause_of(&failure), "settling a job failed");
    }
}

async fn stopped(io: &Io, entry: &JobEntry, row: &JobRow, stop: Stop) -> Result<(), Failure> {
    let reason = match stop {
        Stop::GiveUp(reason) => reason,
        Stop::Retry { cause } if row.attempts < entry.attempts_max => {
            tracing::warn!(
                job = row.key,
                kind = row.kind,
                attempt = row.attempts,
                cause,
                "job will be tried again"
            );
            let mut tx = io.metastore.write().await?;
            tx.job_retry(row.job_id, row.generation, retry_at(io, row.attempts), &cause).await?;
            tx.commit().await?;
            return Ok(());
        }
        Stop::Retry { cause } => {
            StateReason::new("Server.InternalError", format!("gave up after retries: {cause}"))
        }
    };
    tracing::error!(job = row.key, kind = row.kind, reason = reason.message, "job gave up");
    (entry.give_up)(io, row, reason).await?;
    Ok(())
}

/// Doubling pauses, each cut by up to half at random so that many retries do not come at once.
fn retry_at(io: &Io, attempts: u32) -> Timestamp {
    let doubled = RETRY_DELAY_FIRST
        .saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)))
        .min(RETRY_DELAY_MAX);
    let [random] = random_bytes::<1>(io.env.ids.as_ref());
    let cut = doubled / 2 * u32::from(random) / 255;
    io.env.clock.now().plus(doubled.saturating_sub(cut))
}

async fn with_heartbeat<T>(io: &Io, row: &JobRow, turn: impl Future<Output = T>) -> T {
    tokio::pin!(turn);
    loop {
        tokio::select! {
            done = &mut turn => return done,
            () = tokio::time::sleep(HEARTBEAT) => {
                if let Err(failure) = heartbeat(io, row).await {
                    tracing::warn!(job = row.key, %failure, "could not extend a lease");
                }
            }
        }
    }
}

async fn heartbeat(io: &Io, row: &JobRow) -> Result<(), Failure> {
    let mut tx = io.metastore.write().await?;
    tx.job_heartbeat(row.job_id, row.generation, io.env.clock.now(), LEASE).await?;
    tx.commit().await?;
    Ok(())
}

fn cause_of(failure: &Failure) -> String {
    failure.cause().map(|cause| super::dispatcher::chain(cause)).unwrap_or_default()
}

fn read_job<J: Job>(row: &JobRow) -> Result<J, Stop> {
    serde_json::from_str(&row.payload).map_err(|e| Stop::internal(format!("read the job's row: {e}")))
}

fn turn<'a, J: Job>(io: &'a Io, row: &'a JobRow) -> BoxFuture<'a, Result<bool, Stop>> {
    Box::pin(async move {
        let mut job: J = read_job(row)?;
        let outcome = job.work(io).await?;
        let mut tx = io.metastore.write().await?;
        let mut write = JobWrite::new(&mut tx, &io.env);
        let next = job.settle(&mut write, outcome).await?;
        let next = match next {
            Next::Done => NextJob::Done,
            Next::Again => NextJob::Again { payload: job_payload(&job)?, run_after: io.env.clock.now() },
            Next::After(pause) => {
                NextJob::Again { payload: job_payload(&job)?, run_after: io.env.clock.now().plus(pause) }
            }
        };
        let ended = matches!(next, NextJob::Done);
        tx.job_settle(row.job_id, row.generation, next).await?;
        tx.commit().await?;
        Ok(ended)
    })
}

fn give_up<'a, J: Job>(
    io: &'a Io,
    row: &'a JobRow,
    reason: StateReason,
) -> BoxFuture<'a, Result<bool, Failure>> {
    Box::pin(async move {
        let mut tx = io.metastore.write().await?;
        let mut write = JobWrite::new(&mut tx, &io.env);
        if let Ok(job) = serde_json::from_str::<J>(&row.payload) {
            job.give_up(&mut write, &reason).await?;
        }
        tx.job_settle(row.job_id, row.generation, NextJob::Done).await?;
        tx.commit().await?;
        Ok(true)
    })
}
