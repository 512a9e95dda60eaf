//! Taking connections to a volume's socket.

use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The next client; None after `shutdown`.
pub(crate) async fn accept(listener: &UnixListener, shutdown: &CancellationToken) -> Option<UnixStream> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return None,
        };
        match accepted {
            Ok((stream, _)) => return Some(stream),
            // Out of file descriptors, usually: clients that leave make room.
            Err(error) => {
                tracing::warn!(%error, "accept a client of a volume");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}
