//! What this process uses of a domain right now, and what it must not use any more: the meeting
//! point of writers, readers and the collector.
//!
//! Invariant: an object is claimed before a tree names it, condemned only while nobody has a claim
//! on it, and never claimed by a writer once it is condemned. Both happen under one lock, so a
//! writer and the collector of one process cannot miss each other.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Collector;
use super::record;
use crate::domain::DomainInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::collection::{Collection, ObjectId};
use crate::format::{NodePackId, PackId};
use crate::relocation::Relocations;
use crate::root::Root;

/// How long a root counts as live after its commit, for its caller to write it down. The longest
/// lease there is.
pub(crate) const LEASE: Duration = Duration::from_hours(1);

/// Attempts to be the newest of all that collect.
const FENCES: u32 = 8;

/// How long after the start of a process its first round comes at the latest.
const FIRST_ROUND_AFTER: Duration = Duration::from_mins(10);

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) relocations: Relocations,
    map_loaded: tokio::sync::OnceCell<()>,
    loaded: tokio::sync::OnceCell<()>,
    state: Mutex<State>,
    pub(super) collector: tokio::sync::Mutex<Collector>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest collection record that this process knows.
    epoch: u64,
    condemned: HashSet<ObjectId>,
    /// What anybody had a claim on since the last plan: it has not been dead for long.
    claimed: HashSet<ObjectId>,
    /// The same before the last plan, until that is recorded.
    planned: HashSet<ObjectId>,
    /// Condemned objects that were needed all the same, and are not recorded as such yet.
    touched: Vec<ObjectId>,
    next: u64,
    holds: HashMap<u64, Hold>,
    is_marking: bool,
    /// When a round ended last.
    last_round: Option<Duration>,
    /// When somebody first asked for one.
    first_asked: Option<Duration>,
    /// Holds that ended while a mark ran, which may have begun before what they held was written down.
    ended: Vec<Hold>,
}

/// What one reader or writer uses, or one root that was just committed.
#[derive(Debug, Default)]
struct Hold {
    root: Option<Root>,
    claims: HashSet<ObjectId>,
    /// The relocation map that it began with, where it goes by what it read then.
    map: Option<u64>,
    /// Of a committed root: the root that it was built on, and when the lease ends.
    committed: Option<(Option<Root>, Duration)>,
}

impl Hold {
    fn is_commit_of(&self, root: &Root) -> bool {
        self.committed.is_some() && self.root.as_ref() == Some(root)
    }
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns what was moved before this process began, once. Without the map nothing is deleted or moved, and what
    /// was not moved can be read still.
    pub(crate) async fn load_map(&self, domain: &DomainInner) -> Result<()> {
        let load = || async { domain.has_moved_since(0).await.map(drop) };
        self.map_loaded.get_or_try_init(load).await.copied()
    }

    /// Learns what was condemned and what was moved before this process began, once: before it writes.
    pub(crate) async fn load(&self, domain: &DomainInner) -> Result<()> {
        let load = || async {
            self.load_map(domain).await?;
            for _ in 0..FENCES {
                match self.fence(domain).await {
                    Err(e) if e.kind() == ErrorKind::Conflict => {}
                    done => return done,
                }
            }
            Err(Error::new(ErrorKind::Unavailable, "begin to write: another process collects"))
        };
        self.loaded.get_or_try_init(load).await.copied()
    }

    /// A collector that died may have had a record under way, which nobody here would know of. Where one could
    /// condemn anything its name is taken, so that it comes too late.
    async fn fence(&self, domain: &DomainInner) -> Result<()> {
        let Some(old) = self.catch_up(domain).await?.filter(|record| !record.suspects.is_empty()) else {
            return Ok(());
        };
        let at = domain.store.options.clock.now();
        // What the process before this one had claims on nobody knows: it may have been dead for a moment only.
        let suspects = old.suspects.keys().map(|object| (*object, at)).collect();
        let new = Collection { epoch: old.epoch + 1, at, suspects, ..old };
        record::put(domain, &new).await?;
        self.sync(&new);
        Ok(())
    }

