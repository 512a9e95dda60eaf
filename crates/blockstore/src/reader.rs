//! Reads any part of a root. What was never written is zeros and costs nothing.

use std::iter;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use futures::{StreamExt, TryStreamExt, stream};

use crate::bulk::Contents;
use crate::domain::{DomainInner, Units};
use crate::error::{Error, ErrorKind, Result};
use crate::format::node::{Leaf, NodeRef, Run};
use crate::format::pack::PackTable;
use crate::format::{BLOCK_BYTES, BLOCK_BYTES_U64, LEAF_BYTES};
use crate::gc::Lease;
use crate::launch::Recorder;
use crate::remote::sealed::{Part, Wanted, groups};
use crate::root::Root;
use crate::tree::Tree;

/// Frames that one read fetches at once.
const FETCHES: usize = 8;
/// How far is read ahead: four full frames.
const AHEAD_BYTES: u64 = 1 << 20;
/// Reads that follow each other with less between them are a sequence.
const SEQUENCE_GAP_BYTES: u64 = 128 << 10;

/// What a reader did last, to guess what it does next.
#[derive(Debug, Default)]
struct Ahead {
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    end: u64,
    in_sequence: u32,
    /// Read ahead up to here.
    until: u64,
}

impl Ahead {
    /// What to fetch next after a read of `offset..end`: in a sequence, and where a read had to wait.
    fn note(&self, offset: u64, end: u64, has_waited: bool, size: u64) -> Option<Range<u64>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let follows = (last.end..last.end + SEQUENCE_GAP_BYTES).contains(&offset);
        last.in_sequence = if follows { last.in_sequence + 1 } else { 0 };
        last.end = end;
        if !(last.until.saturating_sub(2 * AHEAD_BYTES)..=last.until).contains(&end) {
            last.until = end;
        }
        let is_due = last.until - end <= AHEAD_BYTES / 2;
        if !is_due || !has_waited && last.in_sequence < 2 {
            return None;
        }
        let range = last.until..(end + AHEAD_BYTES).min(size);
        last.until = last.until.max(range.end);
        (range.start < range.end).then_some(range)
    }
}

/// A root opened for reading. Cheap to clone; all readers of a store share its caches.
#[derive(Debug, Clone)]
pub struct Reader {
    domain: Arc<DomainInner>,
    tree: Tree,
    /// The root counts as live while anybody reads it.
    _lease: Arc<Lease>,
    /// Of a store behind a network.
    ahead: Arc<Ahead>,
    recorder: Option<Arc<Recorder>>,
}

/// A part of a read that one frame answers.
struct Piece {
    frame: u32,
    /// Byte range in the decoded frame.
    from: usize,
    len: usize,
    /// Byte offset in the caller's buffer.
    to: usize,
}

impl Reader {
    pub(crate) fn new(domain: Arc<DomainInner>, tree: Tree, lease: Arc<Lease>) -> Self {
        Self { domain, tree, _lease: lease, ahead: Arc::default(), recorder: None }
    }

    pub(crate) fn recorded(self, recorder: Arc<Recorder>) -> Self {
        Self { recorder: Some(recorder), ..self }
    }

    pub const fn size_bytes(&self) -> u64 {
        self.tree.head.size_bytes
    }

    /// Bytes of all blocks that are present, as if each were stored for this root alone.
    pub const fn full_size_bytes(&self) -> u64 {
        self.tree.head.present_blocks * BLOCK_BYTES_U64
    }

    /// All that is present, in the order that is fastest: for restoring the whole.
    pub fn contents(&self) -> Contents {
        let root = Root::new(&self.domain.keys.domain, self.tree.root.pack, self.size_bytes());
        Contents::new(Arc::clone(&self.domain), self.tree, self.domain.ledger.lease(Some(&root)))
    }

