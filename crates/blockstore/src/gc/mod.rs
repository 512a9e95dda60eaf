//! The collector: finds what no live root needs, waits, and deletes it, while others write.
//!
//! A mark walks everything that live roots reach. What two marks in a row found dead, and what
//! nobody in this process has a claim on, is condemned: recorded, and never referred to again.
//! After the retirement time, and another mark that found it dead still, it is deleted. A condemned
//! object that turns out to be needed raises an alarm: it is taken back, and nothing is deleted
//! until a person has looked. The reasons are in docs/decisions/0020-garbage-collection.md.
//!
//! Refuses to know: which roots the caller's rows name, and when to run.

mod ledger;
mod mark;
mod plan;
mod record;
mod repack;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use model::Timestamp;
use object_store::ObjectMeta;

use crate::domain::{Domain, DomainInner};
use crate::error::{Error, Result};
use crate::format::collection::{Collection, ObjectId};
use crate::format::snapshot::{SNAPSHOT_BYTES_MAX, Snapshot};
use crate::format::{NodePackId, PackId};
use crate::objects::{folder, key_of};
use crate::root::Root;

use mark::{Live, Mark, Seen};
use plan::{Facts, Plan};

pub(crate) use ledger::{LEASE, Lease, Ledger};
pub use repack::{Repack, Repacked};

/// A mark that takes longer begins anew, so that no lease ends unseen while it runs.
const MARK_TIME_MAX: Duration = Duration::from_mins(30);
/// Snapshot objects that are read at once.
const READS: usize = 8;

/// When something goes, and how much is done at once.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How long something must have been dead before it is condemned. Objects of writers in other
    /// processes are safe for this long; those of this process are known and safe anyway.
    pub dead_time: Duration,
    /// How long what is condemned is kept.
    pub retire_time: Duration,
    /// Node packs that one call reads at most.
    pub node_packs: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { dead_time: LEASE, retire_time: Duration::from_hours(24), node_packs: 64 }
    }
}

/// What a round of the collector found and did. Bytes are of stored objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Needed by live roots.
    pub live_objects: u64,
    pub live_bytes: u64,
    /// Of the blocks that live roots name, each counted once.
    pub live_block_bytes: u64,
    /// Tree nodes of live roots, each counted once.
    pub live_nodes: u64,
    /// Dead or claimed by a writer, and not condemned.
    pub dead_objects: u64,
    pub dead_bytes: u64,
    /// Condemned and kept for now.
    pub retired_objects: u64,
    pub retired_bytes: u64,
    pub deleted_objects: u64,
    pub deleted_bytes: u64,
    /// Condemned by this round.
    pub condemned_objects: u64,
    /// Whether deletion is stopped until `acknowledge`.
    pub is_alarmed: bool,
    pub epoch: u64,
}

/// Whether a round acts on what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Collect,
    Measure,
}

/// The part of a collection that goes on from one call to the next.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    mark: Option<Mark>,
    seen: Seen,
    /// Something was deleted since all sparse packs were rewritten.
    has_holes: bool,
    /// Published roots by name, with what tells that an object is the same.
    published: HashMap<String, (ObjectMeta, NodePackId)>,
}

impl Domain {
    /// One bounded piece of a round of collection; None where the round goes on with the next call.
    /// `roots` are all that the caller's rows named at `read_at` or later, of any domain. Published
    /// roots and those that this process uses are added here.
    pub async fn collect(
        &self,
        roots: &[Root],
        read_at: Timestamp,
        policy: &Policy,
    ) -> Result<Option<Collected>> {
        // Before anything is noted: this process's own first record would be in the way.
        self.inner.ledger.load(&self.inner).await?;
        self.round(roots, read_at, policy, Intent::Collect).await
    }

    /// Like `collect`, but changes nothing.
    pub async fn measure(
        &self,
        roots: &[Root],
        read_at: Timestamp,
        policy: &Policy,
    ) -> Result<Option<Collected>> {
        self.round(roots, read_at, policy, Intent::Measure).await
    }

    /// A person has looked at the alarm: deletion goes on.
    pub async fn acknowledge(&self) -> Result<()> {
        let domain = &self.inner;
        let _one_at_a_time = domain.ledger.collector.lock().await;
        let old = record::newest(domain).await?;
        if old.alarm.is_none() {
            return Ok(());
        }
        let at = domain.store.options.clock.now();
        let new = Collection { epoch: old.epoch + 1, at, alarm: None, ..old };
        record::put(domain, &new).await?;
        domain.ledger.sync(&new);
        Ok(())
    }

