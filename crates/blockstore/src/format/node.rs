//! Node packs: the radix tree's nodes of one commit. See docs/formats/node.md.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::cursor::{Cursor, put_varint, unzigzag, zigzag};
use super::pack::PackTable;
use super::seal::{Seal, Section, TAG_BYTES};
use super::trailer::{Kind, TRAILER_BYTES, Trailer};
use super::{
    BLOCK_BYTES_U64, Encoding, HEIGHT_MAX, Hash, LEAF_BLOCKS, LEAF_LOG2, NodePackId, PackId, SIZE_BYTES_MAX,
    compress, decompress,
};
use crate::error::{Error, Result};
use crate::keys::DomainKeys;

/// The largest node pack that is read. Writers close one at about 1 MiB.
pub(crate) const NODE_PACK_BYTES_MAX: u64 = 8 << 20;
/// A node before compression: a leaf of 1,024 runs at their longest stays below.
const NODE_PLAIN_MAX: usize = 64 << 10;

const NODE_PACK: [u8; 8] = *b"nodepack";
const NODE: [u8; 8] = *b"nodename";

/// Blocks one after another, in the volume and in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// First block, counted from the start of the leaf.
    pub(crate) start: u16,
    pub(crate) len: u16,
    /// Which of the leaf's packs.
    pub(crate) pack: u32,
    pub(crate) slot: u32,
}

/// A pack that a leaf names, and the node pack that repeats its frame table, if one is known to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PackRef {
    pub(crate) id: PackId,
    pub(crate) table_in: Option<NodePackId>,
}

/// 4 MiB of addresses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) packs: Vec<PackRef>,
    pub(crate) runs: Vec<Run>,
}

impl Leaf {
    pub(crate) fn blocks(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.len)).sum()
    }

    /// Appends a run, whose own pack number is not looked at; joins it with the one before where it can.
    pub(crate) fn push(&mut self, pack: PackRef, run: Run) {
        let position = self.packs.iter().position(|known| known.id == pack.id).unwrap_or_else(|| {
            self.packs.push(pack);
            self.packs.len() - 1
        });
        let pack = u32::try_from(position).expect("a leaf has at most 1,024 packs");
        match self.runs.last_mut() {
            Some(last)
                if last.pack == pack
                    && last.start + last.len == run.start
                    && last.slot + u32::from(last.len) == run.slot =>
            {
                last.len += run.len;
            }
            _ => self.runs.push(Run { pack, ..run }),
        }
    }

    pub(crate) fn pack(&self, run: &Run) -> Result<&PackRef> {
        self.packs.get(run.pack as usize).ok_or_else(|| Error::corrupt("read leaf: it names no such pack"))
    }
}

/// Names a node: which node pack, and the how-manieth in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeRef {
    pub(crate) pack: NodePackId,
    pub(crate) number: u32,
}

/// A decoded node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Leaf(Arc<Leaf>),
    /// Children in ascending order; absent ones have no blocks.
    Inner(Arc<Vec<(u8, NodeRef)>>),
}

/// What the last node pack of a commit says of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TreeHead {
    pub(crate) size_bytes: u64,
    /// Level of the root node; leaves are level 0.
    pub(crate) height: u8,
    pub(crate) present_blocks: u64,
}

#[derive(Debug, Clone, Copy)]
struct NodeEntry {
    offset: usize,
    sealed_bytes: usize,
    level: u8,
    encoding: Encoding,
    plain_bytes: usize,
    id: Hash,
}

/// An opened node pack: the directory is read, the nodes are sealed still.
#[derive(Debug)]
pub(crate) struct NodePack {
    pub(crate) id: NodePackId,
    pub(crate) head: Option<TreeHead>,
    salt: [u8; 32],
    seal: Seal,
    bytes: Bytes,
    nodes: Vec<NodeEntry>,
    node_packs: Vec<NodePackId>,
    packs: Vec<PackRef>,
    tables: HashMap<PackId, Arc<PackTable>>,
}

