//! Walks over the radix tree. Only unequal nodes and nodes in range are ever read.

use crate::domain::DomainInner;
use crate::error::{Error, Result};
use crate::format::node::{NodeRef, TreeHead};
use crate::format::{FANOUT_LOG2, LEAF_BYTES};
use crate::root::Root;

/// A root that was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) root: NodeRef,
    pub(crate) head: TreeHead,
}

/// Level of the root over this many bytes of addresses.
pub(crate) fn height_for(size_bytes: u64) -> u8 {
    let leaves = size_bytes.div_ceil(LEAF_BYTES);
    let mut height = 0;
    while leaves > 1 << (FANOUT_LOG2 * u32::from(height)) {
        height += 1;
    }
    height
}

/// Which child of a node of `level` leads to a leaf.
pub(crate) fn digit(leaf: u32, level: u8) -> u8 {
    let shift = FANOUT_LOG2 * u32::from(level.saturating_sub(1));
    (leaf.checked_shr(shift).unwrap_or(0) & 0xff).to_le_bytes()[0]
}

/// One side of a walk over two trees at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Absent,
    Node(NodeRef),
    /// A node above this tree's root, whose only child is the first: the other tree is higher.
    Above(Tree),
}

/// A leaf position where two trees differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafDifference {
    pub(crate) index: u32,
    pub(crate) a: Option<NodeRef>,
    pub(crate) b: Option<NodeRef>,
}

/// Walks two trees and yields the leaves that differ, in address order.
#[derive(Debug)]
pub(crate) struct Differences<'a> {
    domain: &'a DomainInner,
    from: u32,
    /// Next on top: level, index among nodes of that level, both sides.
    stack: Vec<(u8, u32, Side, Side)>,
}

impl DomainInner {
    pub(crate) async fn tree(&self, root: &Root) -> Result<Tree> {
        if root.domain() != self.keys.domain {
            return Err(Error::invalid("open root: it belongs to another domain"));
        }
        let pack = self.node_pack(root.node_pack()).await?;
        let head = pack.head.ok_or_else(|| Error::invalid("open root: its id does not name a root"))?;
        if head.size_bytes != root.size_bytes() {
            return Err(Error::invalid("open root: its size is not the tree's"));
        }
        if head.height != height_for(head.size_bytes) {
            return Err(Error::corrupt("open root: its height does not fit its size"));
        }
        Ok(Tree { root: pack.root()?, head })
    }

    /// The leaf of this index, counted in 4 MiB from the start of the volume.
    pub(crate) async fn leaf_ref(&self, tree: &Tree, leaf: u32) -> Result<Option<NodeRef>> {
        Ok(self.next_leaf(tree, leaf).await?.filter(|(index, _)| *index == leaf).map(|(_, node)| node))
    }

    /// The first leaf that has blocks, at or after an index.
    pub(crate) async fn next_leaf(&self, tree: &Tree, from: u32) -> Result<Option<(u32, NodeRef)>> {
        let mut from = u64::from(from);
        loop {
            if from >> (FANOUT_LOG2 * u32::from(tree.head.height)) != 0 {
                return Ok(None);
            }
            match self.descend(tree, from).await? {
                Ok((index, leaf)) => return Ok(Some((index, leaf))),
                Err(next) => from = next,
            }
        }
    }

    /// Goes down once; where a subtree has nothing at or after `from`, gives where to go on.
    async fn descend(&self, tree: &Tree, mut from: u64) -> Result<Result<(u32, NodeRef), u64>> {
        let mut node = tree.root;
        for level in (1..=tree.head.height).rev() {
            let shift = FANOUT_LOG2 * u32::from(level - 1);
            let wanted = from >> shift & 0xff;
            let children = self.children(node, level).await?;
            let position = children.partition_point(|(index, _)| u64::from(*index) < wanted);
            let Some((index, child)) = children.get(position) else {
                let above = shift + FANOUT_LOG2;
                return Ok(Err(((from >> above) + 1) << above));
            };
            if u64::from(*index) > wanted {
                from = (from >> (shift + FANOUT_LOG2) << FANOUT_LOG2 | u64::from(*index)) << shift;
            }
            node = *child;
        }
        let index = u32::try_from(from).map_err(|_| Error::corrupt("walk a tree: it is too high"))?;
        Ok(Ok((index, node)))
    }

