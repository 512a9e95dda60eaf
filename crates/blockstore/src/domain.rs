//! A domain: one secret, one set of packs and trees. Deduplication never leaves it.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::node::{Leaf, NodeRef};
use crate::format::snapshot::{SNAPSHOT_BYTES_MAX, Snapshot};
use crate::format::{BLOCK_BYTES_U64, BlockId, LEAF_BLOCKS, LEAF_BYTES};
use crate::gc::Ledger;
use crate::index::{Index, Place};
use crate::keys::DomainKeys;
use crate::objects::{Put, named};
use crate::reader::Reader;
use crate::root::{Root, check_size};
use crate::store::StoreInner;
use crate::writer::Writer;

/// A handle on a domain. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Domain {
    pub(crate) inner: Arc<DomainInner>,
}

#[derive(Debug)]
pub(crate) struct DomainInner {
    pub(crate) store: Arc<StoreInner>,
    pub(crate) keys: DomainKeys,
    pub(crate) index: Arc<Index>,
    pub(crate) ledger: Arc<Ledger>,
}

impl Domain {
    pub(crate) fn new(
        store: Arc<StoreInner>,
        keys: DomainKeys,
        index: Arc<Index>,
        ledger: Arc<Ledger>,
    ) -> Self {
        Self { inner: Arc::new(DomainInner { store, keys, index, ledger }) }
    }

    pub fn id(&self) -> &str {
        &self.inner.keys.domain
    }

    /// Begins a new root of `size_bytes`, which starts as `base` or as zeros. The size may be
    /// larger than the base's, not smaller.
    pub async fn writer(&self, base: Option<&Root>, size_bytes: u64) -> Result<Writer> {
        check_size(size_bytes)?;
        Writer::open(Arc::clone(&self.inner), base, size_bytes).await
    }

    pub async fn reader(&self, root: &Root) -> Result<Reader> {
        // Before the tree is opened: from here on no collection begins without knowing of it.
        let lease = Arc::new(self.inner.ledger.lease_root(root));
        Ok(Reader::new(Arc::clone(&self.inner), self.inner.tree(root).await?, lease))
    }

    /// Names a root under an opaque key, until `retract`. Again with the same root is fine; with
    /// another it is a `Conflict`, and `load` tells which root was first.
    pub async fn publish(&self, key: &str, root: &Root, parent: Option<&Root>) -> Result<()> {
        let keys = &self.inner.keys;
        if root.domain() != keys.domain || parent.is_some_and(|parent| parent.domain() != keys.domain) {
            return Err(Error::invalid("publish a root of another domain"));
        }
        let snapshot = Snapshot {
            root: root.node_pack(),
            size_bytes: root.size_bytes(),
            parent: parent.map(Root::node_pack),
            epoch: self.inner.ledger.epoch(),
        };
        let store = &self.inner.store;
        let salt = model::id_gen::random_bytes(&*store.ids);
        let path = named("snap", &keys.domain, key);
        let bytes = snapshot.encode(keys, key, salt).into();
        if store.objects.put_new(&path, bytes).await? == Put::Existed {
            let existing = self.snapshot(key).await?;
            if (existing.root, existing.size_bytes) != (snapshot.root, snapshot.size_bytes) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("publish {path}: it names another root"),
                ));
            }
        }
        self.inner.ledger.settle(root);
        Ok(())
    }

    /// Takes a published name back, for whoever owns the key; what it named is untouched. A key
    /// that names nothing is fine.
    pub async fn retract(&self, key: &str) -> Result<()> {
        self.inner.store.objects.delete(&named("snap", &self.inner.keys.domain, key)).await
    }

    /// The root that was published under a key.
    pub async fn load(&self, key: &str) -> Result<Root> {
        let snapshot = self.snapshot(key).await?;
        check_size(snapshot.size_bytes)
            .map_err(|e| Error::corrupt("load a snapshot object").with_source(e))?;
        Ok(Root::new(self.id(), snapshot.root, snapshot.size_bytes))
    }

    async fn snapshot(&self, key: &str) -> Result<Snapshot> {
        let path = named("snap", &self.inner.keys.domain, key);
        let bytes = self.inner.store.objects.get(&path, SNAPSHOT_BYTES_MAX).await?;
        Snapshot::parse(&self.inner.keys, key, &bytes)
    }

    /// The units of `granularity_bytes` whose content differs between two roots, in ascending
    /// order, from unit `from` on, at most `limit`. Where fewer than `limit` come back, there are
    /// no more. Costs what differs, not what there is.
    pub async fn diff(
        &self,
        a: &Root,
        b: &Root,
        granularity_bytes: u64,
        from: u64,
        limit: usize,
    ) -> Result<Vec<u64>> {
        let mut units = Units::new(granularity_bytes, from, limit)?;
        let _leases = [a, b].map(|root| self.inner.ledger.lease(Some(root)));
        self.inner.ledger.load_map(&self.inner).await?;
        let (a, b) = (self.inner.tree(a).await?, self.inner.tree(b).await?);
        let Some(first) = units.first_leaf() else { return Ok(Vec::new()) };
        let mut differences = self.inner.differences(Some(a), Some(b), first);
        while !units.is_full() {
            let Some(leaf) = differences.next().await? else { break };
            for block in self.inner.changed_blocks(leaf.a, leaf.b).await? {
                units.push(leaf.index, block);
            }
        }
        Ok(units.found)
    }
}

