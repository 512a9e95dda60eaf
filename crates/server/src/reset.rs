//! The emulator's way back to a clean state. Accounts and their keys stay.

use std::sync::Arc;

use control::Env;
use futures::future::BoxFuture;
use metastore::Metastore;

use crate::error::{Error, Result};
use crate::host::Host;

#[derive(Debug)]
pub(crate) struct Reset {
    metastore: Metastore,
    env: Env,
    host: Arc<Host>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Reset {
    pub(crate) fn new(metastore: Metastore, env: Env, host: Arc<Host>) -> Self {
        Self { metastore, env, host, one_at_a_time: tokio::sync::Mutex::default() }
    }

    /// Rows first: no job can start anew what is removed after them.
    async fn run(&self) -> Result<()> {
        let _turn = self.one_at_a_time.lock().await;
        control::reset(&self.metastore, &self.env).await?;
        self.host.clear().await.map_err(|e| Error::caused("clear the host", e))
    }

    pub(crate) fn into_route(self) -> Box<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync> {
        let reset = Arc::new(self);
        Box::new(move || {
            let reset = Arc::clone(&reset);
            Box::pin(async move { reset.run().await })
        })
    }
}
