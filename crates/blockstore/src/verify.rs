//! Reads everything that a root needs, from the object store and not from caches, and checks all
//! of it: names, seals, lengths, and every block against its id.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::domain::{Domain, DomainInner};
use crate::error::{Error, Result};
use crate::format::node::{NODE_PACK_BYTES_MAX, Node, NodePack, NodeRef};
use crate::format::pack::{Directory, PACK_BYTES_MAX};
use crate::format::{BLOCK_BYTES, NodePackId, PackId};
use crate::root::Root;

/// What was found whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifyStats {
    pub packs: u64,
    pub pack_bytes: u64,
    pub node_packs: u64,
    pub nodes: u64,
    pub present_blocks: u64,
}

impl Domain {
    /// `Corrupt` where any byte that the root needs is damaged or missing.
    pub async fn verify(&self, root: &Root) -> Result<VerifyStats> {
        let _lease = self.inner.ledger.lease(Some(root));
        self.inner.tree(root).await?;
        let mut check =
            Check { domain: &self.inner, stats: VerifyStats::default(), node_packs: HashMap::new() };
        let root_pack = check.node_pack(root.node_pack()).await?;
        let head = root_pack.head.ok_or_else(|| Error::corrupt("verify: the root has lost its head"))?;
        let slots = check.walk(root_pack.root()?, head.height).await?;
        if check.stats.present_blocks != head.present_blocks {
            return Err(Error::corrupt(
                "verify: the leaves have another number of blocks than the root says",
            ));
        }
        for (pack, slots) in slots {
            check.pack(pack, slots).await?;
        }
        Ok(check.stats)
    }
}

struct Check<'a> {
    domain: &'a DomainInner,
    stats: VerifyStats,
    node_packs: HashMap<NodePackId, Arc<NodePack>>,
}

impl Check<'_> {
    async fn node_pack(&mut self, id: NodePackId) -> Result<Arc<NodePack>> {
        if let Some(pack) = self.node_packs.get(&id) {
            return Ok(Arc::clone(pack));
        }
        let got = self.domain.store.objects.get(&self.domain.node_pack_path(id), NODE_PACK_BYTES_MAX).await;
        let bytes = got.map_err(Error::missing_is_corrupt)?;
        let pack = Arc::new(NodePack::parse(&self.domain.keys, id, &bytes)?);
        pack.verify(&self.domain.keys)?;
        self.stats.node_packs += 1;
        self.node_packs.insert(id, Arc::clone(&pack));
        Ok(pack)
    }

    /// Visits every node; gives how many slots each pack must have.
    async fn walk(&mut self, root: NodeRef, height: u8) -> Result<BTreeMap<PackId, u32>> {
        let mut slots = BTreeMap::new();
        let mut open = vec![(root, height)];
        while let Some((reference, level)) = open.pop() {
            let pack = self.node_pack(reference.pack).await?;
            self.stats.nodes += 1;
            match pack.node(&self.domain.keys, reference.number, level)? {
                Node::Inner(children) => open.extend(children.iter().map(|(_, child)| (*child, level - 1))),
                Node::Leaf(leaf) => {
                    self.stats.present_blocks += leaf.blocks();
                    for run in &leaf.runs {
                        let end = slots.entry(leaf.pack(run)?.id).or_insert(0);
                        *end = u32::max(*end, run.slot + u32::from(run.len));
                    }
                }
            }
        }
        Ok(slots)
    }

    async fn pack(&mut self, id: PackId, slots: u32) -> Result<()> {
        let got = self.domain.store.objects.get(&self.domain.pack_path(id), PACK_BYTES_MAX).await;
        let bytes = got.map_err(Error::missing_is_corrupt)?;
        let size = bytes.len() as u64;
        let trailer = bytes.last_chunk().ok_or_else(|| Error::corrupt("verify: a pack has no trailer"))?;
        let tail = Directory::tail_bytes(trailer, size)?;
        let tail = usize::try_from(size - tail).ok().and_then(|start| bytes.get(start..));
        let directory = Directory::parse(&self.domain.keys, id, tail.unwrap_or_default(), size)?;
        if directory.table.slots < slots {
            return Err(Error::corrupt("verify: a leaf names a slot that its pack does not have"));
        }
        let mut ids = directory.ids.iter();
        for (number, frame) in (0..).zip(&directory.table.frames) {
            let range = usize::try_from(frame.offset).ok().zip(usize::try_from(frame.end()).ok());
            let sealed = range.and_then(|(start, end)| bytes.get(start..end)).unwrap_or_default();
            let blocks = directory.table.open_frame(number, sealed.to_vec())?;
            for block in blocks.chunks_exact(BLOCK_BYTES) {
                if ids.next() != Some(&self.domain.keys.block_id(block)) {
                    return Err(Error::corrupt("verify: a block does not match its id"));
                }
            }
        }
        self.stats.packs += 1;
        self.stats.pack_bytes += size;
        Ok(())
    }
}
