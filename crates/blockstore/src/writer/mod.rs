//! Makes a new root: takes writes, finds what the domain has already, stores the rest, and
//! writes the changed part of the tree last.

mod commit;
mod incoming;
mod nodes;
mod packer;
mod recent;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::DomainInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::node::NodeRef;
use crate::format::pack::{Directory, Packed};
use crate::format::{BLOCK_BYTES, BLOCK_BYTES_U64, BlockId, LEAF_BLOCKS, LEAF_BYTES};
use crate::gc::Lease;
use crate::index::Place;
use crate::reader::leaf_index;
use crate::root::Root;
use crate::tree::{Tree, height_for};

use incoming::{Incoming, Piece};
use nodes::{Nodes, Placed};
pub(crate) use packer::{At, PackNames, Packer, Shape};
use recent::Recent;

/// Pieces that are hashed ahead, for each frame that is compressed at once.
const PIECES_PER_TASK: usize = 4;

/// What a writer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteStats {
    /// Bytes of the blocks that were written and are not zero.
    pub bytes_written: u64,
    /// Blocks that the domain did not have.
    pub new_blocks: u64,
    /// Bytes of all objects that were stored.
    pub stored_bytes: u64,
    /// Of these, bytes of the tree.
    pub node_bytes: u64,
    /// Data packs that were stored.
    pub packs: u64,
}

/// A new root in the making. Blocks are 4 KiB; any order of writes is right, ascending is fast.
/// Memory is bounded. What is dropped without `commit` leaves unreferenced objects only.
#[derive(Debug)]
pub struct Writer {
    domain: Arc<DomainInner>,
    lease: Arc<Lease>,
    base: Option<(Root, Tree)>,
    size_bytes: u64,
    incoming: Incoming,
    current: Option<OpenLeaf>,
    /// Touched leaves that are not stored yet.
    edits: BTreeMap<u32, Vec<EditRun>>,
    edit_bytes: usize,
    /// Touched leaves that are stored: what differs from the base.
    changes: BTreeMap<u32, Change>,
    names: PackNames,
    packer: Packer,
    nodes: Nodes,
    recent: Recent,
    stats: WriteStats,
    is_broken: bool,
}

/// A leaf with room for every block.
#[derive(Debug)]
struct OpenLeaf {
    index: u32,
    blocks: Vec<Option<At>>,
}

/// Blocks one after another, in the leaf and where they are stored.
#[derive(Debug, Clone, Copy)]
struct EditRun {
    start: u16,
    len: u16,
    at: At,
}

/// A leaf that is not as in the base.
#[derive(Debug, Clone, Copy)]
struct Change {
    /// None where the leaf has no blocks left.
    leaf: Option<Placed>,
    blocks: u64,
    blocks_in_base: u64,
}

impl Writer {
    pub(crate) async fn open(domain: Arc<DomainInner>, base: Option<&Root>, size_bytes: u64) -> Result<Self> {
        // Before anything is waited for: from here on no collection begins without knowing of the base.
        let lease = Arc::new(domain.ledger.lease(base));
        domain.ledger.load(&domain).await?;
        let base = match base {
            None => None,
            Some(root) => Some((root.clone(), domain.tree(root).await?)),
        };
        if base.as_ref().is_some_and(|(root, _)| root.size_bytes() > size_bytes) {
            return Err(Error::invalid("write a root that is smaller than its base"));
        }
        Ok(Self {
            packer: Packer::new(Arc::clone(&domain), Shape::USUAL),
            nodes: Nodes::new(Arc::clone(&domain), Arc::clone(&lease)),
            names: PackNames::new(Arc::clone(&domain), Arc::clone(&lease)),
            domain,
            lease,
            base,
            size_bytes,
            incoming: Incoming::default(),
            current: None,
            edits: BTreeMap::new(),
            edit_bytes: 0,
            changes: BTreeMap::new(),
            recent: Recent::default(),
            stats: WriteStats::default(),
            is_broken: false,
        })
    }

