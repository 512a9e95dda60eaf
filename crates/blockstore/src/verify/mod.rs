//! Reads everything that roots need, from the object store and not from caches, and checks all of it: names, seals,
//! lengths, and every block against its id. Goes on after damage, and tells which bytes of which root it costs.
//!
//! Every object is read once, however many roots name it. What is kept of the trees is a few bytes a node.

mod blame;
mod pack;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use futures::{StreamExt, stream};

pub use self::pack::PackFinding;
use crate::domain::{Domain, DomainInner};
use crate::error::{Error, ErrorKind, Result};
use crate::format::node::{Leaf, NODE_PACK_BYTES_MAX, Node, NodePack, NodeRef};
use crate::format::relocation::RelocationMap;
use crate::format::{NodePackId, PackId};
use crate::gc::Lease;
use crate::root::Root;
use crate::tree::height_for;

/// Node packs that are read at once.
const NODE_PACK_READS: usize = 8;

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyStats {
    pub packs: u64,
    pub pack_bytes: u64,
    /// Bytes of blocks that were decoded and hashed.
    pub decoded_bytes: u64,
    pub node_packs: u64,
    pub nodes: u64,
    /// Of all roots together.
    pub present_blocks: u64,
}

/// What is the matter with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    Missing,
    /// Its bytes are not those that were written.
    Damaged,
    /// The object store gave an error instead of bytes.
    Unreadable,
}

/// An object that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadObject {
    /// Its name in the object store.
    pub path: String,
    pub defect: Defect,
    pub cause: String,
}

/// Bytes of a root that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRange {
    pub offset_bytes: u64,
    pub len_bytes: u64,
    /// Which of the report's objects is to blame.
    pub object: usize,
}

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    pub stats: VerifyStats,
    pub objects: Vec<BadObject>,
    /// For each root, in the order they were given: what of it cannot be read, in ascending order.
    pub roots: Vec<Vec<BadRange>>,
}

/// Names a data pack. Ordered and written as its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackKey(pub(crate) PackId);

impl fmt::Display for PackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for PackKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut id = [0; 32];
        hex::decode_to_slice(text, &mut id)
            .map_err(|e| Error::invalid("parse the id of a pack").with_source(e))?;
        Ok(Self(PackId(id)))
    }
}

impl Domain {
    /// `Corrupt` where any byte that the root needs is damaged or missing.
    pub async fn verify(&self, root: &Root) -> Result<VerifyStats> {
        let _lease = self.inner.ledger.lease(Some(root));
        self.inner.tree(root).await?;
        let mut verification = Verification::begin(self, std::slice::from_ref(root)).await?;
        for pack in verification.packs() {
            let finding = verification.check_pack(pack).await;
            verification.note(finding);
        }
        let report = verification.report().await;
        // What could not be read may be whole.
        let worst = report.objects.iter().min_by_key(|bad| bad.defect == Defect::Unreadable);
        let Some(bad) = worst else { return Ok(report.stats) };
        let kind = match bad.defect {
            Defect::Missing | Defect::Damaged => ErrorKind::Corrupt,
            Defect::Unreadable => ErrorKind::Unavailable,
        };
        Err(Error::new(kind, format!("verify {}: {}", bad.path, bad.cause)))
    }

    /// What is the matter with the name that a root was published under; None where all is well.
    pub async fn check_name(&self, key: &str, root: &Root) -> Option<BadObject> {
        let path = crate::objects::named("snap", self.id(), key);
        match self.load(key).await {
            Ok(named) if named == *root => None,
            Ok(_) => Some(BadObject {
                path: path.to_string(),
                defect: Defect::Damaged,
                cause: "it names another root".to_owned(),
            }),
            Err(error) => Some(BadObject::of(path.to_string(), &error)),
        }
    }
}

impl BadObject {
    fn of(path: String, error: &Error) -> Self {
        let defect = match error.kind() {
            ErrorKind::NotFound => Defect::Missing,
            ErrorKind::Unavailable => Defect::Unreadable,
            ErrorKind::Conflict | ErrorKind::Corrupt | ErrorKind::Invalid => Defect::Damaged,
        };
        Self { path, defect, cause: chain(error) }
    }
}

