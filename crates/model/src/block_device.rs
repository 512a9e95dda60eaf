//! Block device mappings: which devices an image or a launch has, and what each is made of.

use serde::{Deserialize, Serialize};

use crate::ids::SnapshotId;
use crate::string_enum;

string_enum! {
    /// EBS volume types.
    pub enum VolumeType {
        Standard = "standard",
        Io1 = "io1",
        Io2 = "io2",
        Gp2 = "gp2",
        Sc1 = "sc1",
        St1 = "st1",
        Gp3 = "gp3",
    }
}

impl VolumeType {
    /// Smallest and largest size in GiB.
    pub const fn size_gib_range(self) -> (u32, u32) {
        match self {
            Self::Gp2 => (1, 16_384),
            Self::Gp3 => (1, 65_536),
            Self::Io1 => (4, 16_384),
            Self::Io2 => (4, 65_536),
            Self::St1 | Self::Sc1 => (125, 16_384),
            Self::Standard => (1, 1024),
        }
    }

    /// Smallest and largest provisioned IOPS; None where the type takes no IOPS.
    pub const fn iops_range(self) -> Option<(u32, u32)> {
        match self {
            Self::Gp3 => Some((3000, 80_000)),
            Self::Io1 => Some((100, 64_000)),
            Self::Io2 => Some((100, 256_000)),
            Self::Gp2 | Self::St1 | Self::Sc1 | Self::Standard => None,
        }
    }

    /// Throughput-optimised disks cannot hold a root device.
    pub const fn can_boot(self) -> bool {
        !matches!(self, Self::St1 | Self::Sc1)
    }
}

/// One entry of an image's mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDeviceMapping {
    /// As the caller named it, such as `/dev/sda1`.
    pub device_name: String,
    pub source: DeviceSource,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceSource {
    Ebs(EbsBlockDevice),
    /// An instance store volume, `ephemeral0` to `ephemeral23`.
    Virtual(String),
}

/// The EBS part of a mapping entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EbsBlockDevice {
    pub snapshot_id: Option<SnapshotId>,
    pub volume_size_gib: u32,
    pub volume_type: VolumeType,
    pub iops: Option<u32>,
    pub throughput_mibps: Option<u32>,
    pub delete_on_termination: bool,
    pub encrypted: bool,
}

impl BlockDeviceMapping {
    pub fn ebs(&self) -> Option<&EbsBlockDevice> {
        match &self.source {
            DeviceSource::Ebs(ebs) => Some(ebs),
            DeviceSource::Virtual(_) => None,
        }
    }
}
