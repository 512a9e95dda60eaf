//! Gathers the nodes of one commit in node packs.

use std::sync::Arc;

use super::WriteStats;
use super::packer::PackNames;
use crate::domain::DomainInner;
use crate::error::Result;
use crate::format::NodePackId;
use crate::format::node::{ChildRef, Leaf, NodePackBuilder, NodeRef, TreeHead};
use crate::gc::Lease;

/// Above this size a node pack takes no more frame tables: one leaf may name a thousand packs, and
/// the whole must stay below what readers accept.
const COPIES_BYTES_MAX: usize = 4 << 20;

/// A node of the new tree: already there, or in one of this commit's node packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    Stored(NodeRef),
    New { node_pack: usize, number: u32 },
}

#[derive(Debug)]
pub(super) struct Nodes {
    domain: Arc<DomainInner>,
    lease: Arc<Lease>,
    builder: NodePackBuilder,
    closed: Vec<NodePackId>,
    /// Writer's numbers of the packs whose tables the open node pack repeats.
    tables: Vec<u32>,
}

impl Nodes {
    pub(super) fn new(domain: Arc<DomainInner>, lease: Arc<Lease>) -> Self {
        let builder = fresh_builder(&domain);
        Self { domain, lease, builder, closed: Vec::new(), tables: Vec::new() }
    }

    /// Where a node is, as a child of the next node that is pushed.
    fn child(&self, placed: Placed) -> ChildRef {
        match placed {
            Placed::Stored(node) => ChildRef::There(node),
            Placed::New { node_pack, number } => match self.closed.get(node_pack) {
                Some(pack) => ChildRef::There(NodeRef { pack: *pack, number }),
                None => ChildRef::Here(number),
            },
        }
    }

    /// The name of a node whose node pack is closed.
    pub(super) fn stored(&self, placed: Placed) -> Option<NodeRef> {
        match self.child(placed) {
            ChildRef::There(node) => Some(node),
            ChildRef::Here(_) => None,
        }
    }

    /// `packs` are the writer's numbers of the leaf's packs, in the leaf's order.
    pub(super) async fn push_leaf(
        &mut self,
        leaf: Leaf,
        packs: &[u32],
        names: &mut PackNames,
        stats: &mut WriteStats,
    ) -> Result<Placed> {
        self.make_room(names, stats).await?;
        for &number in packs {
            let (pack, table) = names.get(number);
            if !self.builder.knows_pack(pack.id) {
                // Without the copy a reader asks the pack itself.
                let has_room = self.builder.bytes() < COPIES_BYTES_MAX;
                let table = table.filter(|_| pack.table_in.is_none() && has_room);
                self.tables.extend(table.map(|_| number));
                self.builder.add_pack(&pack, table.map(|table| &**table));
            }
        }
        let number = self.builder.push_leaf(&self.domain.keys, leaf);
        Ok(Placed::New { node_pack: self.closed.len(), number })
    }

    pub(super) async fn push_inner(
        &mut self,
        level: u8,
        children: &[(u8, Placed)],
        names: &mut PackNames,
        stats: &mut WriteStats,
    ) -> Result<Placed> {
        self.make_room(names, stats).await?;
        let children: Vec<_> = children.iter().map(|(index, child)| (*index, self.child(*child))).collect();
        let number = self.builder.push_inner(&self.domain.keys, level, &children);
        Ok(Placed::New { node_pack: self.closed.len(), number })
    }

    /// Closes a full node pack before a node is pushed, so that the last node of a commit, the
    /// root, is always in the open one.
    async fn make_room(&mut self, names: &mut PackNames, stats: &mut WriteStats) -> Result<()> {
        if self.builder.bytes() >= self.domain.store.options.node_pack_bytes {
            self.close(None, names, stats).await?;
        }
        Ok(())
    }

    /// Stores the open node pack. With a head its last node becomes a root.
    pub(super) async fn close(
        &mut self,
        head: Option<&TreeHead>,
        names: &mut PackNames,
        stats: &mut WriteStats,
    ) -> Result<Option<NodePackId>> {
        if self.builder.is_empty() {
            return Ok(None);
        }
        let builder = std::mem::replace(&mut self.builder, fresh_builder(&self.domain));
        let (id, bytes) = builder.build(&self.domain.keys, head);
        stats.node_bytes += bytes.len() as u64;
        stats.stored_bytes += bytes.len() as u64;
        self.lease.claim_own(&self.domain, id.into());
        self.domain.store.objects.put_new(&self.domain.node_pack_path(id), bytes).await?;
        self.closed.push(id);
        for number in self.tables.drain(..) {
            let (mut pack, _) = names.get(number);
            pack.table_in = Some(id);
            names.number(pack, None);
        }
        Ok(Some(id))
    }
}

fn fresh_builder(domain: &DomainInner) -> NodePackBuilder {
    let salt = model::id_gen::random_bytes(&*domain.store.ids);
    NodePackBuilder::new(&domain.keys, salt).at_epoch(domain.ledger.epoch())
}
