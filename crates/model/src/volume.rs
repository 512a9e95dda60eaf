//! Volumes: writable block devices made from a snapshot or from nothing.

use serde::{Deserialize, Serialize};

use crate::block_device::VolumeType;
use crate::clock::Timestamp;
use crate::ids::{AccountId, InstanceId, SnapshotId, VolumeId};
use crate::place::AvailabilityZone;
use crate::string_enum;

string_enum! {
    pub enum VolumeState {
        Creating = "creating",
        Available = "available",
        InUse = "in-use",
        Deleting = "deleting",
        Deleted = "deleted",
        Error = "error",
    }
}

impl VolumeState {
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Creating, Self::Available | Self::InUse | Self::Error | Self::Deleting)
            | (Self::Available, Self::InUse | Self::Deleting)
            | (Self::InUse, Self::Available | Self::Deleting)
            | (Self::Error, Self::Deleting)
            | (Self::Deleting, Self::Deleted) => true,
            (
                Self::Creating | Self::Available | Self::InUse | Self::Deleting | Self::Deleted | Self::Error,
                _,
            ) => false,
        }
    }
}

string_enum! {
    pub enum AttachmentState {
        Attaching = "attaching",
        Attached = "attached",
        Detaching = "detaching",
        Detached = "detached",
    }
}

/// The use of a volume by one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeAttachment {
    pub instance_id: InstanceId,
    pub device: String,
    pub state: AttachmentState,
    pub attach_time: Timestamp,
    pub delete_on_termination: bool,
}

/// The newest completed snapshot of a volume: what the next one builds upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeCheckpoint {
    pub snapshot_id: SnapshotId,
    pub root: String,
}

/// A volume. Source: the EC2 data type `Volume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub volume_id: VolumeId,
    pub owner_id: AccountId,
    pub availability_zone: AvailabilityZone,
    pub size_gib: u32,
    pub snapshot_id: Option<SnapshotId>,
    pub volume_type: VolumeType,
    pub iops: Option<u32>,
    pub throughput_mibps: Option<u32>,
    pub state: VolumeState,
    pub create_time: Timestamp,
    pub attachment: Option<VolumeAttachment>,
    /// Root of the snapshot that the volume was made from; None for an empty volume.
    pub base_root: Option<String>,
    /// The domain of `base_root`, which may belong to the account that shared the image.
    pub base_domain: Option<String>,
    pub checkpoint: Option<VolumeCheckpoint>,
}
