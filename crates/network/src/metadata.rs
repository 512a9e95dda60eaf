//! A connection of the guest to the metadata address, handed to whoever serves it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::frame::HOP_LIMIT;

/// The IP hop limit of one connection's packets (64 at first), which may change while it lasts: it
/// holds for everything written afterwards.
///
/// With 1, a response cannot be routed any further inside the guest, say into a container: that is
/// how the response to a token request is confined (`HttpPutResponseHopLimit` of the metadata
/// options).
#[derive(Debug, Clone)]
pub struct HopLimit(Arc<AtomicU8>);

impl HopLimit {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(HOP_LIMIT)))
    }

    pub(crate) fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    /// At least 1: a packet without hops is none.
    pub fn set(&self, hops: u8) {
        self.0.store(hops.max(1), Ordering::Relaxed);
    }
}

/// One TCP connection to 169.254.169.254:80. It can only come from the machine of this port.
#[derive(Debug)]
pub struct MetadataStream {
    stream: DuplexStream,
    hop_limit: HopLimit,
}

impl MetadataStream {
    pub(crate) fn new(stream: DuplexStream, hop_limit: HopLimit) -> Self {
        Self { stream, hop_limit }
    }

    /// The connection's hop limit, also for use after the stream itself was given away.
    pub fn hop_limit(&self) -> HopLimit {
        self.hop_limit.clone()
    }

    /// See [`HopLimit`].
    pub fn set_hop_limit(&self, hops: u8) {
        self.hop_limit.set(hops);
    }
}

impl AsyncRead for MetadataStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for MetadataStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
