//! The machine's network port, and its connections to the metadata service.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use model::{Clock, IdGen};
use network::{Frames, MetadataStream, Port};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use crate::directory::{self, NETWORK_SOCKET};
use crate::error::Result;
use crate::metadata::Service;
use crate::spec::NetworkSpec;

/// Metadata conversations at a time; further ones wait in the network port.
const METADATA_CONNECTIONS_MAX: usize = 64;

/// Opens the port; QEMU's network card connects to its socket.
pub(crate) fn open(
    directory: &Path,
    spec: &NetworkSpec,
    service: Service,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdGen>,
) -> Result<Port> {
    let listener = directory::listen(directory, NETWORK_SOCKET)?;
    let (sender, receiver) = mpsc::channel(METADATA_CONNECTIONS_MAX);
    tokio::spawn(serve_metadata(receiver, service));
    Ok(Port::spawn(spec.to_config()?, Frames::Listener(listener), sender, clock, ids))
}

/// Ends when the port ends.
async fn serve_metadata(mut connections: mpsc::Receiver<MetadataStream>, service: Service) {
    let places = Arc::new(Semaphore::new(METADATA_CONNECTIONS_MAX));
    let conversations = TaskTracker::new();
    while let Some(stream) = connections.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        let service = service.clone();
        conversations.spawn(async move {
            let stream = Shared(Arc::new(Mutex::new(stream)));
            let hops = stream.clone();
            service.serve(stream, move |limit| hops.lock().set_hop_limit(limit)).await;
            drop(place);
        });
    }
}

/// A connection whose hop limit can be set while the HTTP server holds it.
#[derive(Clone)]
struct Shared(Arc<Mutex<MetadataStream>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, MetadataStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Shared {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}
