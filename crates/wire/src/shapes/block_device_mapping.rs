//! Block device mappings of images and launches, as asked for and as reported.

use model::{DeviceSource, SnapshotId, VolumeType};

use crate::query::Presence;
use crate::{FromQuery, ToXml};

/// One entry of a request. Whether its parts fit together is for the operation to say.
#[derive(Debug, Clone, PartialEq, Eq, FromQuery)]
pub struct BlockDeviceMappingRequest {
    pub device_name: Option<String>,
    pub virtual_name: Option<String>,
    /// Takes the device out; overrides everything else in the entry.
    pub no_device: Option<Presence>,
    pub ebs: Option<EbsRequest>,
}

/// The EBS part of a request's entry.
#[derive(Debug, Clone, PartialEq, Eq, FromQuery)]
pub struct EbsRequest {
    pub snapshot_id: Option<SnapshotId>,
    #[query("VolumeSize")]
    pub volume_size_gib: Option<i32>,
    pub volume_type: Option<VolumeType>,
    pub iops: Option<i32>,
    #[query("Throughput")]
    pub throughput_mibps: Option<i32>,
    pub delete_on_termination: Option<bool>,
    pub encrypted: Option<bool>,
    pub kms_key_id: Option<String>,
    pub outpost_arn: Option<String>,
    pub availability_zone: Option<String>,
    pub availability_zone_id: Option<String>,
    #[query("VolumeInitializationRate")]
    pub volume_initialization_rate_mibps: Option<i32>,
    pub ebs_card_index: Option<i32>,
}

/// One entry of a reply.
#[derive(Debug, Clone, PartialEq, Eq, Default, ToXml)]
pub struct BlockDeviceMapping {
    pub device_name: Option<String>,
    pub virtual_name: Option<String>,
    pub no_device: Option<String>,
    pub ebs: Option<Ebs>,
}

/// The EBS part of a reply's entry. The last three keep their capital first letter on the wire:
/// clients ignore the lower-case spelling.
#[derive(Debug, Clone, PartialEq, Eq, Default, ToXml)]
pub struct Ebs {
    pub delete_on_termination: Option<bool>,
    pub iops: Option<u32>,
    pub snapshot_id: Option<SnapshotId>,
    #[xml("volumeSize")]
    pub volume_size_gib: Option<u32>,
    pub volume_type: Option<VolumeType>,
    pub kms_key_id: Option<String>,
    #[xml("throughput")]
    pub throughput_mibps: Option<u32>,
    pub outpost_arn: Option<String>,
    pub availability_zone: Option<String>,
    pub encrypted: Option<bool>,
    #[xml("AvailabilityZoneId")]
    pub availability_zone_id: Option<String>,
    #[xml("VolumeInitializationRate")]
    pub volume_initialization_rate_mibps: Option<u32>,
    #[xml("EbsCardIndex")]
    pub ebs_card_index: Option<u32>,
}

impl From<&model::BlockDeviceMapping> for BlockDeviceMapping {
    fn from(mapping: &model::BlockDeviceMapping) -> Self {
        let device_name = Some(mapping.device_name.clone());
        match &mapping.source {
            DeviceSource::Ebs(ebs) => Self { device_name, ebs: Some(ebs.into()), ..Self::default() },
            DeviceSource::Virtual(name) => {
                Self { device_name, virtual_name: Some(name.clone()), ..Self::default() }
            }
        }
    }
}

impl From<&model::EbsBlockDevice> for Ebs {
    fn from(ebs: &model::EbsBlockDevice) -> Self {
        Self {
            delete_on_termination: Some(ebs.delete_on_termination),
            iops: ebs.iops,
            snapshot_id: ebs.snapshot_id.clone(),
            volume_size_gib: Some(ebs.volume_size_gib),
            volume_type: Some(ebs.volume_type),
            throughput_mibps: ebs.throughput_mibps,
            encrypted: Some(ebs.encrypted),
            ..Self::default()
        }
    }
}
