//! Structures that many operations share, under their EC2 names. One file, one shape.

pub mod attribute_value;
pub mod block_device_mapping;
pub mod filter;
pub mod image;
pub mod instance;
pub mod instance_state_change;
pub mod snapshot;
pub mod state_reason;
pub mod tag;
pub mod tag_specification;

pub use attribute_value::AttributeValue;
pub use block_device_mapping::{BlockDeviceMapping, BlockDeviceMappingRequest, Ebs, EbsRequest};
pub use filter::Filter;
pub use image::Image;
pub use instance::{Instance, InstanceState, Reservation};
pub use instance_state_change::InstanceStateChange;
pub use snapshot::Snapshot;
pub use state_reason::StateReason;
pub use tag::{Tag, TagKey};
pub use tag_specification::TagSpecification;

#[cfg(test)]
mod tests;
