//! A snapshot, as `DescribeSnapshots` lists it and `CreateSnapshot` answers it.

use model::{AccountId, SnapshotId, SnapshotState, Timestamp, VolumeId};

use super::Tag;
use crate::ToXml;

#[derive(Debug, Clone, ToXml)]
pub struct Snapshot {
    pub snapshot_id: SnapshotId,
    pub volume_id: VolumeId,
    #[xml("status")]
    pub state: SnapshotState,
    #[xml("statusMessage")]
    pub state_message: Option<String>,
    pub start_time: Timestamp,
    pub completion_time: Option<Timestamp>,
    /// With a percent sign.
    pub progress: String,
    pub owner_id: AccountId,
    pub description: String,
    #[xml("volumeSize")]
    pub volume_size_gib: u32,
    pub full_snapshot_size_in_bytes: Option<u64>,
    pub encrypted: bool,
    pub storage_tier: &'static str,
    #[xml("tagSet", skip_empty)]
    pub tags: Vec<Tag>,
}

impl Snapshot {
    pub fn of(snapshot: &model::Snapshot, tags: &[model::Tag]) -> Self {
        Self {
            snapshot_id: snapshot.snapshot_id.clone(),
            volume_id: snapshot.volume_id.clone(),
            state: snapshot.state,
            state_message: snapshot.state_message.clone(),
            start_time: snapshot.start_time,
            completion_time: snapshot.completion_time,
            progress: format!("{}%", snapshot.progress_percent),
            owner_id: snapshot.owner_id.clone(),
            description: snapshot.description.clone(),
            volume_size_gib: snapshot.volume_size_gib,
            full_snapshot_size_in_bytes: snapshot.full_snapshot_size_bytes,
            encrypted: false,
            storage_tier: "standard",
            tags: tags.iter().map(Tag::from).collect(),
        }
    }
}
