//! From what is damaged in the store to the bytes of each root that are lost with it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::{BadRange, Known, Verification, VerifyReport, Walked, stored_node_pack};
use crate::format::node::{Node, NodePack, NodeRef};
use crate::format::{BLOCK_BYTES_U64, FANOUT_LOG2, LEAF_BYTES, NodePackId};

/// Blocks of a leaf, and the object to blame.
type BadBlocks = Vec<(Range<u64>, usize)>;

impl Verification {
    /// Ends the verification. Where all is well this costs nothing; else the leaves that name
    /// damaged packs are read again.
    pub async fn report(mut self) -> VerifyReport {
        let mut roots = vec![Vec::new(); self.roots.len()];
        if !self.objects.is_empty() {
            let leaves = self.bad_leaves().await;
            for (ranges, walked) in roots.iter_mut().zip(&self.roots) {
                *ranges = self.ranges(walked, &leaves);
            }
        }
        VerifyReport { stats: self.stats, objects: std::mem::take(&mut self.objects), roots }
    }

    /// The leaves that name slots which cannot be read.
    async fn bad_leaves(&self) -> HashMap<NodeRef, BadBlocks> {
        let mut wanted: BTreeMap<NodePackId, Vec<NodeRef>> = BTreeMap::new();
        for (node, (_, known)) in &self.nodes {
            if let Known::Leaf(_, packs) = known
                && packs.iter().any(|(pack, _)| self.bad_packs.contains_key(pack))
            {
                wanted.entry(node.pack).or_default().push(*node);
            }
        }
        let mut found = HashMap::new();
        for (id, nodes) in wanted {
            // It was whole a moment ago: what cannot be read now is lost with the packs it names.
            let pack = stored_node_pack(&self.domain, id).await.ok();
            for node in nodes {
                let blocks = pack.as_ref().and_then(|pack| self.bad_blocks(pack, node));
                found.insert(node, blocks.unwrap_or_else(|| vec![(0..LEAF_BYTES / BLOCK_BYTES_U64, 0)]));
            }
        }
        found
    }

    fn bad_blocks(&self, pack: &NodePack, node: NodeRef) -> Option<BadBlocks> {
        let Node::Leaf(leaf) = pack.node(&self.domain.keys, node.number, 0).ok()? else { return None };
        let leaf = self.map.translate(&leaf).ok()?;
        let mut found = Vec::new();
        for run in &leaf.runs {
            let Some((object, bad)) = self.bad_packs.get(&leaf.pack(run).ok()?.id) else { continue };
            let first = bad.partition_point(|slots| slots.end <= run.slot);
            let end = run.slot + u32::from(run.len);
            for slots in bad.iter().skip(first).take_while(|slots| slots.start < end) {
                let from = slots.start.max(run.slot) - run.slot;
                let to = slots.end.min(end) - run.slot;
                let start = u64::from(run.start);
                found.push((start + u64::from(from)..start + u64::from(to), *object));
            }
        }
        Some(found)
    }

    fn ranges(&self, walked: &Walked, leaves: &HashMap<NodeRef, BadBlocks>) -> Vec<BadRange> {
        let size_bytes = walked.root.size_bytes();
        let mut ranges = Vec::new();
        let mut push = |offset_bytes: u64, len_bytes: u64, object: usize| {
            let len_bytes = len_bytes.min(size_bytes.saturating_sub(offset_bytes));
            if len_bytes > 0 {
                ranges.push(BadRange { offset_bytes, len_bytes, object });
            }
        };
        let mut open = Vec::new();
        match walked.top {
            Ok(top) => open.push((top, walked.height, 0u64)),
            Err(object) => push(0, size_bytes, object),
        }
        while let Some((node, level, index)) = open.pop() {
            let span = LEAF_BYTES << (FANOUT_LOG2 * u32::from(level));
            match self.nodes.get(&node) {
                Some((_, Known::Inner(children))) => {
                    let child = |(digit, child): &(u8, NodeRef)| {
                        (*child, level - 1, index << FANOUT_LOG2 | u64::from(*digit))
                    };
                    open.extend(children.iter().map(child));
                }
                Some((_, Known::Leaf(..))) => {
                    for (blocks, object) in leaves.get(&node).into_iter().flatten() {
                        let len = (blocks.end - blocks.start) * BLOCK_BYTES_U64;
                        push(index * LEAF_BYTES + blocks.start * BLOCK_BYTES_U64, len, *object);
                    }
                }
                Some((_, Known::Bad(object))) => push(index * span, span, *object),
                None => {}
            }
        }
        coalesced(ranges)
    }
}

fn coalesced(mut ranges: Vec<BadRange>) -> Vec<BadRange> {
    ranges.sort_unstable_by_key(|range| range.offset_bytes);
    let mut joined: Vec<BadRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last)
                if last.object == range.object
                    && last.offset_bytes + last.len_bytes == range.offset_bytes =>
            {
                last.len_bytes += range.len_bytes;
            }
            _ => joined.push(range),
        }
    }
    joined
}