    /// Fills `buf` with the bytes from `offset` on; any alignment, but within the size.
    pub async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        for (at, part) in self.leaf_parts(offset, buf)? {
            loop {
                let map = self.domain.ledger.relocations.version();
                match self.read_in_leaf(at, part).await {
                    // Nothing is missing that was only moved.
                    Err(e) if e.kind() == ErrorKind::Corrupt && self.domain.has_moved_since(map).await? => {}
                    Err(e) => return Err(e),
                    Ok(()) => break,
                }
            }
        }
        Ok(())
    }

    /// The same from memory alone. False where something would have to be fetched: `buf` then holds anything.
    ///
    /// # Errors
    /// `Invalid` beyond the end of the root, `Corrupt` where the tree is not whole.
    pub fn read_now(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        for (at, part) in self.leaf_parts(offset, buf)? {
            if !self.read_in_cached_leaf(at, part)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The parts of a read that one leaf each answers, with where they begin.
    fn leaf_parts<'b>(
        &self,
        offset: u64,
        buf: &'b mut [u8],
    ) -> Result<impl Iterator<Item = (u64, &'b mut [u8])> + use<'b>> {
        let end = offset.checked_add(buf.len() as u64).filter(|&end| end <= self.size_bytes());
        if end.is_none() {
            return Err(Error::invalid("read beyond the end of a root"));
        }
        let (mut at, mut rest) = (offset, buf);
        Ok(iter::from_fn(move || {
            let leaf_rest = LEAF_BYTES - at % LEAF_BYTES;
            let len = rest.len().min(usize::try_from(leaf_rest).unwrap_or(usize::MAX));
            let (part, after) = std::mem::take(&mut rest).split_at_mut(len);
            rest = after;
            let begin = at;
            at += len as u64;
            (len > 0).then_some((begin, part))
        }))
    }

    fn read_in_cached_leaf(&self, offset: u64, buf: &mut [u8]) -> Result<bool> {
        let index = leaf_index(offset)?;
        let Some(leaf) = self.domain.cached_leaf(&self.tree, index) else { return Ok(false) };
        let start = usize::try_from(offset % LEAF_BYTES).unwrap_or(0);
        let end = start + buf.len();
        // What is filled so far, counted from the start of the leaf.
        let mut done = start;
        for (run, range) in overlapping(&leaf, start, end - start) {
            let Some(table) = self.domain.cached_table(leaf.pack(run)?) else { return Ok(false) };
            zero(buf, start, done..range.start);
            done = range.end;
            let mut at = range.start;
            while at < range.end {
                let piece = piece(&table, run, at, range.end, start)?;
                let Some(frame) = self.domain.cached_frame(&table, piece.frame) else { return Ok(false) };
                copy(&frame, &piece, buf)?;
                at += piece.len;
            }
        }
        zero(buf, start, done..end);
        Ok(true)
    }

    async fn read_in_leaf(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        buf.fill(0);
        let index = leaf_index(offset)?;
        let Some(reference) = self.domain.leaf_ref(&self.tree, index).await? else { return Ok(()) };
        let leaf = self.domain.leaf(reference).await?;
        let start = usize::try_from(offset % LEAF_BYTES).unwrap_or(0);
        let pieces = self.pieces(&leaf, start, buf.len()).await?;
        self.bring_near(offset, buf.len(), reference, &leaf, &pieces).await?;
        let mut fetched = stream::iter(pieces)
            .map(|(table, piece)| async move {
                let frame = self.domain.frame(&table, piece.frame).await?;
                Ok::<(Piece, Bytes), Error>((piece, frame))
            })
            .buffer_unordered(FETCHES);
        while let Some((piece, frame)) = fetched.try_next().await? {
            copy(&frame, &piece, buf)?;
        }
        Ok(())
    }

    /// Over a network: fetches what is missing in as few requests as neighbours allow, and then, behind
    /// the guest's back, what it will probably read next.
    async fn bring_near(
        &self,
        offset: u64,
        len: usize,
        leaf_ref: NodeRef,
        leaf: &Leaf,
        pieces: &[(Arc<PackTable>, Piece)],
    ) -> Result<()> {
        let store = &self.domain.store;
        let Some(sealed) = &store.sealed else { return Ok(()) };
        if let Some(recorder) = &self.recorder {
            let nodes = leaf.packs.iter().filter_map(|pack| pack.table_in);
            let parts = pieces.iter().filter_map(|(table, piece)| table.part(piece.frame).ok());
            recorder.touch(iter::once(leaf_ref.pack).chain(nodes), parts);
        }
        let groups = self.missing(pieces);
        let fills = groups.iter().filter_map(|group| {
            let path = self.domain.pack_path(group.first()?.pack);
            Some(async move { sealed.fill(&store.objects, &path, group, Wanted::Now).await })
        });
        let requests: usize = try_join_all(fills).await.map_err(Error::missing_is_corrupt)?.into_iter().sum();
        let end = offset + len as u64;
        if let Some(range) = self.ahead.note(offset, end, requests > 0, self.size_bytes()) {
            let reader = self.clone();
            tokio::spawn(async move {
                if let Err(error) = reader.fetch_ahead(range).await {
                    tracing::debug!(%error, "reading ahead failed");
                }
            });
        }
        Ok(())
    }

    /// The frames of the pieces that are not decoded yet, neighbours together.
    fn missing(&self, pieces: &[(Arc<PackTable>, Piece)]) -> Vec<Vec<Part>> {
        let frames = &self.domain.store.caches.frames;
        let is_missing = |(table, piece): &&(Arc<PackTable>, Piece)| {
            !frames.has(&(self.domain.keys.fingerprint, table.id, piece.frame))
        };
        let missing = pieces.iter().filter(is_missing);
        let mut parts: Vec<Part> =
            missing.filter_map(|(table, piece)| table.part(piece.frame).ok()).collect();
        parts.dedup();
        groups(parts)
    }

    async fn fetch_ahead(&self, range: Range<u64>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let start = usize::try_from(at % LEAF_BYTES).unwrap_or(0);
            let len = (LEAF_BYTES - at % LEAF_BYTES).min(range.end - at);
            if let Some(reference) = self.domain.leaf_ref(&self.tree, leaf_index(at)?).await? {
                let leaf = self.domain.leaf(reference).await?;
                let pieces = self.pieces(&leaf, start, usize::try_from(len).unwrap_or(0)).await?;
                let groups = self.missing(&pieces);
                join_all(groups.iter().map(|group| self.domain.fetch_soon(group))).await;
            }
            at += len;
        }
        Ok(())
    }

    /// What of `len` bytes from `start` in the leaf lies in which frame.
    async fn pieces(&self, leaf: &Leaf, start: usize, len: usize) -> Result<Vec<(Arc<PackTable>, Piece)>> {
        let mut pieces = Vec::new();
        for (run, range) in overlapping(leaf, start, len) {
            let table = self.domain.table(leaf.pack(run)?).await?;
            let mut at = range.start;
            while at < range.end {
                let piece = piece(&table, run, at, range.end, start)?;
                at += piece.len;
                pieces.push((Arc::clone(&table), piece));
            }
        }
        Ok(pieces)
    }

    /// The first bytes at or after an offset that are stored, as far as one leaf tells; all before them are zeros.
    pub async fn next_present(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let Ok(mut from) = u32::try_from(offset / LEAF_BYTES) else { return Ok(None) };
        while let Some((index, reference)) = self.domain.next_leaf(&self.tree, from).await? {
            let leaf = self.domain.leaf(reference).await?;
            let base = u64::from(index) * LEAF_BYTES;
            let runs = leaf.runs.iter().map(|run| {
                let (start, end) = run_bytes(run);
                base + start as u64..base + end as u64
            });
            let mut runs = runs.skip_while(|run| run.end <= offset);
            if let Some(mut found) = runs.next() {
                found.start = found.start.max(offset);
                for run in runs {
                    if run.start > found.end {
                        break;
                    }
                    found.end = run.end;
                }
                return Ok(Some(found));
            }
            let Some(next) = index.checked_add(1) else { break };
            from = next;
        }
        Ok(None)
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

/// The runs that have some of `len` bytes from `start` in the leaf, and the bytes that they have of these.
fn overlapping(leaf: &Leaf, start: usize, len: usize) -> impl Iterator<Item = (&Run, Range<usize>)> {
    let first = leaf.runs.partition_point(|run| run_bytes(run).1 <= start);
    let runs = leaf.runs.iter().skip(first).map(|run| (run, run_bytes(run)));
    let end = start + len;
    runs.take_while(move |(_, run)| run.0 < end).map(move |(run, at)| (run, at.0.max(start)..at.1.min(end)))
}

/// The first part of a run's bytes from `at` to `end` that lies in one frame, for a buffer that begins at `start`.
fn piece(table: &PackTable, run: &Run, at: usize, end: usize, start: usize) -> Result<Piece> {
    let (run_start, _) = run_bytes(run);
    // Bytes from the start of the run are bytes from its first slot on.
    let slot = run.slot + u32::try_from((at - run_start) / BLOCK_BYTES).unwrap_or(u32::MAX);
    let (number, frame) = table.frame_of(slot)?;
    let slot_in_frame = (slot - frame.first_slot) as usize;
    let from = slot_in_frame * BLOCK_BYTES + (at - run_start) % BLOCK_BYTES;
    let len = (usize::from(frame.slots) * BLOCK_BYTES - from).min(end - at);
    Ok(Piece { frame: number, from, len, to: at - start })
}

fn copy(frame: &[u8], piece: &Piece, buf: &mut [u8]) -> Result<()> {
    let from = frame.get(piece.from..piece.from + piece.len);
    let to = buf.get_mut(piece.to..piece.to + piece.len);
    let (Some(from), Some(to)) = (from, to) else {
        return Err(Error::corrupt("read a block that its frame does not have"));
    };
    to.copy_from_slice(from);
    Ok(())
}

/// Fills a range, counted from the start of the leaf, of a buffer that begins at `start`.
fn zero(buf: &mut [u8], start: usize, range: Range<usize>) {
    if let Some(part) = buf.get_mut(range.start - start..range.end - start) {
        part.fill(0);
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