    /// Makes a root count as live until it is published or an hour has gone by: for a root that
    /// moves from one row to another.
    pub async fn hold(&self, root: &Root) -> Result<()> {
        let lease = self.inner.ledger.lease(Some(root));
        self.inner.ledger.load(&self.inner).await?;
        self.inner.tree(root).await?;
        lease.commit(&self.inner, None, root).await
    }

    /// Whether a round is under way, or the last one is older than `every`. After a start the first
    /// one comes sooner, so that also a server that never lives long collects. False while somebody collects or
    /// repacks, which may take a while.
    pub fn is_collection_due(&self, every: Duration) -> bool {
        self.inner.ledger.collector.try_lock().is_ok()
            && self.inner.ledger.is_due(self.inner.store.options.clock.monotonic(), every)
    }

    /// Whether packs may have become sparse since they were last looked through. False while somebody collects
    /// or repacks.
    pub fn is_repack_due(&self) -> bool {
        self.inner.ledger.collector.try_lock().is_ok_and(|collector| collector.has_holes)
    }

    /// One batch of repacking: about `bytes_max` of blocks are moved. None where the mark before it goes on with
    /// the next call. What it leaves behind is collected like all that is dead.
    pub async fn repack(
        &self,
        roots: &[Root],
        read_at: Timestamp,
        policy: &Policy,
        what: Repack,
        bytes_max: u64,
    ) -> Result<Option<Repacked>> {
        let domain = &self.inner;
        domain.ledger.load(domain).await?;
        let mut collector = domain.ledger.collector.lock().await;
        let done = match collector.mark(domain, roots, read_at, policy).await {
            Ok(None) => return Ok(None),
            Err(e) => Err(e),
            Ok(Some(mark)) => repack::repack(domain, &collector, mark, what, bytes_max).await,
        };
        collector.has_holes &= !done.as_ref().is_ok_and(|done| done.is_done);
        collector.end(domain);
        done.map(Some)
    }

    async fn round(
        &self,
        roots: &[Root],
        read_at: Timestamp,
        policy: &Policy,
        intent: Intent,
    ) -> Result<Option<Collected>> {
        let domain = &self.inner;
        let mut collector = domain.ledger.collector.lock().await;
        let done = match collector.mark(domain, roots, read_at, policy).await {
            Ok(None) => return Ok(None),
            Err(e) => Err(e),
            Ok(Some(mark)) => finish(domain, mark, policy, intent).await,
        };
        collector.has_holes |= done.as_ref().is_ok_and(|done| done.deleted_objects > 0);
        collector.end(domain);
        done.map(Some)
    }
}

impl Collector {
    /// A bounded piece of a mark; the mark where it has ended.
    async fn mark(
        &mut self,
        domain: &DomainInner,
        roots: &[Root],
        read_at: Timestamp,
        policy: &Policy,
    ) -> Result<Option<Mark>> {
        let now = domain.store.options.clock.now();
        let mut mark = match self.mark.take().filter(|mark| now.since(mark.began) < MARK_TIME_MAX) {
            Some(mark) => mark,
            None => self.begin(domain, roots, read_at).await?,
        };
        for _ in 0..policy.node_packs.max(1) {
            if !mark.step(domain, &mut self.seen).await? {
                return Ok(Some(mark));
            }
            tokio::task::yield_now().await;
        }
        self.mark = Some(mark);
        Ok(None)
    }

    fn end(&mut self, domain: &DomainInner) {
        self.mark = None;
        domain.ledger.end_mark(domain.store.options.clock.monotonic());
    }

    /// The roots of a mark: those that were published last before others, those without a name at the end.
    fn newest_first(&self, mark: &Mark) -> Vec<NodePackId> {
        let mut published: Vec<_> = self.published.iter().collect();
        published.sort_by_key(|(name, (meta, _))| (std::cmp::Reverse(meta.last_modified), *name));
        let mut roots: Vec<NodePackId> = published.into_iter().map(|(_, (_, root))| *root).collect();
        let mut others = mark.roots.clone();
        others.sort_unstable();
        roots.extend(others);
        // Each once, and none that the mark does not know.
        let mut left: HashSet<NodePackId> = mark.roots.iter().copied().collect();
        roots.retain(|root| left.remove(root));
        roots
    }

    async fn begin(&mut self, domain: &DomainInner, roots: &[Root], read_at: Timestamp) -> Result<Mark> {
        let used = domain.ledger.begin_mark(domain.store.options.clock.monotonic());
        // After the rows and the uses: a root goes from a use to a name and to a row, and each is
        // there before the one before it ends.
        let published = self.published(domain).await?;
        let here = roots.iter().chain(&used).filter(|root| root.domain() == domain.keys.domain);
        Ok(Mark::of(read_at, here.map(Root::node_pack).chain(published)))
    }

