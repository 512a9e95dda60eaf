//! The nouns of the service, their ids, states and limits: pure data and pure rules.
//!
//! Refuses to know: storage, wire formats, async, IO. Time and randomness are traits here, with
//! the only real implementations beside them.

pub mod account;
pub mod block_device;
pub mod clock;
pub mod code;
pub mod id_gen;
pub mod ids;
pub mod image;
pub mod instance;
pub mod instance_type;
pub mod key_pair;
pub mod limits;
pub mod place;
pub mod snapshot;
mod string_enum;
pub mod tag;
pub mod volume;
pub mod vpc;

pub use account::{AccessKey, Account};
pub use block_device::{BlockDeviceMapping, DeviceSource, EbsBlockDevice, VolumeType};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use code::{Code, Fault};
pub use id_gen::{IdGen, OsIdGen, SeededIdGen};
pub use ids::{
    AccountId, AttachmentId, ImageId, InstanceId, KeyPairId, NetworkInterfaceId, ReservationId,
    SecurityGroupId, SecurityGroupRuleId, SnapshotId, SubnetId, VolumeId, VpcId,
};
pub use image::{Image, ImageState, LaunchPermission, StateReason};
pub use instance::{Instance, InstanceState};
pub use instance_type::InstanceType;
pub use key_pair::KeyPair;
pub use place::{AvailabilityZone, Region};
pub use snapshot::{Snapshot, SnapshotOrigin, SnapshotState};
pub use tag::{ResourceType, Tag};
pub use volume::{Volume, VolumeState};
pub use vpc::{CidrV4, RulePeer, SecurityGroup, SecurityGroupRule, Subnet, Vpc};