impl DomainInner {
    /// The blocks of a leaf whose content differs, in ascending order.
    async fn changed_blocks(&self, a: Option<NodeRef>, b: Option<NodeRef>) -> Result<Vec<u16>> {
        let (a, b) = (self.places(a).await?, self.places(b).await?);
        let mut changed = Vec::new();
        for (block, (a, b)) in (0..).zip(a.into_iter().zip(b)) {
            let differs = match (a, b) {
                // The same content may be stored twice, for example by two writers at once.
                (Some(a), Some(b)) if a != b => self.stored_id(a).await? != self.stored_id(b).await?,
                (a, b) => a.is_some() != b.is_some(),
            };
            if differs {
                changed.push(block);
            }
        }
        Ok(changed)
    }

    /// Where each block of a leaf lies.
    pub(crate) async fn places(&self, leaf: Option<NodeRef>) -> Result<Vec<Option<Place>>> {
        let mut places = vec![None; LEAF_BLOCKS];
        let Some(leaf) = leaf else { return Ok(places) };
        let leaf = self.leaf(leaf).await?;
        spread(&leaf, &mut places)?;
        Ok(places)
    }

    /// The id of a block that some leaf names.
    pub(crate) async fn stored_id(&self, place: Place) -> Result<BlockId> {
        let directory = self.directory(place.pack).await?;
        let id = directory.ids.get(place.slot as usize).copied();
        id.ok_or_else(|| Error::corrupt("look up a block id that its pack does not have"))
    }
}

fn spread(leaf: &Leaf, places: &mut [Option<Place>]) -> Result<()> {
    for run in &leaf.runs {
        let pack = leaf.pack(run)?.id;
        let targets = places.iter_mut().skip(usize::from(run.start)).take(usize::from(run.len));
        for (target, slot) in targets.zip(run.slot..) {
            *target = Some(Place { pack, slot });
        }
    }
    Ok(())
}

/// Collects a page of unit indices from ascending blocks.
#[derive(Debug)]
pub(crate) struct Units {
    unit_blocks: u64,
    from: u64,
    limit: usize,
    pub(crate) found: Vec<u64>,
}

impl Units {
    pub(crate) fn new(granularity_bytes: u64, from: u64, limit: usize) -> Result<Self> {
        if granularity_bytes == 0 || !granularity_bytes.is_multiple_of(BLOCK_BYTES_U64) {
            return Err(Error::invalid("a granularity is whole blocks"));
        }
        Ok(Self { unit_blocks: granularity_bytes / BLOCK_BYTES_U64, from, limit, found: Vec::new() })
    }

    /// The leaf where the first wanted unit begins; None where no volume reaches that far.
    pub(crate) fn first_leaf(&self) -> Option<u32> {
        let byte = self.from.checked_mul(self.unit_blocks * BLOCK_BYTES_U64)?;
        u32::try_from(byte / LEAF_BYTES).ok()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= self.limit
    }

    pub(crate) fn push(&mut self, leaf: u32, block: u16) {
        self.push_run(leaf, block, 1);
    }

    pub(crate) fn push_run(&mut self, leaf: u32, start: u16, len: u16) {
        let first = u64::from(leaf) * LEAF_BLOCKS as u64 + u64::from(start);
        let last = first + u64::from(len).saturating_sub(1);
        let after_known = self.found.last().map_or(0, |unit| unit + 1);
        for unit in (first / self.unit_blocks).max(self.from).max(after_known)..=last / self.unit_blocks {
            if self.is_full() {
                return;
            }
            self.found.push(unit);
        }
    }
}
