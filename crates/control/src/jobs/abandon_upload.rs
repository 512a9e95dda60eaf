//! Gives up an upload that stood still for too long, or whose content could not be stored: the
//! snapshot's state becomes error, and the staged blocks go.

use model::{Snapshot, SnapshotId, SnapshotOrigin, SnapshotState, StateReason, Timestamp};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::spine::job::{Io, Job, JobKey, JobWrite, Next, Stop};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AbandonUpload {
    snapshot_id: SnapshotId,
    step: Step,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Fail,
    Clean,
}

impl AbandonUpload {
    pub(crate) fn of(snapshot_id: &SnapshotId) -> Self {
        Self { snapshot_id: snapshot_id.clone(), step: Step::Fail }
    }
}

impl Job for AbandonUpload {
    const KIND: &'static str = "abandon_upload";
    type Outcome = Step;

    fn key(&self) -> JobKey {
        JobKey::snapshot(&self.snapshot_id).aside("abandon")
    }

    async fn work(&self, io: &Io) -> Result<Step, Stop> {
        if matches!(self.step, Step::Clean) {
            io.host.volume_delete(self.snapshot_id.as_str()).await?;
        }
        Ok(self.step)
    }

    async fn settle(&mut self, write: &mut JobWrite<'_>, done: Step) -> Result<Next, Stop> {
        match done {
            Step::Fail => {
                let Some(mut snapshot) = write.tx.snapshot_get(&self.snapshot_id).await? else {
                    return Ok(Next::Done);
                };
                if has_expired(&snapshot, write.now()) {
                    snapshot.state = SnapshotState::Error;
                    snapshot.state_message =
                        Some("No block came within the timeout of the upload.".to_owned());
                    write.tx.snapshot_update(&snapshot).await?;
                }
                // A client that came back in time goes on.
                if snapshot.state != SnapshotState::Error {
                    return Ok(Next::Done);
                }
                self.step = Step::Clean;
                Ok(Next::Again)
            }
            Step::Clean => {
                write.tx.upload_blocks_delete_all(&self.snapshot_id).await?;
                Ok(Next::Done)
            }
        }
    }

    async fn give_up(&self, _write: &mut JobWrite<'_>, reason: &StateReason) -> Result<(), Failure> {
        tracing::error!(snapshot = %self.snapshot_id, reason = reason.message, "an abandoned upload left its blocks behind");
        Ok(())
    }
}

/// Whether the client has let the upload stand still for longer than it said.
pub(crate) fn has_expired(snapshot: &Snapshot, now: Timestamp) -> bool {
    let is_over =
        matches!(snapshot.origin, SnapshotOrigin::Upload { sealed: false, expires, .. } if expires <= now);
    is_over && snapshot.state == SnapshotState::Pending
}
