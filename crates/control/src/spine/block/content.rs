//! The content of a completed snapshot, opened for reading.

use blockstore::{Domain, Reader, Root};
use model::limits::EBS_BLOCK_BYTES;
use model::{Snapshot, SnapshotId, SnapshotState};

use super::cx::BlockCx;
use crate::failure::{BlockFailure, Failure};
use crate::spine::granted::Granted;

/// The unit of the EBS direct API.
pub(crate) const BLOCK_BYTES: u64 = EBS_BLOCK_BYTES as u64;

/// The same, as the wire has it.
pub(crate) const BLOCK_BYTES_U32: u32 = 512 * 1024;
const _: () = assert!(BLOCK_BYTES_U32 as u64 == BLOCK_BYTES);

/// The most that a caller may ask for, and what one gets that does not ask.
const PAGE_DEFAULT: usize = 10_000;

/// Blocks of the store that one look ahead reads: the children of one leaf.
const LOOK_AHEAD: usize = 8;

#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) snapshot: Granted<Snapshot>,
    pub(crate) domain: Domain,
    pub(crate) root: Root,
}

impl BlockCx<'_> {
    /// The content of a snapshot that the caller may read; refused before it is completed.
    pub(crate) async fn content(&self, id: &SnapshotId) -> Result<Content, BlockFailure> {
        let mut tx = self.read().await?;
        let snapshot = self.rows(&mut tx).snapshot(id).await?;
        let root = match (snapshot.state, &snapshot.root) {
            (SnapshotState::Completed, Some(root)) => root.parse::<Root>()?,
            _ => return Err(BlockFailure::not_completed(id)),
        };
        let (domain, _) = self.domain(&mut tx, &snapshot.domain).await?;
        Ok(Content { snapshot, domain, root })
    }
}

impl Content {
    pub(crate) async fn reader(&self) -> Result<Reader, BlockFailure> {
        Ok(self.domain.reader(&self.root).await?)
    }

    pub(crate) async fn presence(&self) -> Result<Presence, BlockFailure> {
        Ok(Presence { reader: self.reader().await?, known: Vec::new(), known_to: 0 })
    }
}

/// Answers for ascending blocks whether a snapshot has them.
#[derive(Debug)]
pub(crate) struct Presence {
    reader: Reader,
    known: Vec<u64>,
    /// Blocks below this are present only if they are in `known`.
    known_to: u64,
}

impl Presence {
    pub(crate) async fn has(&mut self, block: u64) -> Result<bool, BlockFailure> {
        if block >= self.known_to {
            self.known = self.reader.present(BLOCK_BYTES, block, LOOK_AHEAD).await?;
            let is_last = self.known.len() < LOOK_AHEAD;
            self.known_to = if is_last { u64::MAX } else { self.known.last().map_or(0, |last| last + 1) };
        }
        Ok(self.known.binary_search(&block).is_ok())
    }
}

/// A block's number as the wire has it.
pub(crate) fn block_index(block: u64) -> Result<u32, BlockFailure> {
    u32::try_from(block).map_err(|e| Failure::internal(e).into())
}

/// How many blocks a listing gives at once.
pub(crate) fn page_size(max_results: Option<u32>) -> usize {
    max_results.and_then(|size| usize::try_from(size).ok()).unwrap_or(PAGE_DEFAULT)
}