    /// The roots of all snapshot objects. One that does not open could name anything, so it stops
    /// the collection.
    async fn published(&mut self, domain: &DomainInner) -> Result<Vec<NodePackId>> {
        let metas = domain.store.objects.list(&folder("snap", &domain.keys.domain)).await?;
        let mut known = std::mem::take(&mut self.published);
        let mut new = Vec::new();
        for meta in metas {
            let name = meta.location.filename().unwrap_or_default();
            match known.remove(name) {
                Some((same, root)) if same == meta => {
                    self.published.insert(name.to_owned(), (meta, root));
                }
                _ => new.push(meta),
            }
        }
        let mut reads = stream::iter(new).map(|meta| read_published(domain, meta)).buffer_unordered(READS);
        while let Some(read) = reads.try_next().await? {
            if let Some((name, meta, root)) = read {
                self.published.insert(name, (meta, root));
            }
        }
        Ok(self.published.values().map(|(_, root)| *root).collect())
    }
}

/// None where it was retracted meanwhile.
async fn read_published(
    domain: &DomainInner,
    meta: ObjectMeta,
) -> Result<Option<(String, ObjectMeta, NodePackId)>> {
    let name = meta.location.filename().unwrap_or_default().to_owned();
    let key =
        key_of(&name).ok_or_else(|| Error::corrupt(format!("read {}: its name is no key", meta.location)))?;
    match domain.store.objects.get(&meta.location, SNAPSHOT_BYTES_MAX).await {
        Ok(bytes) => {
            let snapshot = Snapshot::parse(&domain.keys, &key, &bytes)?;
            Ok(Some((name, meta, snapshot.root)))
        }
        Err(e) if e.kind() == crate::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

async fn finish(domain: &DomainInner, mark: Mark, policy: &Policy, intent: Intent) -> Result<Collected> {
    let objects = objects(domain).await?;
    let old = record::newest(domain).await?;
    let map = domain.newest_map().await?;
    let now = domain.store.options.clock.now();
    let live: Live = mark.live.through(&map)?;
    let facts = Facts { now, began: mark.began, live: &live, map: &map, objects: &objects, policy };
    if intent == Intent::Measure {
        return Ok(facts.count(&old));
    }
    domain.complete_map().await?;
    domain.ledger.sync(&old);
    let plan = domain.ledger.decide(|uses| {
        let plan = Plan::make(&old, &facts, uses);
        (plan.new.retired.keys().copied().collect(), plan)
    });
    // From here on no writer finds what was condemned.
    let condemned: HashSet<PackId> = plan
        .condemned
        .iter()
        .filter_map(|object| match object {
            ObjectId::Pack(id) => Some(*id),
            ObjectId::NodePack(_) => None,
        })
        .collect();
    domain.index.forget_all(&condemned);
    plan.report(&domain.keys.domain);
    if plan.is_news(&old) {
        if let Err(e) = record::put(domain, &plan.new).await {
            // What is not recorded is not condemned.
            domain.ledger.withdraw(&old);
            return Err(e);
        }
        domain.ledger.recorded(plan.new.epoch, &plan.touched);
    }
    let mut done = facts.count(&plan.new);
    done.condemned_objects = plan.condemned.len() as u64;
    for object in &plan.expired {
        if !domain.ledger.may_go(*object) {
            break;
        }
        domain.store.objects.delete(&path_of(domain, *object)).await?;
        let bytes = objects.get(object).copied().unwrap_or(0);
        done.deleted_objects += 1;
        done.deleted_bytes += bytes;
        done.retired_objects -= 1;
        done.retired_bytes -= bytes;
    }
    if done.condemned_objects + done.deleted_objects > 0 {
        tracing::info!(domain = domain.keys.domain, ?done, "collected");
    }
    Ok(done)
}

/// Everything that can be collected, with its size.
async fn objects(domain: &DomainInner) -> Result<BTreeMap<ObjectId, u64>> {
    let mut objects = BTreeMap::new();
    for kind in ["pack", "node"] {
        for meta in domain.store.objects.list(&folder(kind, &domain.keys.domain)).await? {
            let mut id = [0; 32];
            let name = meta.location.filename().unwrap_or_default();
            if hex::decode_to_slice(name, &mut id).is_ok() {
                let object = if kind == "pack" { PackId(id).into() } else { NodePackId(id).into() };
                objects.insert(object, meta.size);
            }
        }
    }
    Ok(objects)
}

fn path_of(domain: &DomainInner, object: ObjectId) -> object_store::path::Path {
    match object {
        ObjectId::Pack(id) => domain.pack_path(id),
        ObjectId::NodePack(id) => domain.node_pack_path(id),
    }
}
