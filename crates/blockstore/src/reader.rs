//! Reads any part of a root. What was never written is zeros and costs nothing.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::domain::{DomainInner, Units};
use crate::error::{Error, Result};
use crate::format::node::{Leaf, Run};
use crate::format::pack::PackTable;
use crate::format::{BLOCK_BYTES, BLOCK_BYTES_U64, LEAF_BYTES};
use crate::tree::Tree;

/// Frames that one read fetches at once.
const FETCHES: usize = 8;

/// A root opened for reading. Cheap to clone; all readers of a store share its caches.
#[derive(Debug, Clone)]
pub struct Reader {
    domain: Arc<DomainInner>,
    tree: Tree,
}

/// A part of a read that one frame answers.
struct Piece {
    table: Arc<PackTable>,
    frame: u32,
    /// Byte range in the decoded frame.
    from: usize,
    len: usize,
    /// Byte offset in the caller's buffer.
    to: usize,
}

impl Reader {
    pub(crate) const fn new(domain: Arc<DomainInner>, tree: Tree) -> Self {
        Self { domain, tree }
    }

    pub const fn size_bytes(&self) -> u64 {
        self.tree.head.size_bytes
    }

    /// Bytes of all blocks that are present, as if each were stored for this root alone.
    pub const fn full_size_bytes(&self) -> u64 {
        self.tree.head.present_blocks * BLOCK_BYTES_U64
    }

    /// Fills `buf` with the bytes from `offset` on; any alignment, but within the size.
    pub async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(buf.len() as u64).filter(|&end| end <= self.size_bytes());
        if end.is_none() {
            return Err(Error::invalid("read beyond the end of a root"));
        }
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let leaf_rest = LEAF_BYTES - at % LEAF_BYTES;
            let len = rest.len().min(usize::try_from(leaf_rest).unwrap_or(usize::MAX));
            let (part, after) = rest.split_at_mut(len);
            self.read_in_leaf(at, part).await?;
            at += len as u64;
            rest = after;
        }
        Ok(())
    }

    async fn read_in_leaf(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        buf.fill(0);
        let index = leaf_index(offset)?;
        let Some(reference) = self.domain.leaf_ref(&self.tree, index).await? else { return Ok(()) };
        let leaf = self.domain.leaf(reference).await?;
        let start = usize::try_from(offset % LEAF_BYTES).unwrap_or(0);
        let pieces = self.pieces(&leaf, start, buf.len()).await?;
        let mut fetched = stream::iter(pieces)
            .map(|piece| async {
                let frame = self.domain.frame(&piece.table, piece.frame).await?;
                Ok::<(Piece, Bytes), Error>((piece, frame))
            })
            .buffer_unordered(FETCHES);
        while let Some((piece, frame)) = fetched.try_next().await? {
            let from = frame.get(piece.from..piece.from + piece.len);
            let to = buf.get_mut(piece.to..piece.to + piece.len);
            let (Some(from), Some(to)) = (from, to) else {
                return Err(Error::corrupt("read a block that its frame does not have"));
            };
            to.copy_from_slice(from);
        }
        Ok(())
    }

    /// What of `len` bytes from `start` in the leaf lies in which frame.
    async fn pieces(&self, leaf: &Leaf, start: usize, len: usize) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let first = leaf.runs.partition_point(|run| run_bytes(run).1 <= start);
        for run in leaf.runs.iter().skip(first) {
            let (run_start, run_end) = run_bytes(run);
            if run_start >= start + len {
                break;
            }
            let table = self.domain.table(leaf.pack(run)?).await?;
            let (mut at, end) = (run_start.max(start), run_end.min(start + len));
            while at < end {
                // Bytes from the start of the run are bytes from its first slot on.
                let slot = run.slot + u32::try_from((at - run_start) / BLOCK_BYTES).unwrap_or(u32::MAX);
                let (number, frame) = table.frame_of(slot)?;
                let slot_in_frame = (slot - frame.first_slot) as usize;
                let from = slot_in_frame * BLOCK_BYTES + (at - run_start) % BLOCK_BYTES;
                let len = (usize::from(frame.slots) * BLOCK_BYTES - from).min(end - at);
                let table = Arc::clone(&table);
                pieces.push(Piece { table, frame: number, from, len, to: at - start });
                at += len;
            }
        }
        Ok(pieces)
    }

    /// The units of `granularity_bytes` that have any present block, in ascending order, from
    /// `from_unit` on, at most `limit`. Where fewer come back, there are no more.
    pub async fn present(&self, granularity_bytes: u64, from_unit: u64, limit: usize) -> Result<Vec<u64>> {
        let mut units = Units::new(granularity_bytes, from_unit, limit)?;
        let mut next = units.first_leaf();
        while let Some(from) = next.filter(|_| !units.is_full()) {
            let Some((index, leaf)) = self.domain.next_leaf(&self.tree, from).await? else { break };
            for run in &self.domain.leaf(leaf).await?.runs {
                units.push_run(index, run.start, run.len);
            }
            next = index.checked_add(1);
        }
        Ok(units.found)
    }
}

/// Where a run starts and ends in its leaf, in bytes.
fn run_bytes(run: &Run) -> (usize, usize) {
    let start = usize::from(run.start);
    (start * BLOCK_BYTES, (start + usize::from(run.len)) * BLOCK_BYTES)
}

pub(crate) fn leaf_index(offset: u64) -> Result<u32> {
    u32::try_from(offset / LEAF_BYTES).map_err(|_| Error::invalid("an offset above 64 TiB"))
}
