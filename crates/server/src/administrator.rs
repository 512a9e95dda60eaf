//! What the owner of the data directory may ask for, whether a server runs on it or not: the server
//! is asked where there is one, and where there is none, the asking process does it itself.

use std::sync::Arc;
use std::time::Duration;

use blockstore::{Collected, Repacked, Store};
use control::{Collection, Env, Repack, RepackProgress, VerifyProgress, VerifyTarget, When};
use metastore::Metastore;
use model::{Clock, OsIdGen, SystemClock};
use serde::{Deserialize, Serialize};

use crate::account;
use crate::admin::{self, Reply, Request};
use crate::bucket;
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::serve::refuse_lost;
use crate::store::{CollectedDomain, StoreUsage};

const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Where an answer that takes long tells how far it is.
pub(crate) type Tell<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// How far a long request is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Progress {
    Verify(VerifyProgress),
    Repack(RepackProgress),
}

/// Everything that an answer may need.
#[derive(Debug, Clone)]
pub(crate) struct Administrator {
    pub(crate) data: DataDir,
    pub(crate) metastore: Metastore,
    /// None where no server runs: it is opened for what needs it, and an account needs none.
    pub(crate) store: Option<Store>,
    pub(crate) env: Env,
    pub(crate) endpoint_url: Option<String>,
}

impl Administrator {
    /// The one process on a directory where no server runs.
    async fn alone(data: &DataDir) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let metastore = Metastore::open(&data.metastore_file(), clock.clone()).await?;
        refuse_lost(data, &metastore).await?;
        // None of its requests makes a domain.
        let env = env_without_clients(clock, [0; 32]);
        Ok(Self { data: data.clone(), metastore, store: None, env, endpoint_url: None })
    }

    async fn store(&self) -> Result<Store> {
        match &self.store {
            Some(store) => Ok(store.clone()),
            None => bucket::open_remembered(&self.data, &self.env.clock, Arc::clone(&self.env.ids)).await,
        }
    }

    /// Carries a request out.
    pub(crate) async fn answer(&self, request: Request, tell: Tell<'_>) -> Reply {
        let done = match request {
            Request::AccountCreate { name } => account::create(self, &name).await,
            Request::StoreCollect { now, retire_secs, acknowledge, repack } => {
                let repacked = self.repack(repack, tell).await;
                match repacked {
                    Ok(repacked) => self.collect(now, retire_secs, acknowledge, &repacked).await,
                    Err(error) => Err(error),
                }
            }
            Request::StoreUsage => self.usage().await,
            Request::Verify { target } => self.verify(&target, tell).await,
            Request::ScrubStatus => self.scrub_status().await,
        };
        done.unwrap_or_else(|error| Reply::Failed(error.chain()))
    }

    async fn collection(&self) -> Result<Collection> {
        Ok(Collection::new(self.metastore.clone(), self.store().await?, Arc::clone(&self.env.clock)))
    }

    async fn repack(&self, what: Option<Repack>, tell: Tell<'_>) -> Result<Vec<(String, Repacked)>> {
        let Some(what) = what else { return Ok(Vec::new()) };
        let tell = |progress| tell(Progress::Repack(progress));
        Ok(self.collection().await?.repack(what, &tell).await?)
    }

    async fn collect(
        &self,
        now: bool,
        retire_secs: Option<u64>,
        acknowledge: bool,
        repacked: &[(String, Repacked)],
    ) -> Result<Reply> {
        let collection = self.collection().await?;
        if acknowledge {
            collection.acknowledge().await?;
        }
        let when = if now { When::Now } else { When::Due };
        let done = collection.collect(when, retire_secs.map(Duration::from_secs)).await?;
        let with_repacked = |(domain, found): (String, Collected)| {
            let repacked = repacked.iter().find(|(other, _)| *other == domain).map(|(_, done)| *done);
            CollectedDomain::of(domain, &found, repacked)
        };
        Ok(Reply::Collected(done.into_iter().map(with_repacked).collect()))
    }

    async fn verify(&self, target: &VerifyTarget, tell: Tell<'_>) -> Result<Reply> {
        let store = self.store().await?;
        let tell = |progress| tell(Progress::Verify(progress));
        let verified = control::verify(&self.metastore, &store, self.env.clock.as_ref(), target, &tell).await;
        match verified {
            Ok(report) => Ok(Reply::Verified(Box::new(report))),
            // The message is for a client; whoever sits at the data directory may know a cause.
            Err(failure) if failure.cause().is_some() => Err(failure.into()),
            Err(failure) => Err(Error::new(failure.message)),
        }
    }

    async fn scrub_status(&self) -> Result<Reply> {
        Ok(Reply::ScrubStatus(control::scrub_status(&self.metastore).await?))
    }

    async fn usage(&self) -> Result<Reply> {
        let domains = self.collection().await?.usage().await?;
        Ok(Reply::StoreUsage(StoreUsage::of(domains, &self.data.store())?))
    }
}

/// Of a command that no client talks to: nobody ever sees its endpoint or its tokens.
pub(crate) fn env_without_clients(clock: Arc<dyn Clock>, domain_master: [u8; 32]) -> Env {
    Env { clock, ids: Arc::new(OsIdGen), token_key: [0; 32], domain_master, endpoint: String::new() }
}

/// Asks the server if there is one, and is the one process on the directory if not. A server that is just
/// starting or stopping has the lock but no socket.
pub(crate) async fn ask(data: &DataDir, request: &Request) -> Result<Reply> {
    ask_telling(data, request, &|_| {}).await
}

/// The same; `tell` sees how far it is.
pub(crate) async fn ask_telling(data: &DataDir, request: &Request, tell: Tell<'_>) -> Result<Reply> {
    for _ in 0..ATTEMPTS {
        let reply = if let Some(_lock) = data.try_lock()? {
            Some(Administrator::alone(data).await?.answer(request.clone(), tell).await)
        } else {
            admin::ask(data, request, tell).await?
        };
        match reply {
            Some(Reply::Failed(why)) => return Err(Error::new(why)),
            Some(reply) => return Ok(reply),
            None => tokio::time::sleep(PAUSE).await,
        }
    }
    Err(Error::conflict(format!("another process uses {} and does not answer", data.path().display())))
}
