//! `snapshots`.

use model::{AccountId, Region, Snapshot, SnapshotId, SnapshotOrigin, SnapshotState, VolumeId};

use crate::Tx;
use crate::engine::Value;
use crate::error::Result;
use crate::noun::Noun;

const UPLOAD: &str = "upload";

impl Noun for Snapshot {
    const TABLE: &'static str = "snapshots";
    const KEY: &'static str = "snapshot_id";
    const COLUMNS: &'static [&'static str] =
        &["owner_id", "region", "volume_id", "state", "origin", "start_time"];

    fn key(&self) -> &str {
        self.snapshot_id.as_str()
    }

    fn columns(&self) -> Vec<Value> {
        let origin = match self.origin {
            SnapshotOrigin::Volume { .. } => "volume",
            SnapshotOrigin::Upload { .. } => UPLOAD,
            SnapshotOrigin::Copy { .. } => "copy",
        };
        vec![
            self.owner_id.as_str().into(),
            self.region.into(),
            self.volume_id.as_str().into(),
            self.state.as_str().into(),
            origin.into(),
            self.start_time.into(),
        ]
    }
}

impl Tx {
    pub async fn snapshot_insert(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.noun_insert(snapshot).await
    }

    pub async fn snapshot_get(&mut self, id: &SnapshotId) -> Result<Option<Snapshot>> {
        self.noun_get(id.as_str()).await
    }

    /// Replaces the whole noun; `NotFound` when there is none.
    pub async fn snapshot_update(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.noun_update(snapshot).await
    }

    /// False when there was none.
    pub async fn snapshot_delete(&mut self, id: &SnapshotId) -> Result<bool> {
        self.noun_delete::<Snapshot>(id.as_str()).await
    }

    /// The owner's snapshots, oldest first.
    pub async fn snapshots_owned(&mut self, account: &AccountId, region: Region) -> Result<Vec<Snapshot>> {
        let condition = "owner_id = $1 AND region = $2 ORDER BY start_time, snapshot_id";
        self.nouns_where(condition, &[account.as_str().into(), region.into()]).await
    }

    /// The snapshots that an account may make volumes from: its own. Oldest first.
    pub async fn snapshots_restorable(
        &mut self,
        account: &AccountId,
        region: Region,
    ) -> Result<Vec<Snapshot>> {
        self.snapshots_owned(account, region).await
    }

    /// The snapshots of any account after `after` in the order of ids, at most `limit`.
    pub async fn snapshots_page(&mut self, after: &str, limit: u32) -> Result<Vec<Snapshot>> {
        let condition = "snapshot_id > $1 ORDER BY snapshot_id LIMIT $2";
        self.nouns_where(condition, &[after.into(), i64::from(limit).into()]).await
    }

    /// The snapshots taken of a volume, oldest first.
    pub async fn snapshots_of_volume(&mut self, volume: &VolumeId) -> Result<Vec<Snapshot>> {
        let condition = "volume_id = $1 ORDER BY start_time, snapshot_id";
        self.nouns_where(condition, &[volume.as_str().into()]).await
    }

    /// The snapshots of any account in a state, oldest first.
    pub async fn snapshots_in_state(&mut self, state: SnapshotState) -> Result<Vec<Snapshot>> {
        self.nouns_where("state = $1 ORDER BY start_time, snapshot_id", &[state.as_str().into()]).await
    }

    /// Uploads of any account that are not completed, oldest first.
    pub async fn snapshots_pending_upload(&mut self) -> Result<Vec<Snapshot>> {
        let condition = "state = $1 AND origin = $2 ORDER BY start_time, snapshot_id";
        self.nouns_where(condition, &[SnapshotState::Pending.as_str().into(), UPLOAD.into()]).await
    }
}