impl NodePack {
    pub(crate) fn parse(keys: &DomainKeys, id: NodePackId, bytes: &Bytes) -> Result<Self> {
        let (body, trailer) = bytes
            .split_last_chunk::<TRAILER_BYTES>()
            .ok_or_else(|| Error::corrupt("read node pack: it has no trailer"))?;
        let head = Trailer::parse(Kind::NodePack, trailer)?;
        let nodes_end = body
            .len()
            .checked_sub(head.directory_bytes as usize)
            .ok_or_else(|| Error::corrupt("read node pack: it is shorter than its directory"))?;
        let sealed = body.get(nodes_end..).unwrap_or_default();
        let seal = Seal::new(&keys.node_key(&head.salt), &keys.domain);
        let encoded = seal.open(Section::NodeDirectory, 0, &[], sealed.to_vec())?;
        let encoding = Encoding::from_bit(head.directory_is_compressed);
        let limit = usize::try_from(NODE_PACK_BYTES_MAX).unwrap_or(usize::MAX);
        let plain = decompress(encoding, encoded, limit.min(head.count as usize))?;
        if plain.len() != head.count as usize || NodePackId(keys.name(NODE_PACK, &[trailer, &plain])) != id {
            return Err(Error::corrupt("read node pack: its name does not match its directory"));
        }
        let mut pack = Self {
            id,
            head: None,
            salt: head.salt,
            seal,
            bytes: bytes.clone(),
            nodes: Vec::new(),
            node_packs: Vec::new(),
            packs: Vec::new(),
            tables: HashMap::new(),
        };
        pack.parse_directory(keys, &plain, nodes_end)?;
        Ok(pack)
    }

    /// What is left to check when the seals are open: the part that must be safe by itself.
    #[cfg(test)]
    pub(crate) fn parse_plain(keys: &DomainKeys, plain: &[u8], nodes: &[u8]) -> Result<Self> {
        let mut pack = Self {
            id: NodePackId([0; 32]),
            head: None,
            salt: [0; 32],
            seal: Seal::new(&[0; 32], &keys.domain),
            bytes: Bytes::copy_from_slice(nodes),
            nodes: Vec::new(),
            node_packs: Vec::new(),
            packs: Vec::new(),
            tables: HashMap::new(),
        };
        pack.parse_directory(keys, plain, nodes.len())?;
        Ok(pack)
    }

    #[cfg(test)]
    pub(crate) fn parse_plain_node(&self, level: u8, plain: &[u8]) -> Result<Node> {
        self.parse_node(level, plain)
    }

    fn parse_directory(&mut self, keys: &DomainKeys, plain: &[u8], nodes_end: usize) -> Result<()> {
        let mut cursor = Cursor::new(plain);
        self.head = parse_head(&mut cursor)?;
        for _ in 0..cursor.count(32)? {
            self.node_packs.push(NodePackId(cursor.array()?));
        }
        for _ in 0..cursor.count(33)? {
            self.parse_pack(keys, &mut cursor)?;
        }
        let mut offset = 0;
        for _ in 0..cursor.count(35)? {
            let node = parse_entry(&mut cursor, offset)?;
            offset += node.sealed_bytes;
            self.nodes.push(node);
        }
        cursor.finish()?;
        if offset != nodes_end {
            return Err(Error::corrupt("read node pack: its length does not match its directory"));
        }
        Ok(())
    }

    fn parse_pack(&mut self, keys: &DomainKeys, cursor: &mut Cursor<'_>) -> Result<()> {
        let id = PackId(cursor.array()?);
        let table_in = match cursor.varint_u32()? {
            0 => None,
            1 => {
                let table = PackTable::parse_copy(keys, cursor)?;
                if table.id != id {
                    return Err(Error::corrupt("read node pack: a frame table does not match its pack"));
                }
                self.tables.insert(id, Arc::new(table));
                Some(self.id)
            }
            other => Some(*get(&self.node_packs, other - 2)?),
        };
        self.packs.push(PackRef { id, table_in });
        Ok(())
    }

