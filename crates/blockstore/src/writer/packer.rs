//! From new blocks to durable packs: frames are compressed on several cores, sealed in order,
//! gathered in packs, and packs are stored while the next one fills.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::WriteStats;
use crate::domain::DomainInner;
use crate::error::{Error, Result};
use crate::format::node::PackRef;
use crate::format::pack::{Directory, ID_BYTES, PackBuilder, PackTable, Packed};
use crate::format::{BLOCK_BYTES, BlockId, Effort, FRAME_SLOTS, IdMap, PackId};
use crate::gc::Lease;
use crate::workers::Working;

/// Packs of one writer that may be on their way to the store at once.
const UPLOADS: usize = 2;

/// Where a block of the new root lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// In a stored pack, by the writer's number for it.
    Stored { pack: u32, slot: u32 },
    /// The how-manieth new block of this writer; which pack takes it is decided later.
    New(u64),
}

impl At {
    /// The place `blocks` after this one.
    pub(crate) fn after(self, blocks: u32) -> Self {
        match self {
            Self::Stored { pack, slot } => Self::Stored { pack, slot: slot.saturating_add(blocks) },
            Self::New(ordinal) => Self::New(ordinal + u64::from(blocks)),
        }
    }
}

/// The packs that a writer's leaves name, numbered.
#[derive(Debug)]
pub(crate) struct PackNames {
    domain: Arc<DomainInner>,
    lease: Arc<Lease>,
    packs: Vec<(PackRef, Option<Arc<PackTable>>)>,
    numbers: IdMap<PackId, u32>,
}

impl PackNames {
    pub(crate) fn new(domain: Arc<DomainInner>, lease: Arc<Lease>) -> Self {
        Self { domain, lease, packs: Vec::new(), numbers: IdMap::default() }
    }

    /// Before leaves may name a pack that the domain has. False where it is to go, or where its blocks were moved.
    pub(super) fn may_name(&self, pack: PackId) -> bool {
        let is_moved = self.domain.ledger.relocations.has(pack);
        self.numbers.contains_key(&pack) || !is_moved && self.lease.claim(pack.into())
    }

    pub(super) fn number(&mut self, pack: PackRef, table: Option<&Arc<PackTable>>) -> u32 {
        let next = u32::try_from(self.packs.len()).expect("a writer names fewer than 2^32 packs");
        let number = *self.numbers.entry(pack.id).or_insert(next);
        match self.packs.get_mut(number as usize) {
            None => {
                self.lease.claim_own(&self.domain, pack.id.into());
                self.packs.push((pack, table.cloned()));
            }
            Some((known, known_table)) => {
                known.table_in = known.table_in.or(pack.table_in);
                if known_table.is_none() {
                    *known_table = table.cloned();
                }
            }
        }
        number
    }

    pub(crate) fn get(&self, number: u32) -> (PackRef, Option<&Arc<PackTable>>) {
        let (pack, table) = self.packs.get(number as usize).expect("numbers come from this table");
        (*pack, table.as_ref())
    }
}

#[derive(Debug)]
struct OpenPack {
    builder: PackBuilder,
    first: u64,
}

/// A compressed frame, its ids, and the buffer that its blocks were in.
type Compressing = Working<(Packed, Vec<BlockId>, Vec<u8>)>;

/// How frames are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Blocks of a frame.
    pub(crate) slots: usize,
    pub(crate) effort: Effort,
}

impl Shape {
    pub(crate) const USUAL: Self = Self { slots: FRAME_SLOTS, effort: Effort::Usual };
}

#[derive(Debug)]
pub(crate) struct Packer {
    domain: Arc<DomainInner>,
    shape: Shape,
    blocks: Vec<u8>,
    ids: Vec<BlockId>,
    /// Empty buffers of frames that are compressed.
    spare: Vec<Vec<u8>>,
    next: u64,
    /// New blocks that are in a pack, open or closed.
    packed: u64,
    compressing: FuturesOrdered<Compressing>,
    open: Option<OpenPack>,
    /// First new block and number of every closed pack.
    closed: Vec<(u64, u32)>,
    uploads: JoinSet<Result<(u64, Directory)>>,
    /// New blocks that the index does not know yet.
    fresh: IdMap<BlockId, u64>,
}

impl Packer {
    pub(crate) fn new(domain: Arc<DomainInner>, shape: Shape) -> Self {
        Self {
            domain,
            shape,
            blocks: Vec::new(),
            ids: Vec::new(),
            spare: Vec::new(),
            next: 0,
            packed: 0,
            compressing: FuturesOrdered::new(),
            open: None,
            closed: Vec::new(),
            uploads: JoinSet::new(),
            fresh: IdMap::default(),
        }
    }

    pub(super) fn fresh(&self, id: &BlockId) -> Option<u64> {
        self.fresh.get(id).copied()
    }

    /// Takes a new block and gives its number.
    pub(crate) async fn add(
        &mut self,
        id: BlockId,
        block: &[u8],
        names: &mut PackNames,
        stats: &mut WriteStats,
    ) -> Result<u64> {
        let ordinal = self.next;
        self.next += 1;
        self.blocks.extend(block);
        self.ids.push(id);
        self.fresh.insert(id, ordinal);
        stats.new_blocks += 1;
        if self.ids.len() == self.shape.slots {
            self.end_frame();
            self.take_frames(names, stats).await?;
        }
        Ok(ordinal)
    }

