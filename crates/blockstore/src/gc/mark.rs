//! What the live roots of a domain reach: a walk over unique nodes that can pause between any two
//! node packs. Needs the keys of nodes and names, and none to any data.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use model::Timestamp;

use crate::domain::DomainInner;
use crate::error::{Error, Result};
use crate::format::collection::ObjectId;
use crate::format::node::{Leaf, NODE_PACK_BYTES_MAX, Node, NodePack, NodeRef};
use crate::format::relocation::{Part, RelocationMap};
use crate::format::{NodePackId, PackId};

/// Memory for what earlier marks have read.
const CACHE_BYTES_MAX: usize = 64 << 20;
/// No pack that can be read has more slots.
const SLOTS_MAX: u32 = 1 << 21;

/// What was reached.
#[derive(Debug, Default)]
pub(super) struct Live {
    packs: HashMap<PackId, Slots>,
    node_packs: HashMap<NodePackId, u32>,
}

impl Live {
    pub(super) fn has(&self, object: ObjectId) -> bool {
        match object {
            ObjectId::Pack(id) => self.packs.contains_key(&id),
            ObjectId::NodePack(id) => self.node_packs.contains_key(&id),
        }
    }

    /// Blocks that some tree names, each counted once.
    pub(super) fn slots(&self) -> u64 {
        self.packs.values().map(|slots| u64::from(slots.count)).sum()
    }

    pub(super) fn nodes(&self) -> u64 {
        self.node_packs.values().map(|nodes| u64::from(*nodes)).sum()
    }

    pub(super) fn packs(&self) -> impl Iterator<Item = PackId> {
        self.packs.keys().copied()
    }

    pub(super) fn slots_of(&self, pack: PackId) -> u32 {
        self.packs.get(&pack).map_or(0, |slots| slots.count)
    }

    pub(super) fn names(&self, pack: PackId, slot: u32) -> bool {
        self.packs.get(&pack).is_some_and(|slots| slots.has(slot))
    }

    /// The same blocks where they are now. What trees name and was never moved stays where it is named.
    pub(super) fn through(self, map: &RelocationMap) -> Result<Self> {
        let mut now = Self { packs: HashMap::new(), node_packs: self.node_packs };
        for (pack, slots) in self.packs {
            if !map.has(pack) {
                now.packs.entry(pack).or_default().add(&slots);
                continue;
            }
            for (first, len) in slots.runs() {
                for Part { first, len, now: place } in map.parts(pack, first, len) {
                    let (pack, slot) = place.unwrap_or((pack, first));
                    now.packs.entry(pack).or_default().mark(slot, len)?;
                }
            }
        }
        Ok(now)
    }

    fn mark(&mut self, leaf: &Leaf) -> Result<()> {
        for run in &leaf.runs {
            self.packs.entry(leaf.pack(run)?.id).or_default().mark(run.slot, run.len.into())?;
        }
        Ok(())
    }
}

/// Slots of one pack.
#[derive(Debug, Default)]
pub(super) struct Slots {
    words: Vec<u64>,
    count: u32,
}

impl Slots {
    /// Whether any of them was not marked yet.
    pub(super) fn mark(&mut self, first: u32, len: u32) -> Result<bool> {
        let end = first.saturating_add(len);
        if end > SLOTS_MAX {
            return Err(Error::corrupt("mark a slot that no pack has"));
        }
        let before = self.count;
        let words = end.div_ceil(64) as usize;
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        for slot in first..end {
            if let Some(word) = self.words.get_mut((slot / 64) as usize) {
                let bit = 1u64 << (slot % 64);
                self.count += u32::from(*word & bit == 0);
                *word |= bit;
            }
        }
        Ok(self.count > before)
    }

    fn has(&self, slot: u32) -> bool {
        self.words.get((slot / 64) as usize).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    fn add(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words.iter_mut().zip(&other.words).for_each(|(word, more)| *word |= more);
        self.count = self.words.iter().map(|word| word.count_ones()).sum();
    }

    /// First slot and length of each run of marked slots.
    fn runs(&self) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for slot in (0..SLOTS_MAX).take(self.words.len() * 64).filter(|slot| self.has(*slot)) {
            match runs.last_mut() {
                Some((first, len)) if *first + *len == slot => *len += 1,
                _ => runs.push((slot, 1)),
            }
        }
        runs
    }
}

/// Nodes that earlier marks have read: a mark costs what is new.
#[derive(Debug, Default)]
pub(super) struct Seen {
    roots: HashMap<NodePackId, (NodeRef, u8)>,
    nodes: HashMap<NodeRef, Node>,
    bytes: usize,
}

