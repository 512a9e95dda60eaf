//! What makes an object store behind a network dependable: tries again, and asks twice what is late.

mod disk;
mod latency;
pub(crate) mod sealed;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use model::{Clock, IdGen};
use object_store::path::Path;
use tokio::sync::Semaphore;

pub use self::disk::CacheOptions;
pub(crate) use self::disk::DiskCache;
use self::latency::Latency;

/// Requests that are tried again at the same time, of all callers: a store that is overloaded gets
/// less to do, not more.
const RETRIES_AT_ONCE: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// After this time of trying, the log says so.
const QUIET_TIME_MAX: Duration = Duration::from_secs(5);
/// Second requests at the same time. Where all answers are late, asking twice would not help.
const HEDGES_AT_ONCE: usize = 4;

/// How a store behind a network is used.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    pub clock: Arc<dyn Clock>,
    /// How long a call is tried again before it fails as `Unavailable`.
    pub patience: Duration,
    /// Before the second attempt; doubles with each.
    pub pause: Duration,
    /// Whether opening makes sure that the store's format is known, and that it has conditional puts. One process
    /// of a host does.
    pub is_checked: bool,
    /// On the host's disk, shared by its processes.
    pub cache: Option<CacheOptions>,
}

impl RemoteOptions {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, patience: Duration::from_mins(1), pause: PAUSE, is_checked: true, cache: None }
    }
}

#[derive(Debug)]
pub(crate) struct Remote {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdGen>,
    pub(crate) patience: Duration,
    pause: Duration,
    retries: Semaphore,
    hedges: Semaphore,
    latency: Latency,
}

impl Remote {
    pub(crate) fn new(options: &RemoteOptions, ids: Arc<dyn IdGen>) -> Self {
        Self {
            clock: Arc::clone(&options.clock),
            ids,
            patience: options.patience,
            pause: options.pause,
            retries: Semaphore::new(RETRIES_AT_ONCE),
            hedges: Semaphore::new(HEDGES_AT_ONCE),
            latency: Latency::default(),
        }
    }

    /// Calls until the call succeeds, fails for good, or `patience` is used up. A call may have had its
    /// effect although it failed: it must be one that may be done twice.
    pub(crate) async fn insist<T, F>(
        &self,
        patience: Duration,
        path: &Path,
        call: impl Fn() -> F + Sync,
    ) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>> + Send,
        T: Send,
    {
        let start = self.clock.monotonic();
        let mut error = match call().await {
            Err(error) if is_passing(&error) => error,
            done => return done,
        };
        let (mut pause, mut is_quiet) = (self.pause, true);
        loop {
            let elapsed = self.clock.monotonic().saturating_sub(start);
            if elapsed >= patience {
                return Err(error);
            }
            if is_quiet && elapsed >= QUIET_TIME_MAX {
                is_quiet = false;
                tracing::warn!(%path, %error, "the object store does not do as asked; trying again");
            }
            tokio::time::sleep(self.jittered(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            let permit = self.retries.acquire().await;
            debug_assert!(permit.is_ok(), "nobody closes the semaphore");
            match call().await {
                Err(again) if is_passing(&again) => error = again,
                done => return done,
            }
        }
    }

    /// Half of the pause to all of it, so that many callers do not come back at once.
    fn jittered(&self, pause: Duration) -> Duration {
        let [byte] = model::id_gen::random_bytes(&*self.ids);
        pause / 2 + pause * u32::from(byte) / 512
    }

    /// Reads a second time where the answer comes later than nearly all did; the first answer counts.
    pub(crate) async fn hedge<T, F>(&self, read: impl Fn() -> F + Sync) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>> + Send,
        T: Send,
    {
        let start = self.clock.monotonic();
        let first = Box::pin(read());
        let late = Box::pin(tokio::time::sleep(self.latency.late()));
        let first = match select(first, late).await {
            Either::Left((done, _)) => return self.noted(start, done),
            Either::Right(((), first)) => first,
        };
        let Ok(_permit) = self.hedges.try_acquire() else { return self.noted(start, first.await) };
        let done = match select(first, Box::pin(read())).await {
            Either::Left((Ok(done), _)) | Either::Right((Ok(done), _)) => Ok(done),
            Either::Left((Err(_), second)) => second.await,
            Either::Right((Err(_), first)) => first.await,
        };
        self.noted(start, done)
    }

    fn noted<T>(&self, start: Duration, done: object_store::Result<T>) -> object_store::Result<T> {
        if done.is_ok() {
            self.latency.note(self.clock.monotonic().saturating_sub(start));
        }
        done
    }
}

/// Whether the same call may succeed a moment later.
fn is_passing(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    // 409: a conditional put met another one, which says nothing about who wins.
    if let E::AlreadyExists { source, .. } = error {
        return status(source.as_ref()) == Some(409);
    }
    if let E::Generic { source, .. } = error {
        return !matches!(status(source.as_ref()), Some(300..=407 | 410..=428 | 501));
    }
    !matches!(
        error,
        E::NotFound { .. }
            | E::Precondition { .. }
            | E::NotModified { .. }
            | E::InvalidPath { .. }
            | E::NotSupported { .. }
            | E::NotImplemented { .. }
            | E::PermissionDenied { .. }
            | E::Unauthenticated { .. }
            | E::UnknownConfigurationKey { .. }
    )
}

/// The status of the answer in an error of an HTTP store, whose types are private: by its text.
fn status(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<u16> {
    let text = error.to_string();
    let (_, status) = text.split_once(" status code: ")?;
    status.get(..3)?.parse().ok()
}
