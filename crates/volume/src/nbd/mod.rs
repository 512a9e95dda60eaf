//! An NBD server for one volume on a unix socket.
//!
//! Refuses to know: how the volume stores anything. A client may vanish or lie at any byte.

mod connection;
mod handshake;
mod input;
mod protocol;
mod session;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::accept;
use crate::volume::Volume;
use session::{Held, Session};

/// Further clients wait to be accepted.
const CONNECTIONS_MAX: usize = 64;
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a client may take to fetch its last replies after a shutdown.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// What clients are offered. The empty name means this export as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    pub name: String,
    pub read_only: bool,
}

/// Serves `volume` to whoever connects, until `shutdown`. Replies in flight are sent before it returns; the
/// volume is not closed.
pub async fn serve(volume: Volume, listener: UnixListener, export: Export, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let export = Arc::new(export);
    let held = Arc::new(Held::default());
    while let Some(stream) = accept(&listener, &shutdown).await {
        let (volume, export, shutdown) = (volume.clone(), Arc::clone(&export), shutdown.clone());
        let held = Arc::clone(&held);
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        connections.spawn(async move {
            converse(volume, stream, &export, held, shutdown).await;
            drop(place);
        });
    }
    connections.close();
    if tokio::time::timeout(DRAIN_TIME_MAX, connections.wait()).await.is_err() {
        tracing::warn!(export = export.name, "a client did not fetch its replies before the end");
    }
}

async fn converse(
    volume: Volume,
    mut stream: UnixStream,
    export: &Export,
    held: Arc<Held>,
    shutdown: CancellationToken,
) {
    let handshake = handshake::negotiate(&mut stream, export, volume.size_bytes());
    let agreed = tokio::select! {
        agreed = tokio::time::timeout(HANDSHAKE_TIME_MAX, handshake) => agreed,
        () = shutdown.cancelled() => return,
    };
    let Ok(Ok(Some(agreed))) = agreed else { return };
    let session = Session { volume, read_only: export.read_only, agreed, held, shutdown };
    match stream.into_std() {
        Ok(stream) => session.run(stream).await,
        Err(error) => tracing::warn!(%error, "serve an NBD client"),
    }
}
