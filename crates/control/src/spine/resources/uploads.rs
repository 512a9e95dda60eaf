//! Uploads: snapshots that a client fills block by block, and the blocks that it has put so far.

use std::time::Duration;

use model::{Code, Snapshot, SnapshotId, SnapshotOrigin, SnapshotState};
use sha2::{Digest, Sha256};

use super::super::cx::Cx;
use super::super::granted::Granted;
use super::super::write::Write;
use crate::failure::{BlockFailure, Failure};

/// Checksums that are read at once.
const PAGE: u32 = 10_000;

/// A block that comes sooner after the one before does not move the upload's end of patience.
const EXPIRY_STEP: Duration = Duration::from_mins(1);

impl Cx<'_> {
    /// The caller's upload, if it still takes blocks.
    pub(crate) async fn open_upload(&mut self, id: &SnapshotId) -> Result<Granted<Snapshot>, BlockFailure> {
        let snapshot = self.upload(id).await?;
        match &snapshot.origin {
            SnapshotOrigin::Upload { sealed: false, .. } => Ok(snapshot),
            SnapshotOrigin::Upload { .. } | SnapshotOrigin::Volume { .. } | SnapshotOrigin::Copy { .. } => {
                Err(BlockFailure::upload_sealed(id))
            }
        }
    }

    /// The caller's upload, if it is there and still takes blocks.
    pub(crate) async fn upload_if_open(
        &mut self,
        id: &SnapshotId,
    ) -> Result<Option<Granted<Snapshot>>, Failure> {
        match self.open_upload(id).await {
            Ok(upload) => Ok(Some(upload)),
            Err(BlockFailure::Fault(_)) => Ok(None),
            Err(BlockFailure::Failure(failure)) if failure.code == Code::InvalidSnapshotNotFound => Ok(None),
            Err(BlockFailure::Failure(failure)) => Err(failure),
        }
    }

    /// The caller's upload, sealed or not, unless it has failed.
    pub(crate) async fn upload(&mut self, id: &SnapshotId) -> Result<Granted<Snapshot>, BlockFailure> {
        let snapshot = self.snapshot(id).await?;
        if !matches!(snapshot.origin, SnapshotOrigin::Upload { .. }) {
            return Err(BlockFailure::not_an_upload(id));
        }
        if snapshot.state == SnapshotState::Error {
            return Err(BlockFailure::upload_failed(
                id,
                snapshot.state_message.as_deref().unwrap_or_default(),
            ));
        }
        Ok(snapshot)
    }

    /// The checksum of a block that was put.
    pub(crate) async fn upload_block(
        &mut self,
        upload: &Granted<Snapshot>,
        block_index: u32,
    ) -> Result<Option<[u8; 32]>, Failure> {
        Ok(self.tx.upload_block_get(&upload.snapshot_id, block_index).await?)
    }

    pub(crate) async fn upload_blocks_count(&mut self, upload: &Granted<Snapshot>) -> Result<u64, Failure> {
        Ok(self.tx.upload_blocks_count(&upload.snapshot_id).await?)
    }

    /// SHA-256 over the checksums of all blocks in the order of their indexes.
    pub(crate) async fn upload_blocks_digest(
        &mut self,
        upload: &Granted<Snapshot>,
    ) -> Result<[u8; 32], Failure> {
        let mut digest = Sha256::new();
        let mut next = Some(0);
        while let Some(first) = next {
            let page = self.tx.upload_blocks_page(&upload.snapshot_id, first, PAGE).await?;
            for (_, checksum) in &page {
                digest.update(checksum);
            }
            next = page.last().and_then(|(index, _)| index.checked_add(1));
        }
        Ok(digest.finalize().into())
    }
}

impl Write<'_, '_> {
    /// Records a block whose bytes are durable, and that the upload is alive.
    pub(crate) async fn upload_block_put(
        &mut self,
        upload: Granted<Snapshot>,
        block_index: u32,
        checksum: &[u8; 32],
    ) -> Result<(), Failure> {
        self.cx.tx.upload_block_put(&upload.snapshot_id, block_index, checksum).await?;
        let SnapshotOrigin::Upload { timeout_minutes, expires, .. } = upload.origin else { return Ok(()) };
        let new_expires = self.now().plus(Duration::from_mins(u64::from(timeout_minutes)));
        if new_expires.since(expires) < EXPIRY_STEP {
            return Ok(());
        }
        let alive = upload.with(|snapshot| {
            if let SnapshotOrigin::Upload { expires, .. } = &mut snapshot.origin {
                *expires = new_expires;
            }
        });
        self.snapshot_update(alive).await
    }

    /// No block comes any more: the content is what was put until now.
    pub(crate) async fn upload_seal(&mut self, upload: Granted<Snapshot>) -> Result<(), Failure> {
        let sealed = upload.with(|snapshot| {
            if let SnapshotOrigin::Upload { sealed, .. } = &mut snapshot.origin {
                *sealed = true;
            }
        });
        self.snapshot_update(sealed).await
    }

    /// The block's bytes are about to be replaced: until that is done it counts as not put.
    pub(crate) async fn upload_block_delete(
        &mut self,
        upload: &Granted<Snapshot>,
        block_index: u32,
    ) -> Result<(), Failure> {
        Ok(self.cx.tx.upload_block_delete(&upload.snapshot_id, block_index).await?)
    }
}
