//! The one shape of background work.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use metastore::{Metastore, Tx};
use model::{ImageId, InstanceId, SnapshotId, StateReason, VolumeId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::env::Env;
use crate::failure::Failure;
use crate::ports::{Host, HostError, HostErrorKind};

/// Durable work on one resource. Each turn is `work`, outside any transaction and repeatable, then
/// `settle`, inside one, fenced by the job's generation.
pub(crate) trait Job: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Stable on disk.
    const KIND: &'static str;
    /// How often one step is tried before the job gives up on what may pass.
    const ATTEMPTS_MAX: u32 = 10;
    type Outcome: Send;

    /// At most one live job has this key.
    fn key(&self) -> JobKey;

    /// Bounded to seconds; idempotent, because a crash repeats it.
    fn work(&self, io: &Io) -> impl Future<Output = Result<Self::Outcome, Stop>> + Send;

    /// Writes what follows from the outcome: rows, new jobs, and this job's next step.
    fn settle(
        &mut self,
        write: &mut JobWrite<'_>,
        done: Self::Outcome,
    ) -> impl Future<Output = Result<Next, Stop>> + Send;

    /// Puts the resource into its failure state, with the reason, and enqueues the cleaning up.
    fn give_up(
        &self,
        write: &mut JobWrite<'_>,
        reason: &StateReason,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What a job locks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobKey(String);

impl JobKey {
    pub(crate) fn image(id: &ImageId) -> Self {
        Self(format!("image/{id}"))
    }

    pub(crate) fn snapshot(id: &SnapshotId) -> Self {
        Self(format!("snapshot/{id}"))
    }

    pub(crate) fn volume(id: &VolumeId) -> Self {
        Self(format!("volume/{id}"))
    }

    pub(crate) fn instance(id: &InstanceId) -> Self {
        Self(format!("instance/{id}"))
    }

    /// Work on a resource that may go on beside its main job.
    #[must_use]
    pub(crate) fn aside(self, what: &str) -> Self {
        Self(format!("{}/{what}", self.0))
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a job may reach while it works.
#[derive(Debug, Clone)]
pub(crate) struct Io {
    pub(crate) metastore: Metastore,
    pub(crate) store: blockstore::Store,
    pub(crate) host: std::sync::Arc<dyn Host>,
    pub(crate) env: Env,
}

impl Io {
    /// For reading rows; `work` writes none.
    pub(crate) async fn read(&self) -> Result<Tx, Stop> {
        Ok(self.metastore.read().await?)
    }

    /// The domain of that name, with its secret.
    pub(crate) async fn domain(&self, tx: &mut Tx, name: &str) -> Result<blockstore::Domain, Stop> {
        let row = tx.domain_get(name).await?;
        let row = row.ok_or_else(|| Stop::internal(format!("the domain {name} is unknown")))?;
        Ok(self.store.domain(name, &blockstore::DomainSecret::new(row.secret)))
    }
}

/// The transaction that settles a turn.
#[derive(Debug)]
pub(crate) struct JobWrite<'a> {
    pub(crate) tx: &'a mut Tx,
    pub(crate) env: &'a Env,
    pub(in crate::spine) enqueued: bool,
}

impl<'a> JobWrite<'a> {
    pub(crate) fn new(tx: &'a mut Tx, env: &'a Env) -> Self {
        Self { tx, env, enqueued: false }
    }

    /// Leaves further work in the same transaction. A live job with the same key already does it.
    pub(crate) async fn enqueue<J: Job>(&mut self, job: &J) -> Result<(), Failure> {
        self.tx.job_enqueue(J::KIND, &job.key().to_string(), &job_payload(job)?).await?;
        self.enqueued = true;
        Ok(())
    }

    pub(crate) fn now(&self) -> model::Timestamp {
        self.env.clock.now()
    }
}

/// The row's text form of a job.
pub(crate) fn job_payload<J: Job>(job: &J) -> Result<String, Failure> {
    serde_json::to_string(job).map_err(Failure::internal)
}

/// What happens to the job after a settled turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Done,
    /// Another turn at once, with the step as `settle` left it.
    Again,
    /// Another turn after a pause: waiting for something outside.
    After(Duration),
}

/// Why a turn ended without an outcome. The job decides, not the runner.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Worth repeating; limited in number, with growing pauses.
    Retry { cause: String },
    /// Repeating cannot help; the resource takes its failure state with this reason.
    GiveUp(StateReason),
}

impl Stop {
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        Self::Retry { cause: cause.into() }
    }

    pub(crate) fn give_up(code: &str, message: impl Into<String>) -> Self {
        Self::GiveUp(StateReason::new(code, message))
    }
}

impl From<metastore::Error> for Stop {
    fn from(error: metastore::Error) -> Self {
        Self::Retry { cause: super::dispatcher::chain(&error) }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        let cause = failure.cause().map(|cause| super::dispatcher::chain(cause));
        Self::Retry { cause: cause.unwrap_or_else(|| failure.to_string()) }
    }
}

/// Damaged bytes stay damaged; everything else may pass.
impl From<blockstore::Error> for Stop {
    fn from(error: blockstore::Error) -> Self {
        let cause = super::dispatcher::chain(&error);
        match error.kind() {
            blockstore::ErrorKind::Corrupt => Self::give_up("Server.InternalError", cause),
            blockstore::ErrorKind::NotFound
            | blockstore::ErrorKind::Conflict
            | blockstore::ErrorKind::Unavailable
            | blockstore::ErrorKind::Invalid => Self::Retry { cause },
        }
    }
}

impl From<HostError> for Stop {
    fn from(error: HostError) -> Self {
        let cause = super::dispatcher::chain(&error);
        match error.kind {
            HostErrorKind::Failed => Self::give_up("Server.InternalError", cause),
            HostErrorKind::NotFound | HostErrorKind::Unavailable => Self::Retry { cause },
        }
    }
}
