//! Removes what a deleted snapshot leaves: staged blocks, a frozen layer, its object in the store.
//! Its blocks are the store's collector's.

use std::time::Duration;

use model::{Snapshot, SnapshotId, SnapshotOrigin, StateReason, VolumeId};
use serde::{Deserialize, Serialize};

use super::upload_snapshot::UploadSnapshot;
use crate::failure::Failure;
use crate::ports::{HostError, HostErrorKind};
use crate::spine::job::{Io, Job, JobKey, JobWrite, Next, Stop};

const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeleteSnapshot {
    snapshot_id: SnapshotId,
    domain: String,
    /// The volume that was frozen for it; None for uploads and copies.
    frozen_volume_id: Option<VolumeId>,
}

impl DeleteSnapshot {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let frozen_volume_id = match snapshot.origin {
            SnapshotOrigin::Volume { .. } => Some(snapshot.volume_id.clone()),
            SnapshotOrigin::Upload { .. } | SnapshotOrigin::Copy { .. } => None,
        };
        Self { snapshot_id: snapshot.snapshot_id.clone(), domain: snapshot.domain.clone(), frozen_volume_id }
    }
}

pub(crate) enum Outcome {
    /// The job that makes the snapshot has not noticed yet that it is gone.
    StillMade,
    Removed,
}

impl Job for DeleteSnapshot {
    const KIND: &'static str = "delete_snapshot";
    type Outcome = Outcome;

    fn key(&self) -> JobKey {
        JobKey::snapshot(&self.snapshot_id).aside("delete")
    }

    async fn work(&self, io: &Io) -> Result<Outcome, Stop> {
        let mut tx = io.read().await?;
        let maker = UploadSnapshot::of(&self.snapshot_id).key().to_string();
        if tx.job_by_key(&maker).await?.is_some() {
            return Ok(Outcome::StillMade);
        }
        let domain = io.domain(&mut tx, &self.domain).await?;
        tx.rollback().await;
        let id = self.snapshot_id.as_str();
        match &self.frozen_volume_id {
            Some(volume_id) => gone_is_fine(io.host.freeze_release(volume_id.as_str(), id).await)?,
            None => io.host.volume_delete(id).await?,
        }
        domain.retract(id).await?;
        Ok(Outcome::Removed)
    }

    async fn settle(&mut self, write: &mut JobWrite<'_>, done: Outcome) -> Result<Next, Stop> {
        match done {
            Outcome::StillMade => Ok(Next::After(POLL)),
            Outcome::Removed => {
                write.tx.upload_blocks_delete_all(&self.snapshot_id).await?;
                Ok(Next::Done)
            }
        }
    }

    async fn give_up(&self, _write: &mut JobWrite<'_>, reason: &StateReason) -> Result<(), Failure> {
        tracing::error!(snapshot = %self.snapshot_id, reason = reason.message, "a deleted snapshot left something behind");
        Ok(())
    }
}

/// A volume that was deleted holds no frozen layer either.
fn gone_is_fine(released: Result<(), HostError>) -> Result<(), HostError> {
    match released {
        Err(error) if error.kind == HostErrorKind::NotFound => Ok(()),
        released => released,
    }
}
