//! The last part of a commit: leaves, then the inner nodes above them, the root last of all.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::nodes::Placed;
use super::packer::At;
use super::{Change, EditRun, Writer};
use crate::error::{Error, Result};
use crate::format::node::{Leaf, NodeRef, Run, TreeHead};
use crate::format::{FANOUT_LOG2, LEAF_BLOCKS};
use crate::root::Root;
use crate::tree::{Tree, digit};

impl Writer {
    /// Stores every touched leaf that is not as in the base.
    pub(super) async fn store_leaves(&mut self) -> Result<()> {
        self.packer.flush(&mut self.names, &mut self.stats).await?;
        self.edit_bytes = 0;
        while let Some((index, runs)) = self.edits.pop_first() {
            let old = match self.base_leaf(index).await? {
                Some(reference) => Some(self.domain.leaf(reference).await?),
                None => None,
            };
            let blocks_in_base = old.as_ref().map_or(0, |leaf| leaf.blocks());
            let (leaf, packs) = self.resolve(&runs);
            if old.as_ref().map_or(leaf.runs.is_empty(), |old| is_same(old, &leaf)) {
                self.changes.remove(&index);
                continue;
            }
            let blocks = leaf.blocks();
            let leaf = if leaf.runs.is_empty() {
                None
            } else {
                Some(self.nodes.push_leaf(leaf, &packs, &mut self.names, &mut self.stats).await?)
            };
            self.changes.insert(index, Change { leaf, blocks, blocks_in_base });
        }
        Ok(())
    }

    /// The leaf with real packs, and the writer's numbers for them. Everything is flushed.
    fn resolve(&self, runs: &[EditRun]) -> (Leaf, Vec<u32>) {
        let mut leaf = Leaf::default();
        let mut packs = Vec::new();
        for run in runs {
            let (mut start, mut left, mut at) = (run.start, run.len, run.at);
            while left > 0 {
                let (pack, slot, here) = match at {
                    At::Stored { pack, slot } => (pack, slot, u64::from(left)),
                    At::New(ordinal) => self.packer.resolve(ordinal),
                };
                let len = u16::try_from(here).unwrap_or(u16::MAX).min(left);
                push_run(&mut leaf, &mut packs, Run { start, len, pack, slot });
                start += len;
                left -= len;
                at = at.after(u32::from(len));
            }
        }
        leaf.packs = packs.iter().map(|number| self.names.get(*number).0).collect();
        (leaf, packs)
    }

    /// Stores the inner nodes above the changed leaves.
    pub(super) async fn store_tree(&mut self, height: u8) -> Result<Root> {
        let base = self.base.clone();
        let is_grown = base.as_ref().is_some_and(|(root, _)| root.size_bytes() != self.size_bytes);
        match base {
            Some((root, _)) if self.changes.is_empty() && !is_grown => return Ok(root),
            _ => {}
        }
        let head = TreeHead { size_bytes: self.size_bytes, height, present_blocks: self.present_blocks()? };
        let mut changed: BTreeMap<u32, Option<Placed>> =
            self.changes.iter().map(|(index, change)| (*index, change.leaf)).collect();
        for level in 1..=height {
            changed = self.store_level(level, level == height, &changed).await?;
        }
        if height == 0 {
            self.store_root_leaf(changed.get(&0)).await?;
        }
        let id = self.nodes.close(Some(&head), &mut self.names, &mut self.stats).await?;
        let id = id.ok_or_else(|| Error::invalid("commit a tree without a root"))?;
        Ok(Root::new(&self.domain.keys.domain, id, self.size_bytes))
    }

    fn present_blocks(&self) -> Result<u64> {
        let mut present = self.base.as_ref().map_or(0, |(_, tree)| tree.head.present_blocks);
        for change in self.changes.values() {
            let left = present + change.blocks;
            present = left
                .checked_sub(change.blocks_in_base)
                .ok_or_else(|| Error::corrupt("count blocks: the base has fewer than its leaves"))?;
        }
        Ok(present)
    }