    /// Takes a frame of new blocks that is compressed already, and gives the first one's number.
    pub(super) async fn adopt(
        &mut self,
        packed: Packed,
        ids: Vec<BlockId>,
        names: &mut PackNames,
        stats: &mut WriteStats,
    ) -> Result<u64> {
        self.end_frame();
        let first = self.next;
        self.next += ids.len() as u64;
        self.fresh.extend(ids.iter().copied().zip(first..));
        stats.new_blocks += ids.len() as u64;
        let (sender, done) = oneshot::channel();
        drop(sender.send((packed, ids, Vec::new())));
        self.compressing.push_back(done);
        self.take_frames(names, stats).await?;
        Ok(first)
    }

    async fn take_frames(&mut self, names: &mut PackNames, stats: &mut WriteStats) -> Result<()> {
        while self.compressing.len() > 2 * self.domain.store.options.compression_tasks + 2 {
            self.take_frame(names, stats).await?;
        }
        Ok(())
    }

    /// What comes next goes into another frame.
    pub(crate) fn end_frame(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        if ids.is_empty() {
            return;
        }
        let Shape { slots, effort } = self.shape;
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(slots * BLOCK_BYTES));
        let blocks = std::mem::replace(&mut self.blocks, next);
        let compress = move || (Packed::pack(effort, &blocks), ids, blocks);
        self.compressing.push_back(self.domain.store.workers.run(compress));
    }

    /// Waits for the oldest frame and puts it into a pack.
    async fn take_frame(&mut self, names: &mut PackNames, stats: &mut WriteStats) -> Result<()> {
        let Some(done) = self.compressing.next().await else { return Ok(()) };
        let (packed, ids, mut blocks) =
            done.map_err(|e| Error::invalid("compress a frame").with_source(e))?;
        blocks.clear();
        if blocks.capacity() > 0 {
            self.spare.push(blocks);
        }
        let more = packed.bytes.len() + ids.len() * ID_BYTES;
        let is_full = |open: &OpenPack| open.builder.bytes() + more > self.domain.store.options.pack_bytes;
        if self.open.as_ref().is_some_and(is_full) {
            self.end_pack(names, stats).await?;
        }
        let (domain, first, slots) = (&self.domain, self.packed, self.shape.slots);
        let open = self.open.get_or_insert_with(|| {
            let salt = model::id_gen::random_bytes(&*domain.store.ids);
            let builder = PackBuilder::new(&domain.keys, salt).at_epoch(domain.ledger.epoch());
            let builder = builder.of_frames(slots);
            OpenPack { builder, first }
        });
        open.builder.push(&packed, &ids);
        self.packed += ids.len() as u64;
        Ok(())
    }

    async fn end_pack(&mut self, names: &mut PackNames, stats: &mut WriteStats) -> Result<()> {
        let Some(OpenPack { builder, first }) = self.open.take() else { return Ok(()) };
        while self.uploads.len() >= UPLOADS {
            self.take_upload().await?;
        }
        let built = builder.build(&self.domain.keys);
        stats.packs += 1;
        stats.stored_bytes += built.bytes.len() as u64;
        let table = Arc::clone(&built.directory.table);
        let number = names.number(PackRef { id: table.id, table_in: None }, Some(&table));
        self.closed.push((first, number));
        let domain = Arc::clone(&self.domain);
        self.uploads.spawn(async move {
            domain.store.objects.put_new(&domain.pack_path(table.id), built.bytes).await?;
            Ok((first, built.directory))
        });
        Ok(())
    }

    /// Waits for a pack to be durable; only then may others refer to it.
    async fn take_upload(&mut self) -> Result<()> {
        let Some(done) = self.uploads.join_next().await else { return Ok(()) };
        let (first, directory) = done.map_err(|e| Error::invalid("store a pack").with_source(e))??;
        for (ordinal, id) in (first..).zip(&directory.ids) {
            if self.fresh.get(id) == Some(&ordinal) {
                self.fresh.remove(id);
            }
        }
        self.domain.index.absorb(&directory);
        let key = (self.domain.keys.fingerprint, directory.table.id);
        self.domain.store.caches.directories.insert(key, Arc::new(directory));
        Ok(())
    }

    /// Makes everything taken so far durable, so that `resolve` works for all of it.
    pub(crate) async fn flush(&mut self, names: &mut PackNames, stats: &mut WriteStats) -> Result<()> {
        self.end_frame();
        while !self.compressing.is_empty() {
            self.take_frame(names, stats).await?;
        }
        self.end_pack(names, stats).await?;
        while !self.uploads.is_empty() {
            self.take_upload().await?;
        }
        Ok(())
    }

    /// Pack number and slot of a flushed new block, and how many blocks after it are in that pack.
    pub(crate) fn resolve(&self, ordinal: u64) -> (u32, u32, u64) {
        let position = self.closed.partition_point(|(first, _)| *first <= ordinal);
        let (first, pack) =
            *self.closed.get(position.wrapping_sub(1)).expect("flush came before, and closed every pack");
        let end = self.closed.get(position).map_or(self.packed, |(next, _)| *next);
        let slot = u32::try_from(ordinal - first).expect("a pack has fewer than 2^32 slots");
        (pack, slot, end - ordinal)
    }
}
