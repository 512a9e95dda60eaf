//! Snapshots: immutable content of a volume at one moment.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{AccountId, SnapshotId, VolumeId};
use crate::place::Region;
use crate::string_enum;
use crate::volume::VolumeCheckpoint;

string_enum! {
    pub enum SnapshotState {
        Pending = "pending",
        Completed = "completed",
        Error = "error",
    }
}

impl SnapshotState {
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Pending, Self::Completed | Self::Error) => true,
            (Self::Pending | Self::Completed | Self::Error, _) => false,
        }
    }
}

/// Where a snapshot's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotOrigin {
    /// A point in time of a volume of this service. `checkpoint` is the volume's when the snapshot was asked
    /// for: a later one may hold what was written after this moment.
    Volume { checkpoint: Option<VolumeCheckpoint> },
    /// Blocks put by a client through the EBS direct API.
    Upload {
        parent_snapshot_id: Option<SnapshotId>,
        /// The parent's root, which the upload builds upon even when the parent is deleted meanwhile.
        parent_root: Option<String>,
        /// How long the upload may stand still.
        #[serde(default = "upload_timeout_minutes")]
        timeout_minutes: u32,
        /// When it has stood still for that long.
        expires: Timestamp,
        /// Completed by the client: takes no more blocks.
        sealed: bool,
    },
    /// Another snapshot, perhaps of another region.
    Copy { source_snapshot_id: SnapshotId, source_region: Region },
}

/// A snapshot. Source: the EC2 data type `Snapshot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub snapshot_id: SnapshotId,
    pub owner_id: AccountId,
    pub region: Region,
    /// `vol-ffffffff` where there is no volume (uploads and copies).
    pub volume_id: VolumeId,
    pub state: SnapshotState,
    pub state_message: Option<String>,
    pub start_time: Timestamp,
    pub completion_time: Option<Timestamp>,
    pub progress_percent: u8,
    pub description: String,
    pub volume_size_gib: u32,
    /// All blocks of the snapshot, not the increment; known once completed.
    pub full_snapshot_size_bytes: Option<u64>,
    pub origin: SnapshotOrigin,
    /// The storage domain that holds the bytes.
    pub domain: String,
    /// Text form of the snapshot store's root; present when completed.
    pub root: Option<String>,
}

impl Snapshot {
    /// What stands where a snapshot was not taken of a volume: the id that EC2 shows for copies.
    pub fn no_volume() -> VolumeId {
        "vol-ffffffff".parse().expect("the placeholder has the form of an id")
    }
}

/// EC2's default.
const fn upload_timeout_minutes() -> u32 {
    60
}
