//! A virtio block device for one volume, for a machine that shares its memory: vhost-user over a unix socket.
//!
//! Refuses to know: how the volume stores anything, and what runs in the machine. The guest writes the rings and
//! the machine the socket; both may say anything.

mod engine;
mod handler;
mod memory;
mod protocol;
mod request;
mod ring;

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use model::Clock;
use tokio::net::UnixListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use vhost::vhost_user::{BackendReqHandler, Error};

use crate::accept::accept;
use crate::volume::Volume;
use engine::Engine;
use handler::Handler;

/// More rings than this only divide the same work.
pub const QUEUES_MAX: u16 = 4;

/// What the guest sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// At most 20 bytes.
    pub serial: String,
    /// Rings, from 1 to [`QUEUES_MAX`].
    pub queue_count: u16,
}

/// Serves `volume` to one machine after another, until `shutdown`. Requests that were taken are answered before
/// it returns; the volume is not closed.
pub async fn serve(
    volume: Volume,
    listener: UnixListener,
    device: Device,
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
) {
    let queue_count = device.queue_count.clamp(1, QUEUES_MAX);
    while let Some(stream) = accept(&listener, &shutdown).await {
        let engine = Arc::new(Engine::new(volume.clone(), &device.serial));
        let handler = Handler::new(engine, queue_count, Handle::current(), Arc::clone(&clock));
        let conversed = match stream.into_std() {
            Ok(stream) => converse(stream, handler, &shutdown).await,
            Err(error) => Err(error),
        };
        if let Err(error) = conversed {
            tracing::warn!(%error, "a machine's disk could not be served over shared memory");
        }
    }
}

/// The socket has a thread of its own, because stopping a ring waits for it.
async fn converse(stream: UnixStream, handler: Handler, shutdown: &CancellationToken) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let ours = stream.try_clone()?;
    let (ended, mut end) = oneshot::channel();
    let thread = std::thread::Builder::new().name("vhost".to_owned()).spawn(move || {
        listen(stream, handler);
        if ended.send(()).is_err() {
            tracing::debug!("nobody waits for the end of a machine's disk");
        }
    })?;
    tokio::select! {
        _ = &mut end => {}
        () = shutdown.cancelled() => {
            ours.shutdown(Shutdown::Both)?;
            drop(end.await);
        }
    }
    thread.join().map_err(|_| io::Error::other("the socket's thread panicked"))
}

/// Until the machine leaves or breaks the protocol.
fn listen(stream: UnixStream, handler: Handler) {
    let mut requests = BackendReqHandler::from_stream(stream, Arc::new(Mutex::new(handler)));
    loop {
        match requests.handle_request() {
            // Refused, and said so.
            Ok(()) | Err(Error::InvalidParam | Error::InvalidOperation(_)) => {}
            Err(error) => {
                tracing::debug!(%error, "a machine left its disk");
                return;
            }
        }
    }
}
