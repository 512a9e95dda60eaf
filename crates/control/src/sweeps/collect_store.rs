//! Collects the snapshot store: a round an hour for each domain, a small piece of it at a time. After a round that
//! deleted something, packs of which little is left are rewritten.

use std::time::Duration;

use blockstore::{Policy, Repack};

use crate::failure::Failure;
use crate::spine::collection::live_roots;
use crate::spine::job::Io;
use crate::spine::runner::Sweep;

const ROUND_EVERY: Duration = Duration::from_hours(1);
/// Of blocks that are moved at once: a fraction of a second's work.
const REPACKED_BYTES: u64 = 64 << 20;

pub(super) const SWEEP: Sweep =
    Sweep { name: "collect_store", every: Duration::from_secs(2), run: |io| Box::pin(sweep(io)) };

async fn sweep(io: &Io) -> Result<bool, Failure> {
    let rows = io.metastore.read().await?.domains().await?;
    for row in rows {
        let domain = io.store.domain(&row.domain, &blockstore::DomainSecret::new(row.secret));
        let is_due = domain.is_collection_due(ROUND_EVERY);
        if !is_due && !domain.is_repack_due() {
            continue;
        }
        let read_at = io.env.clock.now();
        let roots = live_roots(&io.metastore).await?;
        let policy = Policy::default();
        let done = if is_due {
            domain.collect(&roots, read_at, &policy).await.map(drop)
        } else {
            domain.repack(&roots, read_at, &policy, Repack::Sparse, REPACKED_BYTES).await.map(drop)
        };
        if let Err(error) = done {
            let cause = crate::spine::dispatcher::chain(&error);
            tracing::error!(domain = row.domain, cause, "the store of a domain could not be collected");
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use blockstore::{DomainSecret, Root};
    use model::{SnapshotId, SnapshotOrigin};
    use testkit::World;

    use crate::spine::collection::live_roots;

    async fn sweep_for(world: &World, hours: u32) {
        for _ in 0..hours * 4 {
            world.runner.sweep_once().await.unwrap();
            world.clock.advance(Duration::from_mins(15));
        }
    }

    async fn root_of(world: &World, id: &SnapshotId) -> Root {
        let snapshot = world.metastore.read().await.unwrap().snapshot_get(id).await.unwrap().unwrap();
        snapshot.root.unwrap().parse().unwrap()
    }

    async fn is_stored(world: &World, root: &Root) -> bool {
        let row = world.metastore.read().await.unwrap().domain_get(root.domain()).await.unwrap().unwrap();
        let domain = world.store.domain(root.domain(), &DomainSecret::new(row.secret));
        domain.verify(root).await.is_ok()
    }

    #[tokio::test]
    async fn a_deleted_snapshot_is_gone_after_a_day_and_others_and_bases_of_volumes_stay() {
        let world = World::new().await;
        let (kept, gone) = (world.seed_snapshot(1, b"kept").await, world.seed_snapshot(1, b"gone").await);
        let base = world.seed_snapshot(1, b"base").await;
        world.seed_volume(1, Some(&base)).await;
        let roots =
            [root_of(&world, &kept).await, root_of(&world, &gone).await, root_of(&world, &base).await];
        for id in [&gone, &base] {
            world.call("DeleteSnapshot", &[("SnapshotId", id.as_str())]).await.ok();
        }
        world.settle().await;
        sweep_for(&world, 20).await;
        assert!(is_stored(&world, &roots[1]).await, "a day is a day");
        sweep_for(&world, 10).await;
        let mut stored = Vec::new();
        for root in &roots {
            stored.push(is_stored(&world, root).await);
        }
        assert_eq!(stored, [true, false, true]);
    }

    #[tokio::test]
    async fn roots_of_all_rows_are_live_wherever_they_stand() {
        let world = World::new().await;
        let ids = [
            world.seed_snapshot(1, b"0").await,
            world.seed_snapshot(1, b"1").await,
            world.seed_snapshot(1, b"2").await,
            world.seed_snapshot(1, b"3").await,
            world.seed_snapshot(1, b"4").await,
        ];
        let volume = world.seed_volume(1, Some(&ids[1])).await;
        let upload = world.seed_snapshot(1, b"upload").await;
        let taken = world.seed_snapshot(1, b"taken").await;
        let mut roots = Vec::new();
        for id in &ids {
            roots.push(root_of(&world, id).await);
        }
        let mut tx = world.metastore.write().await.unwrap();
        let mut row = tx.volume_get(&volume).await.unwrap().unwrap();
        let checkpoint = |i: usize| model::volume::VolumeCheckpoint {
            snapshot_id: ids[i].clone(),
            root: roots[i].to_string(),
        };
        row.checkpoint = Some(checkpoint(2));
        tx.volume_update(&row).await.unwrap();
        let mut row = tx.snapshot_get(&taken).await.unwrap().unwrap();
        row.origin = SnapshotOrigin::Volume { checkpoint: Some(checkpoint(3)) };
        row.root = None;
        tx.snapshot_update(&row).await.unwrap();
        tx.snapshot_delete(&upload).await.unwrap();
        let payload = format!(r#"{{"step":{{"publish":{{"root":"{}","parent":null}}}}}}"#, roots[4]);
        assert!(tx.job_enqueue("copy_snapshot", "snapshot/x", &payload).await.unwrap());
        for id in &ids[1..] {
            tx.snapshot_delete(id).await.unwrap();
        }
        tx.commit().await.unwrap();
        let live = live_roots(&world.metastore).await.unwrap();
        let live: BTreeSet<String> = live.iter().map(ToString::to_string).collect();
        assert_eq!(live, roots.iter().map(ToString::to_string).collect());
    }
}