    /// From the changed nodes of one level to those of the next.
    async fn store_level(
        &mut self,
        level: u8,
        is_top: bool,
        changed: &BTreeMap<u32, Option<Placed>>,
    ) -> Result<BTreeMap<u32, Option<Placed>>> {
        let mut parents: BTreeMap<u32, BTreeMap<u8, Option<Placed>>> = BTreeMap::new();
        for (index, node) in changed {
            parents.entry(index >> FANOUT_LOG2).or_default().insert(digit(*index, 1), *node);
        }
        // A root is always written anew; and above the base's root there is nothing to keep.
        if is_top || self.base.as_ref().is_some_and(|(_, tree)| level > tree.head.height) {
            parents.entry(0).or_default();
        }
        let mut done = BTreeMap::new();
        for (index, changed) in parents {
            let mut children = self.base_children(level, index).await?;
            for (digit, child) in changed {
                match child {
                    Some(child) => children.insert(digit, child),
                    None => children.remove(&digit),
                };
            }
            let children: Vec<(u8, Placed)> = children.into_iter().collect();
            let node = if children.is_empty() && !is_top {
                None
            } else {
                Some(self.nodes.push_inner(level, &children, &mut self.names, &mut self.stats).await?)
            };
            done.insert(index, node);
        }
        Ok(done)
    }

    /// The children that a node of the new tree has in the base.
    async fn base_children(&self, level: u8, index: u32) -> Result<BTreeMap<u8, Placed>> {
        let Some((_, tree)) = &self.base else { return Ok(BTreeMap::new()) };
        if tree.head.present_blocks == 0 || (level > tree.head.height && index > 0) {
            return Ok(BTreeMap::new());
        }
        if level > tree.head.height {
            let is_next = level == tree.head.height + 1;
            return Ok(is_next.then_some((0, Placed::Stored(tree.root))).into_iter().collect());
        }
        let Some(node) = self.base_node(tree, level, index).await? else { return Ok(BTreeMap::new()) };
        let children = self.domain.children(node, level).await?;
        Ok(children.iter().map(|(digit, child)| (*digit, Placed::Stored(*child))).collect())
    }

    /// A node at or below the base's root.
    async fn base_node(&self, tree: &Tree, level: u8, index: u32) -> Result<Option<NodeRef>> {
        if index >> (FANOUT_LOG2 * u32::from(tree.head.height - level)) > 0 {
            return Ok(None);
        }
        let mut node = tree.root;
        for above in (level + 1..=tree.head.height).rev() {
            let wanted = digit(index, above - level);
            let children = self.domain.children(node, above).await?;
            match children.iter().find(|(digit, _)| *digit == wanted) {
                Some((_, child)) => node = *child,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// The only leaf of a small volume is its root, and must come last.
    async fn store_root_leaf(&mut self, changed: Option<&Option<Placed>>) -> Result<()> {
        let stored = match changed {
            Some(None) => None,
            Some(Some(placed)) => match self.nodes.stored(*placed) {
                None => return Ok(()),
                Some(stored) => Some(stored),
            },
            None => self.base_leaf(0).await?,
        };
        let mut blocks = vec![None; LEAF_BLOCKS];
        if let Some(stored) = stored {
            self.load_leaf(stored, &mut blocks).await?;
        }
        let (leaf, packs) = self.resolve(&super::gather(&blocks));
        self.nodes.push_leaf(leaf, &packs, &mut self.names, &mut self.stats).await?;
        Ok(())
    }
}

/// Appends a run whose pack is the writer's number; joins it with the one before where it can.
fn push_run(leaf: &mut Leaf, packs: &mut Vec<u32>, run: Run) {
    let position = packs.iter().position(|number| *number == run.pack).unwrap_or_else(|| {
        packs.push(run.pack);
        packs.len() - 1
    });
    let pack = u32::try_from(position).expect("a leaf has at most 1,024 packs");
    match leaf.runs.last_mut() {
        Some(last)
            if last.pack == pack
                && last.start + last.len == run.start
                && last.slot + u32::from(last.len) == run.slot =>
        {
            last.len += run.len;
        }
        _ => leaf.runs.push(Run { pack, ..run }),
    }
}

/// Whether two leaves have every block in the same place. Both have their longest runs.
fn is_same(a: &Arc<Leaf>, b: &Leaf) -> bool {
    let place = |leaf: &Leaf, run: &Run| {
        (run.start, run.len, run.slot, leaf.packs.get(run.pack as usize).map(|pack| pack.id))
    };
    a.runs.len() == b.runs.len() && a.runs.iter().zip(&b.runs).all(|(x, y)| place(a, x) == place(b, y))
}