    /// Learns what another process has condemned meanwhile; None where the record is damaged.
    async fn catch_up(&self, domain: &DomainInner) -> Result<Option<Collection>> {
        match record::newest(domain).await {
            Ok(record) => {
                self.sync(&record);
                Ok(Some(record))
            }
            Err(e) if e.kind() == ErrorKind::Corrupt => {
                // Nothing is deleted without this record, and with it not before another mark.
                tracing::warn!(
                    error = &e as &dyn std::error::Error,
                    domain = domain.keys.domain,
                    "a damaged collection record is left out"
                );
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    pub(super) fn sync(&self, record: &Collection) {
        let mut state = self.state();
        if record.epoch >= state.epoch {
            state.epoch = record.epoch;
            state.condemned = record.retired.keys().copied().collect();
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.state().epoch
    }

    /// Opens a lease on a root, or on nothing but what will be claimed, for somebody who learns where blocks are
    /// and reads them later: what is moved meanwhile stays where it was, too.
    pub(crate) fn lease(self: &Arc<Self>, root: Option<&Root>) -> Lease {
        self.open(root, Some(self.relocations.version()))
    }

    /// The same for somebody who asks again where something is when it is gone.
    pub(crate) fn lease_root(self: &Arc<Self>, root: &Root) -> Lease {
        self.open(Some(root), None)
    }

    fn open(self: &Arc<Self>, root: Option<&Root>, map: Option<u64>) -> Lease {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.holds.insert(number, Hold { root: root.cloned(), map, ..Hold::default() });
        Lease { ledger: Arc::clone(self), number }
    }

    /// Takes a condemned object back that somebody reads: this must not happen, but where the object was moved:
    /// a reader that began before is soon told.
    pub(crate) fn read(&self, domain: &DomainInner, object: ObjectId) {
        let mut state = self.state();
        if !state.condemned.contains(&object) {
            return;
        }
        let is_moved = matches!(object, ObjectId::Pack(pack) if self.relocations.has(pack));
        if !is_moved && state.condemned.remove(&object) {
            tracing::error!(domain = domain.keys.domain, %object, "a retired object was read; nothing is deleted any more");
            state.touched.push(object);
        }
    }

    pub(crate) fn is_condemned(&self, object: ObjectId) -> bool {
        self.state().condemned.contains(&object)
    }

    /// The caller has written the root down: it and what it was built on need no lease any more.
    pub(crate) fn settle(&self, root: &Root) {
        let mut state = self.state();
        let mut next = Some(root.clone());
        while let Some(root) = next.take() {
            let numbers: Vec<u64> =
                state.holds.iter().filter(|(_, h)| h.is_commit_of(&root)).map(|(n, _)| *n).collect();
            for number in numbers {
                if let Some(hold) = state.holds.remove(&number) {
                    next = hold.committed.as_ref().and_then(|(base, _)| base.clone()).or(next);
                    state.end(hold);
                }
            }
        }
    }

    /// Begins a mark; gives the roots that count as live because somebody here uses them.
    pub(super) fn begin_mark(&self, now: Duration) -> Vec<Root> {
        let mut state = self.state();
        state.is_marking = true;
        state.ended.clear();
        state.holds.retain(|_, hold| hold.committed.as_ref().is_none_or(|(_, until)| *until > now));
        state.holds.values().filter_map(|hold| hold.root.clone()).collect()
    }

    pub(super) fn end_mark(&self, now: Duration) {
        let mut state = self.state();
        state.is_marking = false;
        state.last_round = Some(now);
        state.ended.clear();
    }

    pub(super) fn is_due(&self, now: Duration, every: Duration) -> bool {
        let mut state = self.state();
        let (since, wait) = match state.last_round {
            Some(last) => (last, every),
            None => (*state.first_asked.get_or_insert(now), every.min(FIRST_ROUND_AFTER)),
        };
        state.is_marking || now.saturating_sub(since) >= wait
    }

    /// Lets `plan` decide what is condemned from now on, knowing what is claimed; nobody claims
    /// anything meanwhile.
    pub(super) fn decide<T>(&self, plan: impl FnOnce(&Uses<'_>) -> (HashSet<ObjectId>, T)) -> T {
        let mut state = self.state();
        let holds: Vec<&Hold> = state.holds.values().chain(&state.ended).collect();
        let (condemned, outcome) = plan(&Uses { holds, touched: &state.touched, claimed: &state.claimed });
        state.condemned = condemned;
        state.planned = std::mem::take(&mut state.claimed);
        outcome
    }

    /// Takes a plan back that could not be recorded.
    pub(super) fn withdraw(&self, old: &Collection) {
        let mut state = self.state();
        let planned = std::mem::take(&mut state.planned);
        state.claimed.extend(planned);
        state.condemned = old.retired.keys().copied().collect();
    }

    /// Forgets touches that a record has taken over.
    pub(super) fn recorded(&self, epoch: u64, touched: &[ObjectId]) {
        let mut state = self.state();
        state.epoch = state.epoch.max(epoch);
        state.touched.retain(|object| !touched.contains(object));
    }

    /// Whether a condemned object may be deleted still.
    pub(super) fn may_go(&self, object: ObjectId) -> bool {
        let state = self.state();
        state.touched.is_empty() && state.condemned.contains(&object)
    }
}

impl State {
    fn end(&mut self, hold: Hold) {
        if self.is_marking {
            self.ended.push(hold);
        }
    }
}

/// What is in use at the moment of a decision.
pub(super) struct Uses<'a> {
    holds: Vec<&'a Hold>,
    pub(super) touched: &'a [ObjectId],
    claimed: &'a HashSet<ObjectId>,
}

impl Uses<'_> {
    /// Whether anybody had a claim on it since the last plan, who may be done with it now.
    pub(super) fn have_claimed(&self, object: ObjectId) -> bool {
        self.claimed.contains(&object)
    }

    /// Whether anybody goes by an older relocation map than this.
    pub(super) fn are_older_than(&self, version: u64) -> bool {
        self.holds.iter().any(|hold| hold.map.is_some_and(|map| map < version))
    }

    pub(super) fn claims(&self, object: ObjectId) -> bool {
        self.holds.iter().any(|hold| hold.claims.contains(&object))
    }
}

/// A reader's or a writer's part in the ledger, until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    ledger: Arc<Ledger>,
    number: u64,
}

impl Lease {
    /// Before a tree may name an object that was there already. False where it is condemned.
    pub(crate) fn claim(&self, object: ObjectId) -> bool {
        let mut state = self.ledger.state();
        if state.condemned.contains(&object) {
            return false;
        }
        if let Some(hold) = state.holds.get_mut(&self.number) {
            hold.claims.insert(object);
        }
        state.claimed.insert(object);
        true
    }

    /// Before an object is stored, and for what the base of a new tree names.
    pub(crate) fn claim_own(&self, domain: &DomainInner, object: ObjectId) {
        self.ledger.read(domain, object);
        self.claim(object);
    }

    /// The tree is stored: what it names stays claimed until the caller has written it down or
    /// the lease ends. `Conflict` where another process has condemned something of it meanwhile.
    pub(crate) async fn commit(&self, domain: &DomainInner, base: Option<&Root>, root: &Root) -> Result<()> {
        let until = domain.store.options.clock.monotonic() + LEASE;
        {
            let mut state = self.ledger.state();
            if let Some(hold) = state.holds.get_mut(&self.number) {
                hold.root = Some(root.clone());
                hold.map = None;
                hold.committed = Some((base.filter(|base| *base != root).cloned(), until));
            }
        }
        let known = self.ledger.epoch();
        if record::newest_epoch(domain).await? > known {
            self.ledger.catch_up(domain).await?;
        }
        let is_condemned = {
            let mut state = self.ledger.state();
            let state = &mut *state;
            let claims = state.holds.get(&self.number).map(|hold| &hold.claims);
            let is_condemned =
                claims.is_some_and(|claims| claims.iter().any(|o| state.condemned.contains(o)));
            if is_condemned {
                state.holds.remove(&self.number);
            }
            is_condemned
        };
        if is_condemned {
            return Err(Error::new(
                ErrorKind::Conflict,
                "commit a tree that names what was condemned meanwhile",
            ));
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.ledger.state();
        let is_committed = state.holds.get(&self.number).is_some_and(|hold| hold.committed.is_some());
        if !is_committed && let Some(hold) = state.holds.remove(&self.number) {
            state.end(hold);
        }
    }
}

impl From<PackId> for ObjectId {
    fn from(id: PackId) -> Self {
        Self::Pack(id)
    }
}

impl From<NodePackId> for ObjectId {
    fn from(id: NodePackId) -> Self {
        Self::NodePack(id)
    }
}
