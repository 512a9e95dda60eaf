//! `CreateImage`: an image of an instance as it is, every volume at one moment.

mod mapping;
#[cfg(test)]
mod tests;

use model::image::BootMode;
use model::{
    Code, Image, ImageId, ImageState, Instance, InstanceId, InstanceState, ResourceType, Snapshot,
    SnapshotId, VolumeId,
};
use wire::shapes::{BlockDeviceMappingRequest, TagSpecification};
use wire::{FromQuery, ToXml};

use super::create_snapshot::{check_description, pending_snapshot};
use crate::failure::Failure;
use crate::jobs::create_image::CreateImage as CreateImageJob;
use crate::rules::names::check_image_name;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::tags_for_each;
use crate::spine::write::Write;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    instance_id: InstanceId,
    name: String,
    description: Option<String>,
    /// Leaves the guest running; what it has not written out is not in the image.
    no_reboot: Option<bool>,
    snapshot_location: Option<String>,
    boot_mode_override: Option<BootMode>,
    #[query("BlockDeviceMapping")]
    block_device_mappings: Vec<BlockDeviceMappingRequest>,
    #[query("TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    image_id: ImageId,
}

pub(super) struct CreateImage;
impl Operation for CreateImage {
    const ACTION: &'static str = "CreateImage";
    const ACCESS: Access = Access::Write("ec2:CreateImage");
    const ERRORS: &'static [Code] = &[
        Code::IncorrectInstanceState,
        Code::InvalidAmiNameDuplicate,
        Code::InvalidAmiNameMalformed,
        Code::InvalidBlockDeviceMapping,
        Code::InvalidInstanceIdNotFound,
        Code::InvalidParameterCombination,
        Code::InvalidParameterValue,
        Code::MissingParameter,
        Code::ResourceLimitExceeded,
        Code::UnsupportedOperation,
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        check_image_name(&req.name)?;
        check_description(req.description.as_deref())?;
        let instance = cx.instance(&req.instance_id).await?;
        check_options(req, &instance)?;
        check_state(&instance)?;
        cx.may_name_image(&req.name).await?;
        let mut tags =
            tags_for_each(&req.tag_specifications, &[ResourceType::Image, ResourceType::Snapshot])?;
        let image_tags = tags.remove(&ResourceType::Image).unwrap_or_default();
        let snapshot_tags = tags.remove(&ResourceType::Snapshot).unwrap_or_default();
        let devices = mapping::devices(cx, &instance, &req.block_device_mappings).await?;
        let creation = cx.may_create(ResourceType::Image, &image_tags)?;
        let mut snapshot_creations = Vec::new();
        for _ in &devices.taken {
            snapshot_creations.push(cx.may_create(ResourceType::Snapshot, &snapshot_tags)?);
        }
        let source_image = cx.image_if_visible(&instance.image_id).await?;
        let mut write = cx.commit_point()?;
        let image_id = ImageId::generate(write.ids());
        let mut snapshots: Vec<(VolumeId, SnapshotId)> = Vec::new();
        for (volume, creation) in devices.taken.iter().zip(snapshot_creations) {
            let description = format!("Created by CreateImage({}) for {image_id}", instance.instance_id);
            let snapshot: Snapshot = pending_snapshot(&mut write, volume, description).await?;
            write.snapshot_insert(creation, &snapshot).await?;
            snapshots.push((volume.volume_id.clone(), snapshot.snapshot_id));
        }
        let image = image(
            &write,
            req,
            image_id.clone(),
            &instance,
            source_image.as_deref(),
            devices.mappings(&snapshots),
        );
        write.image_insert(creation, &image).await?;
        let reboots = instance.state == InstanceState::Running && req.no_reboot != Some(true);
        let job = CreateImageJob::new(&image_id, &instance.instance_id, snapshots, reboots);
        if reboots {
            hold(&mut write, instance, &image_id).await?;
        }
        write.enqueue(&job).await?;
        Ok(Response { image_id })
    }
}

/// Until the job has brought it up again, the machine is nobody else's.
async fn hold(
    write: &mut Write<'_, '_>,
    instance: Granted<Instance>,
    image_id: &ImageId,
) -> Result<(), Failure> {
    write.instance_update(instance.with(|instance| instance.imaging = Some(image_id.clone()))).await
}

fn check_options(req: &Request, instance: &Instance) -> Result<(), Failure> {
    if req.snapshot_location.as_deref().is_some_and(|location| location != "regional") {
        return Err(Failure::unsupported("A SnapshotLocation other than regional"));
    }
    match req.boot_mode_override {
        None => Ok(()),
        Some(BootMode::Uefi) if instance.current_boot_mode == BootMode::Uefi => Ok(()),
        Some(_) => Err(Failure::combination(
            "BootModeOverride can only be uefi, and only for an instance that was booted so",
        )),
    }
}

fn check_state(instance: &Instance) -> Result<(), Failure> {
    if let Some(image_id) = &instance.imaging {
        return Err(Failure::instance_being_imaged(&instance.instance_id, image_id));
    }
    match instance.state {
        InstanceState::Running | InstanceState::Stopped => Ok(()),
        state @ (InstanceState::Pending
        | InstanceState::Stopping
        | InstanceState::ShuttingDown
        | InstanceState::Terminated) => Err(Failure::instance_not_imageable(&instance.instance_id, state)),
    }
}

fn image(
    write: &Write<'_, '_>,
    req: &Request,
    image_id: ImageId,
    instance: &Instance,
    source: Option<&Image>,
    block_device_mappings: Vec<model::BlockDeviceMapping>,
) -> Image {
    Image {
        image_id,
        owner_id: instance.owner_id.clone(),
        region: instance.availability_zone.region,
        name: req.name.clone(),
        description: req.description.clone(),
        image_location: format!("{}/{}", instance.owner_id, req.name),
        state: ImageState::Pending,
        state_reason: None,
        creation_date: write.now(),
        architecture: instance.architecture,
        virtualization_type: instance.virtualization_type,
        root_device_name: Some(instance.root_device_name.clone()),
        root_device_type: instance.root_device_type,
        block_device_mappings,
        boot_mode: req.boot_mode_override.or(instance.boot_mode),
        tpm_support: instance.tpm_support.clone(),
        imds_support: source.and_then(|source| source.imds_support.clone()),
        ena_support: instance.ena_support,
        sriov_net_support: instance.sriov_net_support.clone(),
        platform: instance.platform.clone(),
        platform_details: instance.platform_details.clone(),
        usage_operation: instance.usage_operation.clone(),
        kernel_id: None,
        ramdisk_id: None,
        source_instance_id: Some(instance.instance_id.clone()),
        source_image_id: Some(instance.image_id.clone()),
        source_image_region: Some(instance.availability_zone.region),
        launch_permissions: Vec::new(),
        last_launched_time: None,
    }
}