    /// The repeated frame table of a pack.
    pub(crate) fn table(&self, pack: PackId) -> Option<&Arc<PackTable>> {
        self.tables.get(&pack)
    }

    /// The last node, which is the root where there is a head.
    pub(crate) fn root(&self) -> Result<NodeRef> {
        let number = u32::try_from(self.nodes.len()).ok().and_then(|count| count.checked_sub(1));
        let number = number.ok_or_else(|| Error::corrupt("read node pack: it has no nodes"))?;
        Ok(NodeRef { pack: self.id, number })
    }

    /// The id of a node: equal ids are equal content, wherever they lie.
    pub(crate) fn node_id(&self, number: u32) -> Result<Hash> {
        get(&self.nodes, number).map(|entry| entry.id)
    }

    pub(crate) fn node(&self, keys: &DomainKeys, number: u32, level: u8) -> Result<Node> {
        let entry = get(&self.nodes, number)?;
        if entry.level != level {
            return Err(Error::corrupt("read node: it is of another level"));
        }
        let sealed = self.bytes.get(entry.offset..entry.offset + entry.sealed_bytes).unwrap_or_default();
        let encoded = self.seal.open(Section::Node, number, &[], sealed.to_vec())?;
        let plain = decompress(entry.encoding, encoded, entry.plain_bytes)?;
        if plain.len() != entry.plain_bytes {
            return Err(Error::corrupt("read node: it has the wrong length"));
        }
        let node = self.parse_node(level, &plain)?;
        if node_id(keys, level, &node, |reference| self.identity(reference)) != entry.id {
            return Err(Error::corrupt("read node: its id does not match its content"));
        }
        Ok(node)
    }

    /// The level of every node, by number.
    pub(crate) fn levels(&self) -> impl Iterator<Item = u8> {
        self.nodes.iter().map(|entry| entry.level)
    }

    /// The packs that leaves of this node pack may name.
    pub(crate) fn pack_refs(&self) -> &[PackRef] {
        &self.packs
    }

    /// A node of this pack is known by the pack's salt, because the pack's id is not known when
    /// the node is written.
    fn identity(&self, reference: &NodeRef) -> Hash {
        if reference.pack == self.id { self.salt } else { reference.pack.0 }
    }

    fn parse_node(&self, level: u8, plain: &[u8]) -> Result<Node> {
        let mut cursor = Cursor::new(plain);
        let node = match level {
            0 => Node::Leaf(Arc::new(self.parse_leaf(&mut cursor)?)),
            _ => Node::Inner(Arc::new(self.parse_inner(&mut cursor)?)),
        };
        cursor.finish()?;
        Ok(node)
    }

    fn parse_leaf(&self, cursor: &mut Cursor<'_>) -> Result<Leaf> {
        let mut leaf = Leaf::default();
        for _ in 0..cursor.count(1)? {
            leaf.packs.push(*get(&self.packs, cursor.varint_u32()?)?);
        }
        let mut expected = vec![0u32; leaf.packs.len()];
        let mut end = 0usize;
        for _ in 0..cursor.count(4)? {
            let start = end + cursor.varint_u32()? as usize;
            let len = cursor.varint_u32()? as usize + 1;
            end = start + len;
            if end > LEAF_BLOCKS {
                return Err(Error::corrupt("read leaf: a run ends beyond it"));
            }
            let pack = cursor.varint_u32()?;
            let next = expected
                .get_mut(pack as usize)
                .ok_or_else(|| Error::corrupt("read leaf: it names no such pack"))?;
            let slot = i64::from(*next).checked_add(unzigzag(cursor.varint()?));
            let len = u16::try_from(len).map_err(|_| Error::corrupt("read leaf: a run is too long"))?;
            let slot = slot.and_then(|slot| u32::try_from(slot).ok());
            let bounds = slot.and_then(|slot| Some((slot, slot.checked_add(u32::from(len))?)));
            let (slot, after) = bounds.ok_or_else(|| Error::corrupt("read leaf: a slot is out of range"))?;
            *next = after;
            let start =
                u16::try_from(start).map_err(|_| Error::corrupt("read leaf: a run starts beyond it"))?;
            leaf.runs.push(Run { start, len, pack, slot });
        }
        Ok(leaf)
    }

