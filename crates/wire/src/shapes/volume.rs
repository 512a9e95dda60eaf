//! A volume, as `DescribeVolumes` lists it.

use model::volume::{AttachmentState, VolumeAttachment};
use model::{AvailabilityZone, InstanceId, SnapshotId, Timestamp, VolumeId, VolumeState, VolumeType};

use super::Tag;
use crate::ToXml;

#[derive(Debug, Clone, ToXml)]
pub struct Volume {
    pub volume_id: VolumeId,
    #[xml("size")]
    pub size_gib: u32,
    /// Empty for a volume that began with zeros.
    pub snapshot_id: String,
    pub availability_zone: AvailabilityZone,
    pub availability_zone_id: String,
    #[xml("status")]
    pub state: VolumeState,
    pub create_time: Timestamp,
    #[xml("attachmentSet")]
    pub attachments: Vec<Attachment>,
    #[xml("tagSet", skip_empty)]
    pub tags: Vec<Tag>,
    pub volume_type: VolumeType,
    pub iops: Option<u32>,
    #[xml("throughput")]
    pub throughput_mibps: Option<u32>,
    pub encrypted: bool,
    pub multi_attach_enabled: bool,
}

#[derive(Debug, Clone, ToXml)]
pub struct Attachment {
    pub volume_id: VolumeId,
    pub instance_id: InstanceId,
    pub device: String,
    #[xml("status")]
    pub state: AttachmentState,
    pub attach_time: Timestamp,
    pub delete_on_termination: bool,
}

impl Volume {
    pub fn of(volume: &model::Volume, tags: &[model::Tag]) -> Self {
        let attachment = volume.attachment.as_ref();
        Self {
            volume_id: volume.volume_id.clone(),
            size_gib: volume.size_gib,
            snapshot_id: volume.snapshot_id.as_ref().map(SnapshotId::to_string).unwrap_or_default(),
            availability_zone: volume.availability_zone,
            availability_zone_id: volume.availability_zone.zone_id(),
            state: volume.state,
            create_time: volume.create_time,
            attachments: attachment.map(|held| Attachment::of(volume, held)).into_iter().collect(),
            tags: tags.iter().map(Tag::from).collect(),
            volume_type: volume.volume_type,
            iops: volume.iops,
            throughput_mibps: volume.throughput_mibps,
            encrypted: false,
            multi_attach_enabled: false,
        }
    }
}

impl Attachment {
    pub fn of(volume: &model::Volume, attachment: &VolumeAttachment) -> Self {
        Self {
            volume_id: volume.volume_id.clone(),
            instance_id: attachment.instance_id.clone(),
            device: attachment.device.clone(),
            state: attachment.state,
            attach_time: attachment.attach_time,
            delete_on_termination: attachment.delete_on_termination,
        }
    }
}