    /// The leaves at or after `from` where two trees of this domain differ. None is no blocks.
    pub(crate) fn differences(&self, a: Option<Tree>, b: Option<Tree>, from: u32) -> Differences<'_> {
        let top = [a, b].into_iter().flatten().map(|tree| tree.head.height).max().unwrap_or(0);
        let side = |tree: Option<Tree>| match tree {
            None => Side::Absent,
            Some(tree) if tree.head.height == top => Side::Node(tree.root),
            Some(tree) => Side::Above(tree),
        };
        Differences { domain: self, from, stack: vec![(top, 0, side(a), side(b))] }
    }
}

impl Differences<'_> {
    pub(crate) async fn next(&mut self) -> Result<Option<LeafDifference>> {
        while let Some((level, index, a, b)) = self.stack.pop() {
            let end = (u64::from(index) + 1) << (FANOUT_LOG2 * u32::from(level));
            if end <= u64::from(self.from) || self.is_equal(a, b).await? {
                continue;
            }
            if level == 0 {
                let leaf = |side| match side {
                    Side::Node(node) => Some(node),
                    Side::Absent | Side::Above(_) => None,
                };
                return Ok(Some(LeafDifference { index, a: leaf(a), b: leaf(b) }));
            }
            self.push_children(level, index, a, b).await?;
        }
        Ok(None)
    }

    async fn is_equal(&self, a: Side, b: Side) -> Result<bool> {
        if a == b {
            return Ok(true);
        }
        let (Side::Node(a), Side::Node(b)) = (a, b) else { return Ok(false) };
        let id = async |node: NodeRef| {
            let pack = self.domain.node_pack(node.pack).await.map_err(Error::missing_is_corrupt)?;
            pack.node_id(node.number)
        };
        Ok(id(a).await? == id(b).await?)
    }

    async fn push_children(&mut self, level: u8, index: u32, a: Side, b: Side) -> Result<()> {
        let (a, b) = (self.expand(a, level).await?, self.expand(b, level).await?);
        let (mut a, mut b) = (a.into_iter().rev().peekable(), b.into_iter().rev().peekable());
        loop {
            let child = match (a.peek(), b.peek()) {
                (None, None) => return Ok(()),
                (Some((child, _)), None) | (None, Some((child, _))) => *child,
                (Some((x, _)), Some((y, _))) => *x.max(y),
            };
            let side_a = a.next_if(|(index, _)| *index == child).map_or(Side::Absent, |(_, side)| side);
            let side_b = b.next_if(|(index, _)| *index == child).map_or(Side::Absent, |(_, side)| side);
            self.stack.push((level - 1, index << FANOUT_LOG2 | u32::from(child), side_a, side_b));
        }
    }

    async fn expand(&self, side: Side, level: u8) -> Result<Vec<(u8, Side)>> {
        match side {
            Side::Absent => Ok(Vec::new()),
            Side::Above(tree) if tree.head.height + 1 == level => Ok(vec![(0, Side::Node(tree.root))]),
            Side::Above(tree) => Ok(vec![(0, Side::Above(tree))]),
            Side::Node(node) => {
                let children = self.domain.children(node, level).await?;
                Ok(children.iter().map(|(index, child)| (*index, Side::Node(*child))).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_and_digits() {
        for (size, height) in [
            (0, 0),
            (4 << 20, 0),
            ((4 << 20) + 1, 1),
            (1 << 30, 1),
            ((1 << 30) + 1, 2),
            (256 << 30, 2),
            (64 << 40, 3),
        ] {
            assert_eq!(height_for(size), height, "{size}");
        }
        assert_eq!((digit(0x0003_0201, 1), digit(0x0003_0201, 2), digit(0x0003_0201, 3)), (1, 2, 3));
    }
}
