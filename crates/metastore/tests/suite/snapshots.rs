use std::time::Duration;

use model::{SnapshotOrigin, SnapshotState};

use crate::nouns::snapshot;
use crate::{START, World, account, tokyo, virginia};

pub(crate) async fn snapshots_are_found_by_owner_volume_and_upload(world: World) {
    let mut newer = snapshot(&world.ids, account(1), tokyo());
    newer.start_time = START.plus(Duration::from_secs(1));
    let mut older = snapshot(&world.ids, account(1), tokyo());
    older.volume_id = newer.volume_id.clone();
    let mut upload = snapshot(&world.ids, account(2), virginia());
    upload.origin = SnapshotOrigin::Upload {
        parent_snapshot_id: None,
        parent_root: None,
        timeout_minutes: 60,
        expires: START,
        sealed: false,
    };
    let mut tx = world.write().await;
    for snapshot in [&newer, &older, &upload] {
        tx.snapshot_insert(snapshot).await.unwrap();
    }
    let both = [older.clone(), newer.clone()];
    assert_eq!(tx.snapshots_owned(&account(1), tokyo()).await.unwrap(), both);
    assert_eq!(tx.snapshots_restorable(&account(1), tokyo()).await.unwrap(), both);
    assert_eq!(tx.snapshots_of_volume(&newer.volume_id).await.unwrap(), both);
    assert_eq!(tx.snapshots_owned(&account(1), virginia()).await.unwrap(), []);
    assert_eq!(tx.snapshots_pending_upload().await.unwrap(), [upload.clone()]);
    upload.state = SnapshotState::Completed;
    tx.snapshot_update(&upload).await.unwrap();
    assert_eq!(tx.snapshots_pending_upload().await.unwrap(), []);
    assert_eq!(tx.snapshot_get(&upload.snapshot_id).await.unwrap(), Some(upload));
    assert!(tx.snapshot_delete(&older.snapshot_id).await.unwrap());
    assert!(!tx.snapshot_delete(&older.snapshot_id).await.unwrap());
    assert_eq!(tx.snapshots_owned(&account(1), tokyo()).await.unwrap(), [newer]);
}
