//! Finds volumes that are to go and that no job removes: one that failed for too long is tried again.

use std::time::Duration;

use model::VolumeState;

use crate::failure::Failure;
use crate::jobs::delete_volume::DeleteVolume;
use crate::spine::job::{Io, Job, JobWrite};
use crate::spine::runner::Sweep;

pub(super) const SWEEP: Sweep =
    Sweep { name: "deleting_volumes", every: Duration::from_mins(5), run: |io| Box::pin(sweep(io)) };

async fn sweep(io: &Io) -> Result<bool, Failure> {
    let mut tx = io.metastore.read().await?;
    let mut left = Vec::new();
    for volume in tx.volumes_in_state(VolumeState::Deleting).await? {
        let job = DeleteVolume::of(&volume.volume_id);
        if tx.job_by_key(&job.key().to_string()).await?.is_none() {
            left.push(job);
        }
    }
    tx.rollback().await;
    if left.is_empty() {
        return Ok(false);
    }
    let mut tx = io.metastore.write().await?;
    let mut write = JobWrite::new(&mut tx, &io.env);
    for job in &left {
        write.enqueue(job).await?;
    }
    tx.commit().await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use testkit::World;

    #[tokio::test]
    async fn a_volume_that_no_job_removes_goes_all_the_same() {
        let world = World::new().await;
        let id = world.seed_volume(1, None).await;
        let kept = world.seed_volume(1, None).await;
        let mut tx = world.metastore.write().await.unwrap();
        let mut volume = tx.volume_get(&id).await.unwrap().unwrap();
        volume.state = model::VolumeState::Deleting;
        tx.volume_update(&volume).await.unwrap();
        tx.commit().await.unwrap();
        world.settle().await;
        assert_eq!(world.host.volume_keys(), [kept.to_string()]);
        let listed = world.call("DescribeVolumes", &[]).await.ok();
        assert_eq!(listed.values("volumeId"), [kept.as_str()]);
    }
}
