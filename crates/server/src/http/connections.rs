//! The accept loop: a place for each connection, a deadline for everything, a graceful end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::routes::Routes;
use crate::limits::DRAIN_TIME_MAX;

const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);
const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves until stopped, then lets the requests in hand finish.
pub(crate) async fn serve(listener: TcpListener, routes: Arc<Routes>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    let places = Arc::new(Semaphore::new(routes.limits().connections));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            // One try: what does not fit into the socket's buffer is not worth waiting for.
            drop(stream.try_write(TURNED_AWAY));
            continue;
        };
        let (routes, stop) = (Arc::clone(&routes), stop.clone());
        tasks.spawn(async move {
            converse(stream, routes, stop).await;
            drop(place);
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(DRAIN_TIME_MAX, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "requests were cut off");
    }
}

async fn converse(stream: TcpStream, routes: Arc<Routes>, stop: CancellationToken) {
    let limits = routes.limits().clone();
    if let Err(error) = tune(&stream, limits.body_time) {
        tracing::debug!(%error, "a connection was gone at once");
        return;
    }
    let service = service_fn(move |request| {
        let routes = Arc::clone(&routes);
        async move { Ok::<_, Infallible>(routes.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_header_size(limits.header_bytes)
        .max_headers(limits.headers)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = crate::error::chain(&error), "a connection ended early");
    }
}

/// Answers go out at once, and a client that does not take them loses its connection.
fn tune(stream: &TcpStream, patience: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let patience = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, patience)?;
    Ok(())
}
