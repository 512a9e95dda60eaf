//! Who writes to which upload at the moment. Blocks come in many at a time; completion waits until
//! none is under way, so that what it seals is what was acknowledged.
//!
//! Held in memory: one process serves a data directory, and a restart leaves no writer behind.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use model::{AccountId, SnapshotId};
use tokio::sync::{
    Mutex as AsyncMutex, OwnedMutexGuard, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock,
};

use super::records::Records;

/// Blocks whose index is equal modulo this take turns.
const LANES: usize = 64;

/// Entries of finished uploads are dropped when there are more than this.
const KEPT: usize = 1024;

/// The caller is part of the key, so that nobody can hold up another account's upload.
type Key = (AccountId, SnapshotId);

#[derive(Debug, Default)]
pub(crate) struct Uploads {
    active: Mutex<HashMap<Key, Weak<Upload>>>,
    pub(super) records: Records,
}

#[derive(Debug)]
struct Upload {
    gate: Arc<RwLock<()>>,
    lanes: [Arc<AsyncMutex<()>>; LANES],
}

/// Held while a block is written: its upload cannot be completed, nor the same block written.
#[derive(Debug)]
pub(crate) struct Writing {
    _lane: OwnedMutexGuard<()>,
    _gate: OwnedRwLockReadGuard<()>,
    _upload: Arc<Upload>,
}

/// Held while an upload is completed: no block of it is being written.
#[derive(Debug)]
pub(crate) struct Completing {
    _gate: OwnedRwLockWriteGuard<()>,
    _upload: Arc<Upload>,
}

impl Uploads {
    pub(crate) async fn writing(&self, account: &AccountId, id: &SnapshotId, block_index: u32) -> Writing {
        let upload = self.upload(account, id);
        let lane = usize::try_from(block_index).unwrap_or_default() % LANES;
        let lane = upload.lanes.get(lane).map(Arc::clone).unwrap_or_default();
        let lane = lane.lock_owned().await;
        let gate = Arc::clone(&upload.gate).read_owned().await;
        Writing { _lane: lane, _gate: gate, _upload: upload }
    }

    pub(crate) async fn completing(&self, account: &AccountId, id: &SnapshotId) -> Completing {
        let upload = self.upload(account, id);
        let gate = Arc::clone(&upload.gate).write_owned().await;
        Completing { _gate: gate, _upload: upload }
    }

    fn upload(&self, account: &AccountId, id: &SnapshotId) -> Arc<Upload> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (account.clone(), id.clone());
        if let Some(upload) = active.get(&key).and_then(Weak::upgrade) {
            return upload;
        }
        if active.len() >= KEPT {
            active.retain(|_, upload| upload.strong_count() > 0);
        }
        let upload =
            Arc::new(Upload { gate: Arc::default(), lanes: std::array::from_fn(|_| Arc::default()) });
        active.insert(key, Arc::downgrade(&upload));
        upload
    }
}