    fn parse_inner(&self, cursor: &mut Cursor<'_>) -> Result<Vec<(u8, NodeRef)>> {
        let mut children = Vec::new();
        let (mut next_index, mut next_number) = (0u64, 0i64);
        for _ in 0..cursor.count(3)? {
            let index = next_index.checked_add(cursor.varint()?).and_then(|index| u8::try_from(index).ok());
            let index = index.ok_or_else(|| Error::corrupt("read inner node: a child is out of range"))?;
            next_index = u64::from(index) + 1;
            let pack = match cursor.varint_u32()? {
                0 => self.id,
                other => *get(&self.node_packs, other - 1)?,
            };
            let number = next_number.checked_add(unzigzag(cursor.varint()?));
            let number = number.and_then(|number| u32::try_from(number).ok());
            let number = number.ok_or_else(|| Error::corrupt("read inner node: a number is out of range"))?;
            next_number = i64::from(number) + 1;
            children.push((index, NodeRef { pack, number }));
        }
        Ok(children)
    }

    /// Bytes that this holds in memory, nearly.
    pub(crate) fn weight(&self) -> u64 {
        let tables: usize =
            self.tables.values().map(|table| table.copy_bytes() + table.frames.len() * 32).sum();
        (self.bytes.len() + self.nodes.len() * 80 + self.packs.len() * 72 + tables + 256) as u64
    }
}

fn get<T>(items: &[T], index: u32) -> Result<&T> {
    items.get(index as usize).ok_or_else(|| Error::corrupt("read node pack: an index is out of range"))
}

fn parse_head(cursor: &mut Cursor<'_>) -> Result<Option<TreeHead>> {
    if cursor.u8()? == 0 {
        return Ok(None);
    }
    let (size_bytes, height, present_blocks) = (cursor.varint()?, cursor.u8()?, cursor.varint()?);
    let is_possible = size_bytes <= SIZE_BYTES_MAX
        && size_bytes.is_multiple_of(BLOCK_BYTES_U64)
        && height <= HEIGHT_MAX
        && present_blocks <= size_bytes / BLOCK_BYTES_U64;
    if !is_possible {
        return Err(Error::corrupt("read node pack: the tree's head is impossible"));
    }
    Ok(Some(TreeHead { size_bytes, height, present_blocks }))
}

fn parse_entry(cursor: &mut Cursor<'_>, offset: usize) -> Result<NodeEntry> {
    let word = cursor.u8()?;
    let (level, encoding) = (word >> 1, Encoding::from_bit(word & 1 == 1));
    let (sealed_bytes, plain_bytes) = (cursor.varint_u32()? as usize, cursor.varint_u32()? as usize);
    let bound = NODE_PLAIN_MAX + TAG_BYTES;
    if level > HEIGHT_MAX || !(TAG_BYTES..=bound).contains(&sealed_bytes) || plain_bytes > NODE_PLAIN_MAX {
        return Err(Error::corrupt("read node pack: a node's entry is impossible"));
    }
    Ok(NodeEntry { offset, sealed_bytes, level, encoding, plain_bytes, id: cursor.array()? })
}

