//! Rewrites packs of which little is needed, or all of them more densely, along the newest roots. Trees stay as
//! they are: a relocation map says where the blocks are now, and the old packs die as others do.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::Collector;
use super::mark::{Live, Mark, Slots};
use crate::cache::Cache;
use crate::domain::DomainInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::collection::ObjectId;
use crate::format::node::{Leaf, Node, NodeRef, PackRef};
use crate::format::pack::{Directory, PackTable};
use crate::format::relocation::{MOVES_MAX, Move, RelocationMap};
use crate::format::{
    BLOCK_BYTES, BLOCK_BYTES_U64, Effort, FRAME_SLOTS, FRAME_SLOTS_LOG2_MAX, NodePackId, PackId,
};
use crate::writer::{PackNames, Packer, Shape, WriteStats};

/// Memory for decoded frames of old packs.
const DECODED_BYTES: u64 = 64 << 20;
/// Packs below this part of the usual size are small.
const SMALL_PART: u64 = 8;
/// Fewer small packs are left alone: each new snapshot makes one.
const SMALL_PACKS_MIN: usize = 16;

/// What is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repack {
    /// Packs of which less than half is needed, and small ones where there are many.
    Sparse,
    /// Every pack that is not packed densely yet: frames of 1 MiB, compressed with more effort. It takes the least
    /// space; a random read decodes more.
    All,
}

/// What one batch of repacking did. Bytes are of stored objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repacked {
    /// Old packs that nobody needs any more, once readers that know them are done.
    pub packs: u64,
    pub bytes: u64,
    pub new_packs: u64,
    pub new_bytes: u64,
    pub moved_blocks: u64,
    /// Whether nothing is left to do.
    pub is_done: bool,
}

impl Repacked {
    /// With what a later batch did.
    #[must_use]
    pub const fn and(&self, later: &Self) -> Self {
        Self {
            packs: self.packs + later.packs,
            bytes: self.bytes + later.bytes,
            new_packs: self.new_packs + later.new_packs,
            new_bytes: self.new_bytes + later.new_bytes,
            moved_blocks: self.moved_blocks + later.moved_blocks,
            is_done: later.is_done,
        }
    }
}

impl Repack {
    const fn shape(self) -> Shape {
        match self {
            Self::Sparse => Shape { slots: FRAME_SLOTS, effort: Effort::Usual },
            Self::All => Shape { slots: 1 << FRAME_SLOTS_LOG2_MAX, effort: Effort::Great },
        }
    }
}

/// A block's old place, and the how-manieth new block it is.
struct Moved {
    pack: PackId,
    slot: u32,
    ordinal: u64,
}

/// One batch: about `bytes_max` of blocks are moved.
pub(super) async fn repack(
    domain: &Arc<DomainInner>,
    collector: &Collector,
    mark: Mark,
    what: Repack,
    bytes_max: u64,
) -> Result<Repacked> {
    let objects = super::objects(domain).await?;
    let old = domain.newest_map().await?;
    if old.moves_count() >= MOVES_MAX {
        tracing::warn!(domain = domain.keys.domain, "nothing more is repacked: the relocation map is full");
        return Ok(Repacked { is_done: true, ..Repacked::default() });
    }
    let named: HashSet<PackId> = mark.live.packs().collect();
    let roots = collector.newest_first(&mark);
    let live = mark.live.through(&old)?;
    let walk = Walk::of(domain, &old, roots).await?;
    let mut choice = Choice { what, bytes_max, objects: &objects, damaged: BTreeSet::new() };
    loop {
        let (chosen, is_all) = choice.packs(domain, &walk, &live).await?;
        if chosen.is_empty() {
            return Ok(Repacked { is_done: true, ..Repacked::default() });
        }
        let mut batch = Batch::new(domain, what.shape(), &chosen, &live, &old);
        match batch.take(&walk).await {
            Ok(()) => {}
            Err((Some(pack), e)) if e.kind() == ErrorKind::Corrupt => {
                tracing::warn!(error = &e as &dyn std::error::Error, %pack, "a damaged pack is not repacked");
                choice.damaged.insert(pack);
                continue;
            }
            Err((_, e)) => return Err(e),
        }
        let mut done = batch.end(&named, &objects).await?;
        done.is_done = is_all;
        return Ok(done);
    }
}

