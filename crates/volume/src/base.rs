//! What lies under a volume's write log: an immutable device that may be slow.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::error::{Error, ErrorKind, Result};

/// An immutable device. A read past its end is the caller's mistake.
pub trait Base: Send + Sync + fmt::Debug {
    fn size_bytes(&self) -> u64;

    /// Fills `buf` from `offset_bytes`.
    fn read_at<'a>(&'a self, offset_bytes: u64, buf: &'a mut [u8]) -> BoxFuture<'a, Result<()>>;

    /// Whether every byte of this device is zero, so that nothing needs to be asked.
    fn is_zero(&self) -> bool {
        false
    }
}

/// A snapshot in the store.
impl Base for blockstore::Reader {
    fn size_bytes(&self) -> u64 {
        Self::size_bytes(self)
    }

    fn read_at<'a>(&'a self, offset_bytes: u64, buf: &'a mut [u8]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { Self::read_at(self, offset_bytes, buf).await.map_err(snapshot_error) })
    }
}

fn snapshot_error(error: blockstore::Error) -> Error {
    let kind = match error.kind() {
        blockstore::ErrorKind::Corrupt => ErrorKind::Corrupt,
        blockstore::ErrorKind::Invalid => ErrorKind::Invalid,
        // What a volume stands on is never given up on a guess: it may come back.
        blockstore::ErrorKind::NotFound
        | blockstore::ErrorKind::Conflict
        | blockstore::ErrorKind::Unavailable => ErrorKind::Unavailable,
    };
    Error::new(kind, "read the snapshot").with_source(error)
}

/// A device of zeros: the base of a volume that was made from no snapshot.
#[derive(Debug, Clone, Copy, Default)]
pub struct ZeroBase;

impl Base for ZeroBase {
    fn size_bytes(&self) -> u64 {
        0
    }

    fn read_at<'a>(&'a self, _: u64, buf: &'a mut [u8]) -> BoxFuture<'a, Result<()>> {
        buf.fill(0);
        Box::pin(std::future::ready(Ok(())))
    }

    fn is_zero(&self) -> bool {
        true
    }
}

/// A device in memory, for tests.
#[derive(Debug, Clone)]
pub struct MemoryBase {
    bytes: Arc<[u8]>,
}

impl MemoryBase {
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self { bytes: bytes.into() }
    }
}

impl Base for MemoryBase {
    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at<'a>(&'a self, offset_bytes: u64, buf: &'a mut [u8]) -> BoxFuture<'a, Result<()>> {
        let found = usize::try_from(offset_bytes)
            .ok()
            .and_then(|from| self.bytes.get(from..from.checked_add(buf.len())?))
            .map(|bytes| buf.copy_from_slice(bytes))
            .ok_or_else(|| Error::invalid("read past the end of the base"));
        Box::pin(std::future::ready(found))
    }
}