/// The id of a node's content, with every name spelled out, so that it does not depend on where
/// the node lies.
fn node_id(keys: &DomainKeys, level: u8, node: &Node, identity: impl Fn(&NodeRef) -> Hash) -> Hash {
    let mut content = Vec::new();
    match node {
        Node::Leaf(leaf) => {
            for run in &leaf.runs {
                content.extend(run.start.to_le_bytes());
                content.extend(run.len.to_le_bytes());
                content.extend(leaf.packs.get(run.pack as usize).map_or([0; 32], |pack| pack.id.0));
                content.extend(run.slot.to_le_bytes());
            }
        }
        Node::Inner(children) => {
            for (index, child) in children.iter() {
                content.push(*index);
                content.extend(identity(child));
                content.extend(child.number.to_le_bytes());
            }
        }
    }
    keys.name(NODE, &[&[level], &content])
}

/// A child of a node being written: it may lie in the node pack that is being written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildRef {
    Here(u32),
    There(NodeRef),
}

/// A node pack being filled.
#[derive(Debug)]
pub(crate) struct NodePackBuilder {
    epoch: u64,
    salt: [u8; 32],
    seal: Seal,
    body: Vec<u8>,
    entries: Vec<u8>,
    nodes: u32,
    node_packs: Vec<NodePackId>,
    node_pack_index: HashMap<NodePackId, u32>,
    packs: Vec<u8>,
    pack_index: HashMap<PackId, u32>,
}

impl NodePackBuilder {
    /// `salt` must be fresh and random.
    pub(crate) fn new(keys: &DomainKeys, salt: [u8; 32]) -> Self {
        Self {
            epoch: 0,
            salt,
            seal: Seal::new(&keys.node_key(&salt), &keys.domain),
            body: Vec::new(),
            entries: Vec::new(),
            nodes: 0,
            node_packs: Vec::new(),
            node_pack_index: HashMap::new(),
            packs: Vec::new(),
            pack_index: HashMap::new(),
        }
    }