/// The leaves of all roots, each once, as the newest root that has it comes by it.
struct Walk {
    domain: Arc<DomainInner>,
    roots: Vec<Vec<NodeRef>>,
    /// In the order in which leaves name them.
    packs: Vec<PackRef>,
}

impl Walk {
    async fn of(domain: &Arc<DomainInner>, map: &RelocationMap, roots: Vec<NodePackId>) -> Result<Self> {
        let mut walk = Self { domain: Arc::clone(domain), roots: Vec::new(), packs: Vec::new() };
        let (mut visited, mut met) = (HashSet::new(), HashSet::new());
        for root in roots {
            let pack = domain.node_pack(root).await.map_err(Error::missing_is_corrupt)?;
            let head = pack.head.ok_or_else(|| Error::corrupt("repack: a live root has no head"))?;
            let mut open = vec![(pack.root()?, head.height)];
            let mut leaves = Vec::new();
            while let Some((node, level)) = open.pop() {
                if !visited.insert(node) {
                    continue;
                }
                if level > 0 {
                    let children = domain.children(node, level).await?;
                    open.extend(children.iter().rev().map(|(_, child)| (*child, level - 1)));
                    continue;
                }
                leaves.push(node);
                let leaf = leaf_by(domain, map, node).await?;
                walk.packs.extend(leaf.packs.iter().filter(|pack| met.insert(pack.id)));
            }
            walk.roots.push(leaves);
        }
        Ok(walk)
    }
}

/// By this map, whatever this process has learned meanwhile.
async fn leaf_by(domain: &DomainInner, map: &RelocationMap, node: NodeRef) -> Result<Arc<Leaf>> {
    let pack = domain.node_pack(node.pack).await.map_err(Error::missing_is_corrupt)?;
    match pack.node(&domain.keys, node.number, 0)? {
        Node::Leaf(leaf) => map.translate(&leaf),
        Node::Inner(_) => Err(Error::corrupt("repack: a leaf is an inner node")),
    }
}

struct Choice<'a> {
    what: Repack,
    bytes_max: u64,
    objects: &'a BTreeMap<ObjectId, u64>,
    /// Packs that cannot be read whole.
    damaged: BTreeSet<PackId>,
}

impl Choice<'_> {
    /// Packs to be rewritten, up to a number of bytes of blocks, and whether these are all there are.
    async fn packs(&self, domain: &DomainInner, walk: &Walk, live: &Live) -> Result<(HashSet<PackId>, bool)> {
        let size = |pack: &PackRef| self.objects.get(&pack.id.into()).copied().unwrap_or(0);
        let small_bytes = domain.store.options.pack_bytes as u64 / SMALL_PART;
        let small: HashSet<PackId> =
            walk.packs.iter().filter(|pack| size(pack) < small_bytes).map(|pack| pack.id).collect();
        let takes_small = small.len() >= SMALL_PACKS_MIN;
        let (mut chosen, mut bytes) = (HashSet::new(), 0);
        for pack in &walk.packs {
            let needed = live.slots_of(pack.id);
            if needed == 0 || self.damaged.contains(&pack.id) {
                continue;
            }
            let table: Arc<PackTable> = match domain.table(pack).await {
                Ok(table) => table,
                Err(e) if e.kind() == ErrorKind::Corrupt => continue,
                Err(e) => return Err(e),
            };
            let is_sparse = needed * 2 < table.slots || takes_small && small.contains(&pack.id);
            let is_loose = self.what == Repack::All && table.unit_log2() < FRAME_SLOTS_LOG2_MAX;
            if !is_sparse && !is_loose {
                continue;
            }
            if bytes >= self.bytes_max {
                return Ok((chosen, false));
            }
            bytes += u64::from(needed) * BLOCK_BYTES_U64;
            chosen.insert(pack.id);
        }
        Ok((chosen, true))
    }
}

