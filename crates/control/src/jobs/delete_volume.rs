//! Removes a volume's bytes, once no snapshot is being taken of it.

use std::time::Duration;

use model::{SnapshotState, StateReason, VolumeId};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::spine::job::{Io, Job, JobKey, JobWrite, Next, Stop};

const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeleteVolume {
    volume_id: VolumeId,
}

impl DeleteVolume {
    pub(crate) fn of(volume_id: &VolumeId) -> Self {
        Self { volume_id: volume_id.clone() }
    }
}

pub(crate) enum Outcome {
    StillRead,
    Removed,
}

impl Job for DeleteVolume {
    const KIND: &'static str = "delete_volume";
    type Outcome = Outcome;

    fn key(&self) -> JobKey {
        JobKey::volume(&self.volume_id)
    }

    async fn work(&self, io: &Io) -> Result<Outcome, Stop> {
        let snapshots = io.read().await?.snapshots_of_volume(&self.volume_id).await?;
        if snapshots.iter().any(|snapshot| snapshot.state == SnapshotState::Pending) {
            return Ok(Outcome::StillRead);
        }
        io.host.volume_delete(self.volume_id.as_str()).await?;
        Ok(Outcome::Removed)
    }

    async fn settle(&mut self, write: &mut JobWrite<'_>, done: Outcome) -> Result<Next, Stop> {
        match done {
            Outcome::StillRead => Ok(Next::After(POLL)),
            Outcome::Removed => {
                write.tx.tags_delete_all(self.volume_id.as_str()).await?;
                write.tx.volume_delete(&self.volume_id).await?;
                Ok(Next::Done)
            }
        }
    }

    async fn give_up(&self, _write: &mut JobWrite<'_>, reason: &StateReason) -> Result<(), Failure> {
        tracing::error!(volume = %self.volume_id, reason = reason.message, "a volume's bytes could not be removed");
        Ok(())
    }
}
