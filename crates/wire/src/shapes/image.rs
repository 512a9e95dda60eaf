//! An image, as `DescribeImages` lists it.

use model::image::{Architecture, BootMode, RootDeviceType, VirtualizationType};
use model::{AccountId, ImageId, ImageState, InstanceId, Region, Timestamp};

use super::{BlockDeviceMapping, StateReason, Tag};
use crate::ToXml;

#[derive(Debug, Clone, ToXml)]
pub struct Image {
    pub image_id: ImageId,
    pub image_location: String,
    #[xml("imageState")]
    pub state: ImageState,
    #[xml("imageOwnerId")]
    pub owner_id: AccountId,
    pub creation_date: Timestamp,
    #[xml("isPublic")]
    pub public: bool,
    pub architecture: Architecture,
    pub image_type: &'static str,
    pub kernel_id: Option<String>,
    pub ramdisk_id: Option<String>,
    pub platform: Option<String>,
    pub platform_details: String,
    pub usage_operation: String,
    #[xml("blockDeviceMapping")]
    pub block_device_mappings: Vec<BlockDeviceMapping>,
    pub description: Option<String>,
    pub ena_support: bool,
    /// EC2 says xen of every image, whatever runs it.
    pub hypervisor: &'static str,
    pub name: String,
    pub root_device_name: Option<String>,
    pub root_device_type: RootDeviceType,
    pub sriov_net_support: Option<String>,
    pub state_reason: Option<StateReason>,
    #[xml("tagSet", skip_empty)]
    pub tags: Vec<Tag>,
    pub virtualization_type: VirtualizationType,
    pub boot_mode: Option<BootMode>,
    pub tpm_support: Option<String>,
    pub imds_support: Option<String>,
    pub source_instance_id: Option<InstanceId>,
    pub source_image_id: Option<ImageId>,
    pub source_image_region: Option<Region>,
    pub last_launched_time: Option<Timestamp>,
}

impl Image {
    pub fn of(image: model::Image, tags: &[model::Tag]) -> Self {
        let public = image.is_public();
        Self {
            image_id: image.image_id,
            image_location: image.image_location,
            state: image.state,
            owner_id: image.owner_id,
            creation_date: image.creation_date,
            public,
            architecture: image.architecture,
            image_type: "machine",
            kernel_id: image.kernel_id,
            ramdisk_id: image.ramdisk_id,
            platform: image.platform,
            platform_details: image.platform_details,
            usage_operation: image.usage_operation,
            block_device_mappings: image.block_device_mappings.iter().map(BlockDeviceMapping::from).collect(),
            description: image.description,
            ena_support: image.ena_support,
            hypervisor: "xen",
            name: image.name,
            root_device_name: image.root_device_name,
            root_device_type: image.root_device_type,
            sriov_net_support: image.sriov_net_support,
            state_reason: image.state_reason.as_ref().map(StateReason::from),
            tags: tags.iter().map(Tag::from).collect(),
            virtualization_type: image.virtualization_type,
            boot_mode: image.boot_mode,
            tpm_support: image.tpm_support,
            imds_support: image.imds_support,
            source_instance_id: image.source_instance_id,
            source_image_id: image.source_image_id,
            source_image_region: image.source_image_region,
            last_launched_time: image.last_launched_time,
        }
    }
}