/// Blocks on their way into new packs.
struct Batch<'a> {
    domain: &'a Arc<DomainInner>,
    /// Where blocks are before it.
    old: Arc<RelocationMap>,
    chosen: &'a HashSet<PackId>,
    live: &'a Live,
    packer: Packer,
    names: PackNames,
    stats: WriteStats,
    moved: Vec<Moved>,
    taken: HashMap<PackId, Slots>,
    decoded: Cache<(PackId, u32), Bytes>,
    /// The pack whose blocks come now.
    source: Option<Arc<Directory>>,
}

impl<'a> Batch<'a> {
    fn new(
        domain: &'a Arc<DomainInner>,
        shape: Shape,
        chosen: &'a HashSet<PackId>,
        live: &'a Live,
        old: &Arc<RelocationMap>,
    ) -> Self {
        let lease = Arc::new(domain.ledger.lease(None));
        Self {
            domain,
            old: Arc::clone(old),
            chosen,
            live,
            packer: Packer::new(Arc::clone(domain), shape),
            names: PackNames::new(Arc::clone(domain), lease),
            stats: WriteStats::default(),
            moved: Vec::new(),
            taken: HashMap::new(),
            decoded: Cache::new(DECODED_BYTES, 256 << 10),
            source: None,
        }
    }

    /// An error comes with the pack that it is about, if it is about one.
    async fn take(&mut self, walk: &Walk) -> Result<(), (Option<PackId>, Error)> {
        for leaves in &walk.roots {
            for node in leaves {
                let leaf = leaf_by(&walk.domain, &self.old, *node).await.map_err(|e| (None, e))?;
                for run in &leaf.runs {
                    let pack = leaf.pack(run).map_err(|e| (None, e))?.id;
                    if self.chosen.contains(&pack) {
                        self.take_run(pack, run.slot, run.len).await.map_err(|e| (Some(pack), e))?;
                    }
                }
            }
            // A frame never has blocks of two disks: its size would tell one's owner of the other.
            self.packer.end_frame();
        }
        Ok(())
    }

    async fn take_run(&mut self, pack: PackId, first: u32, len: u16) -> Result<()> {
        for slot in first..first + u32::from(len) {
            if !self.live.names(pack, slot) || !self.taken.entry(pack).or_default().mark(slot, 1)? {
                continue;
            }
            let source = self.directory(pack).await?;
            let (number, frame) = source.table.frame_of(slot)?;
            let blocks = self.blocks(&source.table, number).await?;
            let start = (slot - frame.first_slot) as usize * BLOCK_BYTES;
            let block = blocks.get(start..start + BLOCK_BYTES);
            let id = source.ids.get(slot as usize).copied();
            let (id, block) =
                id.zip(block).ok_or_else(|| Error::corrupt("repack a block that its frame does not have"))?;
            if self.domain.keys.block_id(block) != id {
                return Err(Error::corrupt("repack a block: it does not match its id"));
            }
            let ordinal = self.packer.add(id, block, &mut self.names, &mut self.stats).await?;
            self.moved.push(Moved { pack, slot, ordinal });
        }
        Ok(())
    }

    async fn directory(&mut self, pack: PackId) -> Result<Arc<Directory>> {
        if let Some(source) = self.source.as_ref().filter(|source| source.table.id == pack) {
            return Ok(Arc::clone(source));
        }
        let source = self.domain.directory(pack).await?;
        self.source = Some(Arc::clone(&source));
        Ok(source)
    }

    /// Past the shared cache: what others read should stay there.
    async fn blocks(&self, table: &PackTable, number: u32) -> Result<Bytes> {
        let fetch = || async {
            let sealed = self.domain.sealed_frame(table, number).await?;
            table.open_frame(number, sealed.into()).map(Bytes::from)
        };
        self.decoded.get_or_fetch(&(table.id, number), fetch).await
    }

