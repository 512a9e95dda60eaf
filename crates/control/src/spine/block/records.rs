//! Rows of blocks whose bytes are durable. All that come while one transaction commits share the next:
//! a commit waits for the disk, and a client puts many blocks at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use model::SnapshotId;
use tokio::sync::oneshot;

use super::cx::BlockCx;
use super::uploads::Writing;
use crate::failure::{BlockFailure, Failure};
use crate::spine::cx::{Asked, Caller, Cx};
use crate::spine::dispatcher::Dispatcher;

#[derive(Debug, Default)]
pub(super) struct Records {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Record>,
    is_served: bool,
}

/// A block that is to be recorded.
#[derive(Debug)]
struct Record {
    caller: Caller,
    action: &'static str,
    snapshot_id: SnapshotId,
    block_index: u32,
    checksum: [u8; 32],
    done: oneshot::Sender<Result<(), BlockFailure>>,
    /// Kept until the row is there, also if the client goes away: nobody may replace the bytes before.
    _writing: Writing,
}

impl BlockCx<'_> {
    /// Records a block whose bytes are durable; the row is durable when this returns.
    pub(crate) async fn record_block(
        &self,
        writing: Writing,
        snapshot_id: &SnapshotId,
        block_index: u32,
        checksum: [u8; 32],
    ) -> Result<(), BlockFailure> {
        let (done, recorded) = oneshot::channel();
        let record = Record {
            caller: self.caller.clone(),
            action: self.action(),
            snapshot_id: snapshot_id.clone(),
            block_index,
            checksum,
            done,
            _writing: writing,
        };
        if self.dispatcher.uploads.records.push(record) {
            // A task of its own: what is recorded for all must not end with one client's connection.
            tokio::spawn(serve(self.dispatcher.clone()));
        }
        recorded.await.map_err(Failure::internal)?
    }
}

impl Records {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True where the caller has to see to it that somebody serves.
    fn push(&self, record: Record) -> bool {
        let mut queue = self.lock();
        queue.waiting.push(record);
        !std::mem::replace(&mut queue.is_served, true)
    }

    /// Everything that waits; with nothing left, the next that comes starts a new server.
    fn take(&self) -> Vec<Record> {
        let mut queue = self.lock();
        queue.is_served = !queue.waiting.is_empty();
        std::mem::take(&mut queue.waiting)
    }
}

/// Should serving panic, those who wait are told, and the next that comes starts anew.
struct Serving<'a>(&'a Records);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = self.0.lock();
            queue.waiting.clear();
            queue.is_served = false;
        }
    }
}

async fn serve(dispatcher: Dispatcher) {
    let _serving = Serving(&dispatcher.uploads.records);
    loop {
        let records = dispatcher.uploads.records.take();
        if records.is_empty() {
            return;
        }
        match dispatcher.record(&records).await {
            Ok(()) => records.into_iter().for_each(|record| drop(record.done.send(Ok(())))),
            // Whose fault it is shows when each is tried alone.
            Err(_) => {
                for record in records {
                    let recorded = dispatcher.record(std::slice::from_ref(&record)).await;
                    drop(record.done.send(recorded));
                }
            }
        }
    }
}

impl Dispatcher {
    /// All of them, or none.
    async fn record(&self, records: &[Record]) -> Result<(), BlockFailure> {
        let mut tx = self.metastore.write().await?;
        for record in records {
            let asked = Asked { action: record.action, query: [0; 32], dry_run: false };
            let mut rows = Cx::new(&mut tx, &record.caller, &self.env, asked);
            let upload = rows.open_upload(&record.snapshot_id).await?;
            rows.commit_point()?.upload_block_put(upload, record.block_index, &record.checksum).await?;
        }
        Ok(tx.commit().await?)
    }
}