fn chain(error: &Error) -> String {
    let mut text = error.context().to_owned();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// What the walk keeps of a node.
#[derive(Debug)]
enum Known {
    Inner(Box<[(u8, NodeRef)]>),
    /// Its blocks, and how many slots each pack must have for it.
    Leaf(u64, Box<[(PackId, u32)]>),
    /// The object to blame.
    Bad(usize),
}

/// A root whose own node pack was read.
#[derive(Debug)]
struct Walked {
    root: Root,
    /// The root node, or the object without which nothing of the root can be read.
    top: Result<NodeRef, usize>,
    height: u8,
    present_blocks: u64,
}

/// A verification of roots of one domain: `begin` has read the trees, `check_pack` reads one pack
/// and may be called for several at once, `note` keeps what it found, `report` ends it.
#[derive(Debug)]
pub struct Verification {
    domain: Arc<DomainInner>,
    /// What is moved meanwhile stays where it was, too.
    _lease: Lease,
    map: Arc<RelocationMap>,
    roots: Vec<Walked>,
    node_packs: HashMap<NodePackId, Result<(), usize>>,
    nodes: HashMap<NodeRef, (u8, Known)>,
    /// How many slots each pack must have.
    packs: BTreeMap<PackId, u32>,
    /// Node packs that are said to repeat a pack's frame table.
    tables_in: HashMap<PackId, NodePackId>,
    /// Slots that cannot be read, and the object to blame.
    bad_packs: HashMap<PackId, (usize, Vec<std::ops::Range<u32>>)>,
    objects: Vec<BadObject>,
    stats: VerifyStats,
}

impl Verification {
    /// Reads all nodes of the trees. Damage is no error: it is in the report.
    pub async fn begin(domain: &Domain, roots: &[Root]) -> Result<Self> {
        if roots.iter().any(|root| root.domain() != domain.id()) {
            return Err(Error::invalid("verify a root of another domain"));
        }
        let domain = &domain.inner;
        domain.has_moved_since(0).await?;
        let mut walk = Self {
            domain: Arc::clone(domain),
            _lease: domain.ledger.lease(None),
            map: domain.ledger.relocations.map(),
            roots: Vec::new(),
            node_packs: HashMap::new(),
            nodes: HashMap::new(),
            packs: BTreeMap::new(),
            tables_in: HashMap::new(),
            bad_packs: HashMap::new(),
            objects: Vec::new(),
            stats: VerifyStats::default(),
        };
        walk.check_maps().await?;
        let mut heads = HashMap::new();
        walk.read_node_packs(roots.iter().map(Root::node_pack).collect(), &mut heads).await;
        for root in roots {
            let walked = walk.start(root, heads.get(&root.node_pack()).copied().flatten());
            walk.roots.push(walked);
        }
        walk.walk().await;
        walk.check_counts();
        Ok(walk)
    }

    /// The packs that the roots need, in ascending order.
    pub fn packs(&self) -> Vec<PackKey> {
        self.packs.keys().copied().map(PackKey).collect()
    }

    /// Keeps what a look at a pack has found.
    pub fn note(&mut self, finding: PackFinding) {
        self.stats.packs += 1;
        self.stats.pack_bytes += finding.stored_bytes;
        self.stats.decoded_bytes += finding.decoded_bytes;
        if let Some((defect, cause)) = finding.problem {
            let path = self.domain.pack_path(finding.id).to_string();
            let object = self.blame(BadObject { path, defect, cause });
            self.bad_packs.insert(finding.id, (object, finding.bad_slots));
        }
    }

    /// What was moved is lost where both copies of the map are; then its old packs are missing.
    async fn check_maps(&mut self) -> Result<()> {
        for (path, checked) in self.domain.check_maps().await? {
            if let Err(error) = checked {
                self.blame(BadObject::of(path.to_string(), &error));
            }
        }
        Ok(())
    }

    fn blame(&mut self, object: BadObject) -> usize {
        self.objects.push(object);
        self.objects.len() - 1
    }

    fn blame_node_pack(&mut self, id: NodePackId, cause: impl Into<String>) -> usize {
        let path = self.domain.node_pack_path(id).to_string();
        self.blame(BadObject { path, defect: Defect::Damaged, cause: cause.into() })
    }

    fn start(&mut self, root: &Root, top: Option<(NodeRef, crate::format::node::TreeHead)>) -> Walked {
        let id = root.node_pack();
        let height = height_for(root.size_bytes());
        let mut walked = Walked { root: root.clone(), top: Err(0), height, present_blocks: 0 };
        walked.top = match (self.node_packs.get(&id), top) {
            (Some(Err(object)), _) => Err(*object),
            (_, Some((node, head))) if head.size_bytes == root.size_bytes() && head.height == height => {
                walked.present_blocks = head.present_blocks;
                Ok(node)
            }
            _ => Err(self.blame_node_pack(id, "it is not the root that it should be")),
        };
        walked
    }

    /// Level by level, so that the node packs of one level are read at once.
    async fn walk(&mut self) {
        let mut seen = HashSet::new();
        let mut open: Vec<(NodeRef, u8)> =
            self.roots.iter().filter_map(|root| Some((*root.top.as_ref().ok()?, root.height))).collect();
        while !open.is_empty() {
            open.retain(|(node, _)| seen.insert(*node));
            let packs = open.iter().map(|(node, _)| node.pack).collect();
            self.read_node_packs(packs, &mut HashMap::new()).await;
            let mut next = Vec::new();
            for (node, level) in open {
                self.visit(node, level, &mut next);
            }
            open = next;
        }
    }

    fn visit(&mut self, node: NodeRef, level: u8, next: &mut Vec<(NodeRef, u8)>) {
        self.stats.nodes += 1;
        match self.nodes.get(&node) {
            Some((known_level, Known::Inner(children))) if *known_level == level => {
                next.extend(children.iter().map(|(_, child)| (*child, level - 1)));
            }
            Some((0, Known::Leaf(_, packs))) if level == 0 => {
                for (pack, slots) in packs {
                    let needed = self.packs.entry(*pack).or_insert(0);
                    *needed = (*needed).max(*slots);
                }
            }
            Some((_, Known::Bad(_))) => {}
            Some(_) | None => {
                let object = match self.node_packs.get(&node.pack) {
                    Some(Err(object)) => *object,
                    _ => self.blame_node_pack(node.pack, "it does not have a node that another one names"),
                };
                self.nodes.insert(node, (level, Known::Bad(object)));
            }
        }
    }

    async fn read_node_packs(
        &mut self,
        mut wanted: Vec<NodePackId>,
        heads: &mut HashMap<NodePackId, Option<(NodeRef, crate::format::node::TreeHead)>>,
    ) {
        wanted.sort_unstable();
        wanted.dedup();
        wanted.retain(|id| !self.node_packs.contains_key(id));
        let domain = Arc::clone(&self.domain);
        let mut read = stream::iter(wanted)
            .map(|id| {
                let domain = Arc::clone(&domain);
                async move { (id, stored_node_pack(&domain, id).await) }
            })
            .buffer_unordered(NODE_PACK_READS);
        while let Some((id, pack)) = read.next().await {
            self.stats.node_packs += 1;
            match pack {
                Ok(pack) => {
                    heads.insert(id, pack.head.and_then(|head| Some((pack.root().ok()?, head))));
                    self.keep_node_pack(&pack);
                }
                Err(error) => {
                    let path = self.domain.node_pack_path(id).to_string();
                    let object = self.blame(BadObject::of(path, &error));
                    self.node_packs.insert(id, Err(object));
                }
            }
        }
    }

    /// Decodes every node, also those that no root needs.
    fn keep_node_pack(&mut self, pack: &NodePack) {
        let mut bad = None;
        for (number, level) in (0..).zip(pack.levels()) {
            let node = pack.node(&self.domain.keys, number, level);
            let known = match node.and_then(|node| summary(&node, &self.map)) {
                Ok(known) => known,
                Err(error) => {
                    let path = self.domain.node_pack_path(pack.id).to_string();
                    Known::Bad(*bad.get_or_insert_with(|| {
                        self.objects.push(BadObject::of(path, &error));
                        self.objects.len() - 1
                    }))
                }
            };
            self.nodes.insert(NodeRef { pack: pack.id, number }, (level, known));
        }
        for named in pack.pack_refs() {
            if let Some(table_in) = named.table_in {
                self.tables_in.entry(named.id).or_insert(table_in);
            }
        }
        self.node_packs.insert(pack.id, Ok(()));
    }

    fn check_counts(&mut self) {
        let mut counts = HashMap::new();
        let mut wrong = Vec::new();
        for walked in &self.roots {
            let Ok(top) = walked.top else { continue };
            match self.count(top, &mut counts) {
                Some(blocks) => {
                    self.stats.present_blocks += blocks;
                    if blocks != walked.present_blocks {
                        wrong.push(walked.root.node_pack());
                    }
                }
                None => self.stats.present_blocks += walked.present_blocks,
            }
        }
        for id in wrong {
            self.blame_node_pack(id, "the leaves have another number of blocks than the root says");
        }
    }

    /// Blocks below a node; None where a damaged node hides them. Goes as deep as the tree, four levels.
    fn count(&self, node: NodeRef, counts: &mut HashMap<NodeRef, Option<u64>>) -> Option<u64> {
        match self.nodes.get(&node) {
            Some((_, Known::Leaf(blocks, _))) => Some(*blocks),
            Some((_, Known::Inner(children))) => {
                if let Some(count) = counts.get(&node) {
                    return *count;
                }
                let count = children.iter().map(|(_, child)| self.count(*child, counts)).sum();
                counts.insert(node, count);
                count
            }
            Some((_, Known::Bad(_))) | None => None,
        }
    }
}

/// From the object store, whatever a cache has.
async fn stored_node_pack(domain: &DomainInner, id: NodePackId) -> Result<NodePack> {
    let bytes = domain.store.objects.get(&domain.node_pack_path(id), NODE_PACK_BYTES_MAX).await?;
    NodePack::parse(&domain.keys, id, &bytes)
}

fn summary(node: &Node, map: &RelocationMap) -> Result<Known> {
    Ok(match node {
        Node::Inner(children) => Known::Inner(children.as_slice().into()),
        Node::Leaf(leaf) => {
            let leaf = map.translate(leaf)?;
            Known::Leaf(leaf.blocks(), slots_of(&leaf)?)
        }
    })
}

fn slots_of(leaf: &Leaf) -> Result<Box<[(PackId, u32)]>> {
    let mut slots: Vec<(PackId, u32)> = leaf.packs.iter().map(|pack| (pack.id, 0)).collect();
    for run in &leaf.runs {
        let pack = slots.get_mut(run.pack as usize);
        let (_, end) = pack.ok_or_else(|| Error::corrupt("read leaf: it names no such pack"))?;
        *end = (*end).max(run.slot + u32::from(run.len));
    }
    Ok(slots.into())
}
