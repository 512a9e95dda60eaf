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

#[cfg(test)]
mod tests {
    use testkit::World;

    use super::{DeleteVolume, Job};

    /// A volume that is to go, with a snapshot of it under way.
    async fn scene() -> (World, (model::VolumeId, model::SnapshotId)) {
        let world = World::new().await;
        let id = world.seed_volume(1, None).await;
        world.host.guest_write(id.as_str(), 0, &[7; 4096]);
        let reply = world.call("CreateSnapshot", &[("VolumeId", id.as_str())]).await.ok();
        let mut tx = world.metastore.write().await.unwrap();
        let mut volume = tx.volume_get(&id).await.unwrap().unwrap();
        volume.state = model::VolumeState::Deleting;
        tx.volume_update(&volume).await.unwrap();
        let job = DeleteVolume::of(&id);
        let payload = serde_json::to_string(&job).unwrap();
        assert!(tx.job_enqueue(DeleteVolume::KIND, &job.key().to_string(), &payload).await.unwrap());
        tx.commit().await.unwrap();
        let snapshot = reply.value("snapshotId").parse().unwrap();
        (world, (id, snapshot))
    }

    async fn end(world: &World, (id, snapshot): &(model::VolumeId, model::SnapshotId)) -> String {
        let listed = world.call("DescribeVolumes", &[("VolumeId.1", id.as_str())]).await.error_code();
        let kept = world.snapshot_content(snapshot, 4096).await == [7; 4096];
        format!("{listed} {:?} {kept}", world.host.volume_keys())
    }

    #[tokio::test]
    async fn a_volume_goes_once_its_snapshot_is_stored() {
        let (world, subject) = scene().await;
        world.settle().await;
        assert_eq!(end(&world, &subject).await, "InvalidVolume.NotFound [] true");
    }

    #[tokio::test]
    async fn every_fault_ends_as_the_clean_run() {
        testkit::torture(scene, end).await;
    }
}