impl Seen {
    fn keep(&mut self, reference: NodeRef, node: &Node) {
        let bytes = 128
            + match node {
                Node::Leaf(leaf) => size_of_val(leaf.packs.as_slice()) + size_of_val(leaf.runs.as_slice()),
                Node::Inner(children) => size_of_val(children.as_slice()),
            };
        if self.bytes + bytes <= CACHE_BYTES_MAX {
            self.bytes += bytes;
            self.nodes.insert(reference, node.clone());
        }
    }

    /// Forgets what the last mark did not come by.
    fn retain(&mut self, visited: &HashSet<NodeRef>) {
        let nodes = std::mem::take(&mut self.nodes);
        self.bytes = 0;
        for (reference, node) in nodes.into_iter().filter(|(reference, _)| visited.contains(reference)) {
            self.keep(reference, &node);
        }
        self.roots.retain(|_, (node, _)| visited.contains(node));
    }
}

#[derive(Debug, Clone, Copy)]
enum Visit {
    Root,
    Node { number: u32, level: u8 },
}

/// A mark under way.
#[derive(Debug)]
pub(super) struct Mark {
    /// Every root that was written down before is in it.
    pub(super) began: Timestamp,
    pub(super) live: Live,
    pub(super) roots: Vec<NodePackId>,
    open: BTreeMap<NodePackId, Vec<Visit>>,
    visited: HashSet<NodeRef>,
}

impl Mark {
    pub(super) fn of(began: Timestamp, roots: impl Iterator<Item = NodePackId>) -> Self {
        let roots: Vec<NodePackId> = roots.collect();
        let open = roots.iter().map(|root| (*root, vec![Visit::Root])).collect();
        Self { began, live: Live::default(), roots, open, visited: HashSet::new() }
    }

    /// Visits what is open in one node pack. False where nothing was left to do.
    pub(super) async fn step(&mut self, domain: &DomainInner, seen: &mut Seen) -> Result<bool> {
        let Some((id, mut visits)) = self.open.pop_first() else {
            seen.retain(&self.visited);
            return Ok(false);
        };
        let mut source = Source { domain, id, pack: None };
        while let Some(visit) = visits.pop() {
            let (node, level) = match visit {
                Visit::Node { number, level } => (NodeRef { pack: id, number }, level),
                Visit::Root => source.root(seen).await?,
            };
            if !self.visited.insert(node) {
                continue;
            }
            *self.live.node_packs.entry(id).or_default() += 1;
            match source.node(seen, node, level).await? {
                Node::Leaf(leaf) => self.live.mark(&leaf)?,
                Node::Inner(children) => {
                    for (_, child) in children.iter() {
                        let visit = Visit::Node { number: child.number, level: level - 1 };
                        if child.pack == id {
                            visits.push(visit);
                        } else {
                            self.open.entry(child.pack).or_default().push(visit);
                        }
                    }
                }
            }
        }
        Ok(true)
    }
}

/// One node pack, fetched when a node of it is not known yet. Past the caches: a mark comes by
/// everything once and would drive out what others need.
struct Source<'a> {
    domain: &'a DomainInner,
    id: NodePackId,
    pack: Option<Arc<NodePack>>,
}

impl Source<'_> {
    async fn pack(&mut self) -> Result<Arc<NodePack>> {
        if let Some(pack) = &self.pack {
            return Ok(Arc::clone(pack));
        }
        let path = self.domain.node_pack_path(self.id);
        let got = self.domain.store.objects.get(&path, NODE_PACK_BYTES_MAX).await;
        let bytes = got.map_err(Error::missing_is_corrupt)?;
        let pack = Arc::new(NodePack::parse(&self.domain.keys, self.id, &bytes)?);
        self.pack = Some(Arc::clone(&pack));
        Ok(pack)
    }

    async fn root(&mut self, seen: &mut Seen) -> Result<(NodeRef, u8)> {
        if let Some(known) = seen.roots.get(&self.id) {
            return Ok(*known);
        }
        let pack = self.pack().await?;
        let head = pack.head.ok_or_else(|| Error::corrupt("mark: a live root has no head"))?;
        let root = (pack.root()?, head.height);
        seen.roots.insert(self.id, root);
        Ok(root)
    }

    async fn node(&mut self, seen: &mut Seen, reference: NodeRef, level: u8) -> Result<Node> {
        if let Some(node) = seen.nodes.get(&reference) {
            return Ok(node.clone());
        }
        let node = self.pack().await?.node(&self.domain.keys, reference.number, level)?;
        seen.keep(reference, &node);
        Ok(node)
    }
}