    /// Notes the collection epoch that the writer knows.
    pub(crate) fn at_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.nodes == 0
    }

    /// Bytes of the object if it ended now, nearly.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + self.entries.len() + self.packs.len() + self.node_packs.len() * 32
    }

    fn node_pack(&mut self, id: NodePackId) -> u32 {
        let next = u32::try_from(self.node_packs.len()).expect("a node pack names fewer than 2^32 others");
        *self.node_pack_index.entry(id).or_insert_with(|| {
            self.node_packs.push(id);
            next
        })
    }

    pub(crate) fn knows_pack(&self, id: PackId) -> bool {
        self.pack_index.contains_key(&id)
    }

    /// Lets the leaves of this node pack name a pack. `table` is repeated here where no other
    /// node pack is known to do so.
    pub(crate) fn add_pack(&mut self, pack: &PackRef, table: Option<&PackTable>) {
        let next = u32::try_from(self.pack_index.len()).expect("a node pack names fewer than 2^32 packs");
        let source = pack.table_in.map(|node_pack| self.node_pack(node_pack));
        if self.pack_index.insert(pack.id, next).is_some() {
            return;
        }
        self.packs.extend(pack.id.0);
        match (source, table) {
            (Some(index), _) => put_varint(&mut self.packs, u64::from(index) + 2),
            (None, Some(table)) => {
                put_varint(&mut self.packs, 1);
                table.put_copy(&mut self.packs);
            }
            (None, None) => put_varint(&mut self.packs, 0),
        }
    }

    /// Appends a leaf, all of whose packs were added. Gives its number.
    pub(crate) fn push_leaf(&mut self, keys: &DomainKeys, leaf: Leaf) -> u32 {
        let mut plain = Vec::new();
        put_varint(&mut plain, leaf.packs.len() as u64);
        for pack in &leaf.packs {
            let index = self.pack_index.get(&pack.id).expect("a leaf's packs are added before it");
            put_varint(&mut plain, u64::from(*index));
        }
        put_varint(&mut plain, leaf.runs.len() as u64);
        let mut expected = vec![0i64; leaf.packs.len()];
        let mut end = 0;
        for run in &leaf.runs {
            put_varint(&mut plain, u64::from(run.start - end));
            put_varint(&mut plain, u64::from(run.len - 1));
            put_varint(&mut plain, u64::from(run.pack));
            let next = expected.get_mut(run.pack as usize).expect("a run names one of the leaf's packs");
            put_varint(&mut plain, zigzag(i64::from(run.slot) - *next));
            *next = i64::from(run.slot) + i64::from(run.len);
            end = run.start + run.len;
        }
        let id = node_id(keys, 0, &Node::Leaf(Arc::new(leaf)), |_| [0; 32]);
        self.push(0, &plain, id)
    }

    /// Appends an inner node. Gives its number.
    pub(crate) fn push_inner(&mut self, keys: &DomainKeys, level: u8, children: &[(u8, ChildRef)]) -> u32 {
        let mut plain = Vec::new();
        put_varint(&mut plain, children.len() as u64);
        let (mut next_index, mut next_number) = (0u64, 0i64);
        let here = NodePackId(self.salt);
        let mut resolved = Vec::with_capacity(children.len());
        for (index, child) in children {
            put_varint(&mut plain, u64::from(*index) - next_index);
            next_index = u64::from(*index) + 1;
            let reference = match child {
                ChildRef::Here(number) => {
                    put_varint(&mut plain, 0);
                    NodeRef { pack: here, number: *number }
                }
                ChildRef::There(reference) => {
                    let index = self.node_pack(reference.pack);
                    put_varint(&mut plain, u64::from(index) + 1);
                    *reference
                }
            };
            put_varint(&mut plain, zigzag(i64::from(reference.number) - next_number));
            next_number = i64::from(reference.number) + 1;
            resolved.push((*index, reference));
        }
        let id = node_id(keys, level, &Node::Inner(Arc::new(resolved)), |reference| reference.pack.0);
        self.push(level, &plain, id)
    }

    fn push(&mut self, level: u8, plain: &[u8], id: Hash) -> u32 {
        let number = self.nodes;
        let plain_bytes = plain.len();
        let (encoding, encoded) = compress(plain);
        let sealed = self.seal.seal(Section::Node, number, &[], encoded);
        self.entries.push(level << 1 | encoding.bit());
        put_varint(&mut self.entries, sealed.len() as u64);
        put_varint(&mut self.entries, plain_bytes as u64);
        self.entries.extend(id);
        self.body.extend(sealed);
        self.nodes += 1;
        number
    }

    pub(crate) fn build(mut self, keys: &DomainKeys, head: Option<&TreeHead>) -> (NodePackId, Bytes) {
        let mut plain = Vec::new();
        plain.push(u8::from(head.is_some()));
        if let Some(head) = head {
            put_varint(&mut plain, head.size_bytes);
            plain.push(head.height);
            put_varint(&mut plain, head.present_blocks);
        }
        put_varint(&mut plain, self.node_packs.len() as u64);
        plain.extend(self.node_packs.iter().flat_map(|id| id.0));
        put_varint(&mut plain, self.pack_index.len() as u64);
        plain.extend(&self.packs);
        put_varint(&mut plain, u64::from(self.nodes));
        plain.extend(&self.entries);
        let (encoding, encoded) = compress(&plain);
        let trailer = Trailer {
            kind: Kind::NodePack,
            salt: self.salt,
            epoch: self.epoch,
            directory_bytes: u32::try_from(encoded.len() + TAG_BYTES).expect("a directory is below 4 GiB"),
            count: u32::try_from(plain.len()).expect("a directory is below 4 GiB"),
            unit_log2: LEAF_LOG2,
            directory_is_compressed: encoding == Encoding::Zstd,
        }
        .encode();
        let id = NodePackId(keys.name(NODE_PACK, &[&trailer, &plain]));
        self.body.extend(self.seal.seal(Section::NodeDirectory, 0, &[], encoded));
        self.body.extend(trailer);
        (id, self.body.into())
    }
}