    /// Makes the new packs durable and then the map that leads to them.
    async fn end(mut self, named: &HashSet<PackId>, objects: &BTreeMap<ObjectId, u64>) -> Result<Repacked> {
        self.packer.flush(&mut self.names, &mut self.stats).await?;
        let map = self.map(|pack| named.contains(&pack) || objects.contains_key(&pack.into()))?;
        let new_packs = self.stats.packs;
        let fresh = self.fresh_packs();
        self.domain.put_map(map).await?;
        // Writers find blocks where they are now.
        let forgotten = self.chosen.iter().copied().chain(fresh.iter().copied()).collect();
        self.domain.index.forget_all(&forgotten);
        for pack in fresh {
            self.domain.index.learn(self.domain, pack).await?;
        }
        let bytes = self.chosen.iter().filter_map(|pack| objects.get(&(*pack).into())).sum();
        Ok(Repacked {
            packs: self.chosen.len() as u64,
            bytes,
            new_packs,
            new_bytes: self.stats.stored_bytes,
            moved_blocks: self.moved.len() as u64,
            is_done: false,
        })
    }

    fn fresh_packs(&self) -> Vec<PackId> {
        let mut packs: Vec<u32> =
            self.moved.iter().map(|moved| self.packer.resolve(moved.ordinal).0).collect();
        packs.sort_unstable();
        packs.dedup();
        packs.into_iter().map(|number| self.names.get(number).0.id).collect()
    }

    /// The old map, followed on through this batch, and what the batch moved first of all.
    fn map(&self, is_kept: impl Fn(PackId) -> bool) -> Result<RelocationMap> {
        let old = &self.old;
        let mut now: HashMap<PackId, BTreeMap<u32, (PackId, u32)>> = HashMap::new();
        let mut tables: HashMap<PackId, Arc<PackTable>> =
            old.packs.iter().map(|table| (table.id, Arc::clone(table))).collect();
        for moved in &self.moved {
            let (number, slot, _) = self.packer.resolve(moved.ordinal);
            let (pack, table) = self.names.get(number);
            if let Some(table) = table {
                tables.entry(pack.id).or_insert_with(|| Arc::clone(table));
            }
            now.entry(moved.pack).or_default().insert(moved.slot, (pack.id, slot));
        }
        let mut places: BTreeMap<PackId, Vec<(u32, PackId, u32)>> = BTreeMap::new();
        for (pack, moves) in old.moves.iter().filter(|(pack, _)| is_kept(**pack)) {
            for moved in moves {
                let table = old.packs.get(moved.pack as usize);
                let target = table.ok_or_else(|| Error::corrupt("a relocation map has no such pack"))?.id;
                for n in 0..moved.len {
                    let (at, slot) = (moved.first + n, moved.slot + n);
                    let followed = now.get(&target).and_then(|slots| slots.get(&slot)).copied();
                    // What no tree needs any more stayed where it was, and goes with its pack.
                    if followed.is_some() || !self.chosen.contains(&target) {
                        let (target, slot) = followed.unwrap_or((target, slot));
                        places.entry(*pack).or_default().push((at, target, slot));
                    }
                }
            }
        }
        for (pack, slots) in &now {
            let moved = slots.iter().map(|(at, (target, slot))| (*at, *target, *slot));
            places.entry(*pack).or_default().extend(moved);
        }
        build(old.version + 1, places, &tables)
    }
}

/// The map of these places: old slot, new pack, new slot.
fn build(
    version: u64,
    places: BTreeMap<PackId, Vec<(u32, PackId, u32)>>,
    tables: &HashMap<PackId, Arc<PackTable>>,
) -> Result<RelocationMap> {
    let mut map = RelocationMap { version, ..RelocationMap::default() };
    let mut numbers: HashMap<PackId, u32> = HashMap::new();
    for (pack, mut places) in places {
        places.sort_unstable();
        places.dedup_by_key(|(first, ..)| *first);
        let mut moves: Vec<Move> = Vec::new();
        for (first, target, slot) in places {
            let next = u32::try_from(map.packs.len()).unwrap_or(u32::MAX);
            let number = *numbers.entry(target).or_insert(next);
            if number == next {
                let table = tables.get(&target);
                map.packs.push(Arc::clone(
                    table.ok_or_else(|| Error::corrupt("a block was moved to an unknown pack"))?,
                ));
            }
            match moves.last_mut() {
                Some(last)
                    if last.pack == number
                        && last.end() == u64::from(first)
                        && last.slot + last.len == slot =>
                {
                    last.len += 1;
                }
                _ => moves.push(Move { first, len: 1, pack: number, slot }),
            }
        }
        map.moves.insert(pack, moves);
    }
    Ok(map)
}