    /// Replaces whole blocks. Zero blocks become absent.
    pub async fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        self.write_bytes(offset, Bytes::copy_from_slice(data)).await?;
        self.is_broken = true;
        self.take_pieces(0).await?;
        self.is_broken = false;
        Ok(())
    }

    /// Like `write`, of bytes that can be kept: they are looked at while the caller fetches more. What
    /// goes wrong with them may come out of a later call, of `commit` at the latest.
    pub async fn write_bytes(&mut self, offset: u64, data: Bytes) -> Result<()> {
        self.check(offset, data.len() as u64)?;
        self.is_broken = true;
        self.incoming.push(&self.domain, offset, data);
        self.take_pieces(PIECES_PER_TASK * self.domain.store.options.compression_tasks).await?;
        self.is_broken = false;
        Ok(())
    }

    /// Finds or stores the blocks that came, all but the last `left` pieces of them.
    async fn take_pieces(&mut self, left: usize) -> Result<()> {
        while self.incoming.len() > left {
            let Some(piece) = self.incoming.pop().await? else { break };
            self.write_in_leaf(&piece).await?;
        }
        Ok(())
    }

    /// Makes a range of whole blocks absent, which reads as zeros.
    pub async fn zero(&mut self, offset: u64, len: u64) -> Result<()> {
        self.check(offset, len)?;
        self.is_broken = true;
        self.take_pieces(0).await?;
        let end = offset + len;
        let (whole_start, whole_end) = (offset.next_multiple_of(LEAF_BYTES), end / LEAF_BYTES * LEAF_BYTES);
        if whole_start < whole_end {
            self.zero_in_leaf(offset, whole_start).await?;
            self.zero_leaves(leaf_index(whole_start)?, leaf_index(whole_end)?).await?;
            self.zero_in_leaf(whole_end, end).await?;
        } else {
            let middle = whole_start.min(end);
            self.zero_in_leaf(offset, middle).await?;
            self.zero_in_leaf(middle, end).await?;
        }
        self.is_broken = false;
        Ok(())
    }

    fn check(&self, offset: u64, len: u64) -> Result<()> {
        if self.is_broken {
            return Err(Error::invalid("write after a write that failed"));
        }
        let is_whole = offset.is_multiple_of(BLOCK_BYTES_U64) && len.is_multiple_of(BLOCK_BYTES_U64);
        let is_inside = offset.checked_add(len).is_some_and(|end| end <= self.size_bytes);
        if is_whole && is_inside {
            Ok(())
        } else {
            Err(Error::invalid("write outside of whole blocks of the root"))
        }
    }

    async fn write_in_leaf(&mut self, piece: &Piece) -> Result<()> {
        self.open_leaf(leaf_index(piece.offset)?).await?;
        let first = block_in_leaf(piece.offset);
        let blocks = piece.ids.iter().zip(piece.data.as_chunks().0);
        for (position, (id, block)) in (first..).zip(blocks) {
            let old = self.current.as_ref().and_then(|leaf| leaf.blocks.get(position).copied().flatten());
            let new = match id {
                None => None,
                Some(id) => Some(self.place(*id, block, old).await?),
            };
            if let Some(target) = self.current.as_mut().and_then(|leaf| leaf.blocks.get_mut(position)) {
                *target = new;
            }
        }
        Ok(())
    }

    /// Zeroes a range inside one leaf.
    async fn zero_in_leaf(&mut self, start: u64, end: u64) -> Result<()> {
        if start >= end {
            return Ok(());
        }
        self.open_leaf(leaf_index(start)?).await?;
        let count = usize::try_from((end - start) / BLOCK_BYTES_U64).unwrap_or(LEAF_BLOCKS);
        if let Some(leaf) = &mut self.current {
            leaf.blocks.iter_mut().skip(block_in_leaf(start)).take(count).for_each(|block| *block = None);
        }
        Ok(())
    }

    /// Empties whole leaves without looking at what was never there.
    async fn zero_leaves(&mut self, start: u32, end: u32) -> Result<()> {
        self.end_leaf().await?;
        let mut touched: Vec<u32> = self.edits.range(start..end).map(|(index, _)| *index).collect();
        touched.extend(self.changes.range(start..end).map(|(index, _)| *index));
        if let Some((_, tree)) = &self.base {
            let mut next = start;
            while let Some((index, _)) =
                self.domain.next_leaf(tree, next).await?.filter(|(index, _)| *index < end)
            {
                touched.push(index);
                next = index + 1;
            }
        }
        for index in touched {
            self.edits.insert(index, Vec::new());
        }
        Ok(())
    }

    /// Where the block is stored: where it was, where the domain has it, or in a new frame.
    pub(crate) async fn place(
        &mut self,
        id: BlockId,
        block: &[u8; BLOCK_BYTES],
        old: Option<At>,
    ) -> Result<At> {
        self.stats.bytes_written += BLOCK_BYTES_U64;
        // First where the leaf has it now, then right after the last duplicate: both keep runs long.
        for at in [old, self.recent.next()].into_iter().flatten() {
            if let At::Stored { pack, slot } = at
                && self.holds(Place { pack: self.names.get(pack).0.id, slot }, &id).await?
            {
                self.recent.hit(at);
                return Ok(at);
            }
        }
        if let Some(ordinal) = self.packer.fresh(&id) {
            return Ok(At::New(ordinal));
        }
        if let Some(at) = self.find(&id).await? {
            self.recent.hit(at);
            return Ok(at);
        }
        let ordinal = self.packer.add(id, block, &mut self.names, &mut self.stats).await?;
        Ok(At::New(ordinal))
    }

    /// Whether the domain has, or this writer has stored, any of these blocks.
    pub(crate) async fn has_any(&mut self, ids: &[BlockId]) -> Result<bool> {
        for id in ids {
            if self.packer.fresh(id).is_some() || self.find(id).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes a frame of new blocks as it was compressed elsewhere. Gives the place of its first block.
    pub(crate) async fn adopt(&mut self, packed: Packed, ids: Vec<BlockId>) -> Result<At> {
        self.stats.bytes_written += ids.len() as u64 * BLOCK_BYTES_U64;
        self.packer.adopt(packed, ids, &mut self.names, &mut self.stats).await.map(At::New)
    }

    /// Says where blocks of the disk lie. In ascending order it is fast.
    pub(crate) async fn put(&mut self, placed: &[(u64, At)]) -> Result<()> {
        for (block, at) in placed {
            let offset = block * BLOCK_BYTES_U64;
            self.open_leaf(leaf_index(offset)?).await?;
            let blocks = self.current.as_mut().map(|leaf| &mut leaf.blocks);
            if let Some(target) = blocks.and_then(|blocks| blocks.get_mut(block_in_leaf(offset))) {
                *target = Some(*at);
            }
        }
        Ok(())
    }

    async fn find(&mut self, id: &BlockId) -> Result<Option<At>> {
        let index = Arc::clone(&self.domain.index);
        index.seed(&self.domain).await?;
        let place = match index.candidate(id) {
            Some(place) => Some(place),
            None if index.is_complete() => None,
            None => self.recent.find(id),
        };
        let Some(place) = place else { return Ok(None) };
        if !self.holds(place, id).await? || !self.names.may_name(place.pack) {
            return Ok(None);
        }
        let Some(directory) = self.recent.directory(place.pack) else { return Ok(None) };
        let pack = crate::format::node::PackRef { id: place.pack, table_in: None };
        let number = self.names.number(pack, Some(&directory.table));
        if !index.is_complete() {
            self.recent.remember(&directory);
        }
        Ok(Some(At::Stored { pack: number, slot: place.slot }))
    }

    /// Whether the block of this id is really there, as far as the pack's directory knows. A
    /// pack that cannot be read is no place to refer to.
    async fn holds(&mut self, place: Place, id: &BlockId) -> Result<bool> {
        let is_there = |directory: &Directory| directory.ids.get(place.slot as usize) == Some(id);
        if let Some(directory) = self.recent.directory(place.pack) {
            return Ok(is_there(&directory));
        }
        match self.domain.directory(place.pack).await {
            Ok(directory) => {
                let is_there = is_there(&directory);
                self.recent.keep(directory);
                Ok(is_there)
            }
            Err(e) if e.kind() == ErrorKind::Unavailable => Err(e),
            Err(_) => {
                self.domain.index.forget(place.pack);
                Ok(false)
            }
        }
    }

    async fn open_leaf(&mut self, index: u32) -> Result<()> {
        if self.current.as_ref().is_some_and(|leaf| leaf.index == index) {
            return Ok(());
        }
        self.end_leaf().await?;
        let mut blocks = vec![None; LEAF_BLOCKS];
        if let Some(runs) = self.edits.remove(&index) {
            self.edit_bytes = self.edit_bytes.saturating_sub(edit_weight(&runs));
            for run in runs {
                fill(&mut blocks, run);
            }
        } else if let Some(leaf) = self.stored_leaf(index).await? {
            self.load_leaf(leaf, &mut blocks).await?;
        }
        self.current = Some(OpenLeaf { index, blocks });
        Ok(())
    }

    /// A leaf as it is stored: by this writer, or in the base.
    async fn stored_leaf(&self, index: u32) -> Result<Option<NodeRef>> {
        if let Some(change) = self.changes.get(&index) {
            return Ok(change.leaf.and_then(|leaf| self.nodes.stored(leaf)));
        }
        self.base_leaf(index).await
    }

    async fn base_leaf(&self, index: u32) -> Result<Option<NodeRef>> {
        match &self.base {
            Some((_, tree)) => self.domain.leaf_ref(tree, index).await,
            None => Ok(None),
        }
    }

    async fn load_leaf(&mut self, leaf: NodeRef, blocks: &mut [Option<At>]) -> Result<()> {
        let leaf = self.domain.leaf(leaf).await?;
        for run in &leaf.runs {
            let pack = leaf.pack(run)?;
            // The neighbourhood of what changes is where duplicates are most likely.
            self.domain.index.learn(&self.domain, pack.id).await?;
            let at = At::Stored { pack: self.names.number(*pack, None), slot: run.slot };
            fill(blocks, EditRun { start: run.start, len: run.len, at });
        }
        Ok(())
    }

    /// Puts the open leaf aside, and stores leaves when they take too much memory.
    async fn end_leaf(&mut self) -> Result<()> {
        let Some(leaf) = self.current.take() else { return Ok(()) };
        let runs = gather(&leaf.blocks);
        self.edit_bytes += edit_weight(&runs);
        self.edits.insert(leaf.index, runs);
        if self.edit_bytes > self.domain.store.options.writer_leaf_bytes {
            self.store_leaves().await?;
            self.nodes.close(None, &mut self.names, &mut self.stats).await?;
        }
        Ok(())
    }

    /// Stores what was written and names the new root. Without any change it is the base.
    pub async fn commit(mut self) -> Result<(Root, WriteStats)> {
        if self.is_broken {
            return Err(Error::invalid("commit after a write that failed"));
        }
        self.take_pieces(0).await?;
        self.end_leaf().await?;
        self.store_leaves().await?;
        let height = height_for(self.size_bytes);
        let root = self.store_tree(height).await?;
        self.lease.commit(&self.domain, self.base.as_ref().map(|(base, _)| base), &root).await?;
        Ok((root, self.stats))
    }
}

fn block_in_leaf(offset: u64) -> usize {
    usize::try_from(offset % LEAF_BYTES / BLOCK_BYTES_U64).unwrap_or(LEAF_BLOCKS)
}

fn edit_weight(runs: &[EditRun]) -> usize {
    size_of_val(runs) + 64
}

fn fill(blocks: &mut [Option<At>], run: EditRun) {
    let targets = blocks.iter_mut().skip(usize::from(run.start)).take(usize::from(run.len));
    for (target, distance) in targets.zip(0..) {
        *target = Some(run.at.after(distance));
    }
}

/// The longest runs.
fn gather(blocks: &[Option<At>]) -> Vec<EditRun> {
    let mut runs: Vec<EditRun> = Vec::new();
    for (start, block) in (0u16..).zip(blocks) {
        let Some(at) = *block else { continue };
        match runs.last_mut() {
            Some(run) if run.start + run.len == start && run.at.after(u32::from(run.len)) == at => {
                run.len += 1;
            }
            _ => runs.push(EditRun { start, len: 1, at }),
        }
    }
    runs
}
