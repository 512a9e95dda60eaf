//! What lies under a volume's write log: an immutable device that may be slow.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::error::{Error, ErrorKind, Result};

/// An immutable device. A read past its end is the caller's mistake.
pub trait Base: Send + Sync + fmt::Debug {
    fn size_bytes(&self) -> u64;

    /// Fills `buf` from `offset_bytes`.
    fn read_at<'a>(&'a self, offset_bytes: u64, buf: &'a mut [u8]) -> BoxFuture<'a, Result<()>>;

    /// Fills `buf` if that takes no waiting. Where it does, false, and `buf` holds anything.
    ///
    /// # Errors
    /// Those of [`Self::read_at`].
    fn read_now(&self, _offset_bytes: u64, _buf: &mut [u8]) -> Result<bool> {
        Ok(false)
    }

    /// The first bytes at or after an offset that may be something else than zeros.
    fn next_data(&self, offset_bytes: u64) -> BoxFuture<'_, Result<Option<Range<u64>>>> {
        let data = offset_bytes..self.size_bytes();
        Box::pin(std::future::ready(Ok((!data.is_empty()).then_some(data))))
    }

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

    fn read_now(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<bool> {
        Self::read_now(self, offset_bytes, buf).map_err(snapshot_error)
    }

    fn next_data(&self, offset_bytes: u64) -> BoxFuture<'_, Result<Option<Range<u64>>>> {
        Box::pin(async move { self.next_present(offset_bytes).await.map_err(snapshot_error) })
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
        Box::pin(std::future::ready(self.read_now(offset_bytes, buf).map(|_| ())))
    }

    fn read_now(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<bool> {
        let from = usize::try_from(offset_bytes).ok();
        let bytes = from.and_then(|from| self.bytes.get(from..from.checked_add(buf.len())?));
        buf.copy_from_slice(bytes.ok_or_else(|| Error::invalid("read past the end of the base"))?);
        Ok(true)
    }
}
