//! Images: the template from which instances are launched.

use serde::{Deserialize, Serialize};

use crate::block_device::BlockDeviceMapping;
use crate::clock::Timestamp;
use crate::ids::{AccountId, ImageId, InstanceId, SnapshotId};
use crate::place::Region;
use crate::string_enum;

string_enum! {
    /// States of an image that clients see.
    pub enum ImageState {
        Pending = "pending",
        Available = "available",
        Failed = "failed",
        Disabled = "disabled",
        Deregistered = "deregistered",
    }
}

impl ImageState {
    /// Whether the state machine has this edge.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Pending, Self::Available | Self::Failed | Self::Deregistered)
            | (Self::Available, Self::Disabled | Self::Deregistered)
            | (Self::Disabled, Self::Available | Self::Deregistered)
            | (Self::Failed, Self::Deregistered) => true,
            (Self::Pending | Self::Available | Self::Failed | Self::Disabled | Self::Deregistered, _) => {
                false
            }
        }
    }
}

string_enum! {
    pub enum Architecture {
        I386 = "i386",
        X86_64 = "x86_64",
        Arm64 = "arm64",
    }
}

string_enum! {
    pub enum VirtualizationType {
        Hvm = "hvm",
        Paravirtual = "paravirtual",
    }
}

string_enum! {
    pub enum RootDeviceType {
        Ebs = "ebs",
        InstanceStore = "instance-store",
    }
}

string_enum! {
    pub enum BootMode {
        LegacyBios = "legacy-bios",
        Uefi = "uefi",
        UefiPreferred = "uefi-preferred",
    }
}

/// Why a resource is in the state it is in, as EC2's `stateReason`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReason {
    pub code: String,
    pub message: String,
}

impl StateReason {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// Who besides the owner may launch an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchPermission {
    /// The group `all`: everybody.
    All,
    Account(AccountId),
}

/// A machine image. Source: the EC2 data type `Image`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub image_id: ImageId,
    pub owner_id: AccountId,
    pub region: Region,
    pub name: String,
    pub description: Option<String>,
    pub image_location: String,
    pub state: ImageState,
    pub state_reason: Option<StateReason>,
    pub creation_date: Timestamp,
    pub architecture: Architecture,
    pub virtualization_type: VirtualizationType,
    pub root_device_name: Option<String>,
    pub root_device_type: RootDeviceType,
    pub block_device_mappings: Vec<BlockDeviceMapping>,
    pub boot_mode: Option<BootMode>,
    /// `v2.0`, or absent.
    pub tpm_support: Option<String>,
    /// `v2.0` makes launches require session tokens, or absent.
    pub imds_support: Option<String>,
    pub ena_support: bool,
    /// `simple`, or absent.
    pub sriov_net_support: Option<String>,
    /// `windows`, or absent.
    pub platform: Option<String>,
    pub platform_details: String,
    pub usage_operation: String,
    pub kernel_id: Option<String>,
    pub ramdisk_id: Option<String>,
    pub source_instance_id: Option<InstanceId>,
    pub source_image_id: Option<ImageId>,
    pub source_image_region: Option<Region>,
    pub launch_permissions: Vec<LaunchPermission>,
    pub last_launched_time: Option<Timestamp>,
}

impl Image {
    pub fn is_public(&self) -> bool {
        self.launch_permissions.contains(&LaunchPermission::All)
    }

    /// The owner, everybody when public, or an account with an explicit permission.
    pub fn may_be_launched_by(&self, account: &AccountId) -> bool {
        self.owner_id == *account
            || self.is_public()
            || self.launch_permissions.contains(&LaunchPermission::Account(account.clone()))
    }

    pub fn snapshot_ids(&self) -> impl Iterator<Item = &SnapshotId> {
        self.block_device_mappings.iter().filter_map(|m| m.ebs()?.snapshot_id.as_ref())
    }
}
