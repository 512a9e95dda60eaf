//! What outlives a process: the objects, the volumes' directories, and the model beside them.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use blockstore::Root;
use tempfile::TempDir;

use crate::disk::SimDisk;
use crate::model::{Content, Disk, Snapshot, Snapshots};
use crate::sim::{Death, Sim};
use crate::store::SimStore;

/// Volumes that are written to at once.
const SLOTS: usize = 3;
pub(crate) const BLOCK: usize = 4096;
/// Where a tree gets its second leaf.
const LEAF: usize = 4 << 20;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) sim: Arc<Sim>,
    pub(crate) objects: SimStore,
    pub(crate) slots: Vec<RefCell<Slot>>,
    pub(crate) snapshots: RefCell<Snapshots>,
    /// Operations that are left to do.
    pub(crate) budget: Cell<usize>,
    /// Numbers that are used once.
    next: Cell<u64>,
    dirs: TempDir,
}

/// A volume, and what the model knows of it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: u64,
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<SimDisk>,
    pub(crate) model: Disk,
    pub(crate) base: Option<Root>,
    /// Which domain its snapshots go to.
    pub(crate) domain: usize,
    /// Frozen and not yet published, oldest first.
    pub(crate) layers: Vec<Layer>,
    /// The last published layer and its root, on which the next builds.
    pub(crate) checkpoint: Option<(String, Root)>,
    /// Whether the last death took what was not synced.
    pub(crate) was_cut: bool,
}

/// A moment that was frozen, or may have been.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) key: String,
    pub(crate) content: Content,
    /// Whether the freeze was answered.
    pub(crate) is_certain: bool,
}

impl World {
    pub(crate) fn new(sim: Arc<Sim>, operations: usize) -> Self {
        // In memory where there is such a place.
        let dirs = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let world = Self {
            objects: SimStore::new(&sim),
            slots: Vec::new(),
            snapshots: RefCell::default(),
            budget: Cell::new(operations),
            next: Cell::new(0),
            dirs: dirs.expect("there is a place for temporary files"),
            sim,
        };
        let slots = (0..SLOTS).map(|_| RefCell::new(world.empty_slot())).collect();
        Self { slots, ..world }
    }

    pub(crate) fn number(&self) -> u64 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    pub(crate) fn take_operation(&self) -> bool {
        let left = self.budget.get();
        self.budget.set(left.saturating_sub(1));
        left > 0
    }

    /// A volume of zeros.
    pub(crate) fn empty_slot(&self) -> Slot {
        let blocks = 8 + self.sim.index(24);
        let beyond_a_leaf = if self.sim.one_in(6) { LEAF } else { 0 };
        self.slot(vec![0; beyond_a_leaf + blocks * BLOCK], None, 0)
    }

    /// A volume that begins as a snapshot, and may be larger.
    pub(crate) fn restored_slot(&self, snapshot: &Snapshot) -> Slot {
        let mut content = snapshot.content.to_vec();
        content.resize(content.len() + self.sim.index(3) * BLOCK, 0);
        self.slot(content, Some(snapshot.root.clone()), snapshot.domain)
    }

    fn slot(&self, content: Vec<u8>, base: Option<Root>, domain: usize) -> Slot {
        let id = self.number();
        let dir = self.dir(id);
        Slot {
            id,
            disk: SimDisk::new(&self.sim, &dir),
            dir,
            model: Disk::new(content),
            base,
            domain,
            layers: Vec::new(),
            checkpoint: None,
            was_cut: false,
        }
    }

    fn dir(&self, volume: u64) -> PathBuf {
        self.dirs.path().join(format!("{volume}-{}", self.number()))
    }

    /// After a death: what the next process finds.
    pub(crate) fn revive(&self, death: Death) {
        for slot in &self.slots {
            let mut slot = slot.borrow_mut();
            let dir = self.dir(slot.id);
            slot.disk.revive(death, &dir);
            // After a failed sync the next owner keeps only what was surely synced.
            slot.was_cut |= death == Death::PowerCut || dir.join("poisoned").exists();
            remove(&slot.dir);
            slot.dir = dir;
        }
    }

    /// Hours may go by. Whatever was on its way has arrived by then.
    pub(crate) fn rest(&self) {
        if self.sim.one_in(2) {
            self.objects.deliver_all();
            self.sim.rest(Duration::from_mins(self.sim.below(600)));
        }
    }

    /// Every root that the model still needs.
    pub(crate) fn roots(&self) -> Vec<Root> {
        let snapshots = self.snapshots.borrow();
        let published =
            snapshots.values().filter(|snapshot| !snapshot.is_deleted).map(|snapshot| &snapshot.root);
        let mut roots: Vec<Root> = published.cloned().collect();
        for slot in &self.slots {
            let slot = slot.borrow();
            roots.extend(slot.base.iter().chain(slot.checkpoint.iter().map(|(_, root)| root)).cloned());
        }
        roots
    }

    pub(crate) fn disks(&self) -> Vec<Arc<SimDisk>> {
        self.slots.iter().map(|slot| Arc::clone(&slot.borrow().disk)).collect()
    }

    /// A snapshot that may be read, by chance.
    pub(crate) fn any_snapshot(&self) -> Option<(String, Snapshot)> {
        let snapshots = self.snapshots.borrow();
        let alive: Vec<_> = snapshots.iter().filter(|(_, snapshot)| !snapshot.is_deleted).collect();
        let chosen = alive.get(self.sim.index(alive.len()))?;
        Some((chosen.0.clone(), chosen.1.clone()))
    }

    pub(crate) fn publish(&self, key: &str, content: &Content, domain: usize, root: Root) {
        let snapshot = Snapshot { content: Rc::clone(content), domain, root, is_deleted: false };
        self.snapshots.borrow_mut().insert(key.to_owned(), snapshot);
    }
}

/// Takes a directory away; the next life has another.
pub(crate) fn remove(dir: &Path) {
    drop(std::fs::remove_dir_all(dir));
}
