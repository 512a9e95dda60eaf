//! Many blocks at once, by frames: each frame is fetched and decoded once for all that is wanted of it,
//! several side by side. For what reads whole disks or whole differences, in whatever order.

use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};

use crate::domain::DomainInner;
use crate::error::{Error, Result};
use crate::format::node::PackRef;
use crate::format::pack::{PackTable, Packed};
use crate::format::{BLOCK_BYTES, BLOCK_BYTES_U64, IdMap, LEAF_BLOCKS, PackId};
use crate::gc::Lease;
use crate::tree::Tree;

/// Blocks that are gathered before their frames are fetched: bounds memory, and how often a frame that is
/// used all over a disk is decoded.
const GATHERED_MAX: usize = 1 << 20;

/// Blocks of a disk, and where they lie.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    packs: Vec<PackRef>,
    numbers: IdMap<PackId, usize>,
    /// Number of the pack, slot, block of the disk.
    wanted: Vec<(usize, u32, u64)>,
}

/// A frame, and the blocks that are wanted of it: block of the disk, slot counted from the frame's first.
#[derive(Debug)]
pub(crate) struct WantedFrame {
    table: Arc<PackTable>,
    number: u32,
    pub(crate) blocks: Vec<(u64, u16)>,
}

impl Gathered {
    pub(crate) fn len(&self) -> usize {
        self.wanted.len()
    }

    pub(crate) fn push(&mut self, pack: PackRef, slot: u32, block: u64) {
        let next = self.packs.len();
        let number = *self.numbers.entry(pack.id).or_insert(next);
        if number == next {
            self.packs.push(pack);
        }
        self.wanted.push((number, slot, block));
    }

    /// In the order of packs and of frames in them.
    pub(crate) async fn frames(mut self, domain: &DomainInner) -> Result<Vec<WantedFrame>> {
        self.wanted.sort_unstable();
        let mut frames: Vec<WantedFrame> = Vec::new();
        for of_pack in self.wanted.chunk_by(|a, b| a.0 == b.0) {
            let pack = of_pack.first().and_then(|(number, ..)| self.packs.get(*number));
            let Some(pack) = pack else { continue };
            let table = domain.table(pack).await?;
            let mut end = 0;
            for (_, slot, block) in of_pack {
                if *slot >= end {
                    let (number, frame) = table.frame_of(*slot)?;
                    end = frame.first_slot + u32::from(frame.slots);
                    frames.push(WantedFrame { table: Arc::clone(&table), number, blocks: Vec::new() });
                }
                if let Some(frame) = frames.last_mut() {
                    let first = frame.table.frame(frame.number)?.first_slot;
                    let slot =
                        u16::try_from(slot - first).map_err(|_| Error::corrupt("a frame is too long"))?;
                    frame.blocks.push((*block, slot));
                }
            }
        }
        Ok(frames)
    }
}

impl WantedFrame {
    pub(crate) fn sealed_bytes(&self) -> u64 {
        self.table.frame(self.number).map_or(0, |frame| u64::from(frame.sealed_bytes))
    }

    /// Whether all of the frame is wanted.
    pub(crate) fn is_whole(&self) -> bool {
        let slots = self.table.frame(self.number).map_or(0, |frame| usize::from(frame.slots));
        self.blocks.chunk_by(|a, b| a.1 == b.1).count() == slots
    }

    /// Fetches and unseals the frame; `then` runs where the computing is done.
    pub(crate) async fn open<T: Send + 'static>(
        self,
        domain: &DomainInner,
        then: impl FnOnce(Packed) -> Result<T> + Send + 'static,
    ) -> Result<(Self, T)> {
        let sealed = domain.sealed_frame(&self.table, self.number).await?;
        let (table, number) = (Arc::clone(&self.table), self.number);
        let work = move || then(table.unseal_frame(number, sealed.into())?);
        let opened = domain.store.workers.run(work).await;
        let opened = opened.map_err(|e| Error::invalid("open a frame").with_source(e))?;
        Ok((self, opened?))
    }

    /// The wanted parts of the decoded frame, with their offsets in the disk.
    fn parts(mut self, plain: &Bytes) -> Result<Vec<(u64, Bytes)>> {
        self.blocks.sort_unstable();
        let follows = |a: &(u64, u16), b: &(u64, u16)| a.0 + 1 == b.0 && a.1 + 1 == b.1;
        let parts = self.blocks.chunk_by(follows).filter_map(|run| {
            let (block, slot) = run.first()?;
            let start = usize::from(*slot) * BLOCK_BYTES;
            let bytes = plain.get(start..start + run.len() * BLOCK_BYTES).map(|part| plain.slice_ref(part));
            let missing = || Error::corrupt("read a block that its frame does not have");
            Some(bytes.ok_or_else(missing).map(|bytes| (block * BLOCK_BYTES_U64, bytes)))
        });
        parts.collect()
    }
}

type Parts = Result<Vec<(u64, Bytes)>>;

/// Everything that a disk has, a frame at a time.
pub struct Contents {
    domain: Arc<DomainInner>,
    _lease: Lease,
    tree: Tree,
    next_leaf: Option<u32>,
    frames: vec::IntoIter<WantedFrame>,
    opening: FuturesUnordered<BoxFuture<'static, Parts>>,
}

impl Contents {
    pub(crate) fn new(domain: Arc<DomainInner>, tree: Tree, lease: Lease) -> Self {
        let opening = FuturesUnordered::new();
        Self { domain, _lease: lease, tree, next_leaf: Some(0), frames: Vec::new().into_iter(), opening }
    }

    /// Some parts of the disk, each with its offset, in no particular order; what never comes is zeros.
    /// None when all have come.
    pub async fn next(&mut self) -> Result<Option<Vec<(u64, Bytes)>>> {
        self.domain.ledger.load_map(&self.domain).await?;
        loop {
            let ahead = 2 * self.domain.store.options.compression_tasks + 2;
            for frame in self.frames.by_ref().take(ahead.saturating_sub(self.opening.len())) {
                let domain = Arc::clone(&self.domain);
                let parts = async move {
                    let (frame, plain) = frame.open(&domain, Packed::unpack).await?;
                    frame.parts(&plain.into())
                };
                self.opening.push(parts.boxed());
            }
            match self.opening.next().await {
                Some(parts) => return parts.map(Some),
                None if self.next_leaf.is_none() => return Ok(None),
                None => self.frames = self.gather().await?.frames(&self.domain).await?.into_iter(),
            }
        }
    }

    async fn gather(&mut self) -> Result<Gathered> {
        let mut gathered = Gathered::default();
        while let Some(from) = self.next_leaf.filter(|_| gathered.len() < GATHERED_MAX) {
            let found = self.domain.next_leaf(&self.tree, from).await?;
            self.next_leaf = found.and_then(|(index, _)| index.checked_add(1));
            let Some((index, leaf)) = found else { break };
            let leaf = self.domain.leaf(leaf).await?;
            for run in &leaf.runs {
                let (pack, first) = (leaf.pack(run)?, u64::from(index) * LEAF_BLOCKS as u64);
                for n in 0..run.len {
                    gathered.push(*pack, run.slot + u32::from(n), first + u64::from(run.start + n));
                }
            }
        }
        Ok(gathered)
    }
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contents").field("next_leaf", &self.next_leaf).finish_non_exhaustive()
    }
}
