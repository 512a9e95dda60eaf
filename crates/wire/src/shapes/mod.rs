//! Structures that many operations share, under their EC2 names. One file, one shape.

pub mod attribute_value;
pub mod block_device_mapping;
pub mod filter;
pub mod image;
pub mod ingress_permissions;
pub mod instance;
pub mod instance_state_change;
pub mod instance_type;
pub mod ip_permission;
pub mod key_pair;
pub mod security_group;
pub mod security_group_rule;
pub mod snapshot;
pub mod state_reason;
pub mod subnet;
pub mod tag;
pub mod tag_specification;
pub mod volume;
pub mod vpc;

pub use attribute_value::AttributeValue;
pub use block_device_mapping::{BlockDeviceMapping, BlockDeviceMappingRequest, Ebs, EbsRequest};
pub use filter::Filter;
pub use image::Image;
pub use ingress_permissions::IngressPermissions;
pub use instance::{Instance, InstanceState, Reservation};
pub use instance_state_change::InstanceStateChange;
pub use instance_type::InstanceTypeInfo;
pub use ip_permission::{IpPermission, IpRange, Ipv6Range, UserIdGroupPair};
pub use key_pair::KeyPair;
pub use security_group::{SecurityGroup, security_group_arn};
pub use security_group_rule::{RevokedSecurityGroupRule, SecurityGroupRule};
pub use snapshot::Snapshot;
pub use state_reason::StateReason;
pub use subnet::Subnet;
pub use tag::{Tag, TagKey};
pub use tag_specification::TagSpecification;
pub use volume::{Attachment, Volume};
pub use vpc::Vpc;

#[cfg(test)]
mod tests;
