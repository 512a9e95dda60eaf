//! `RegisterImage`: an image out of snapshots that exist already.

#[cfg(test)]
mod tests;

use model::image::{Architecture, BootMode, RootDeviceType, VirtualizationType};
use model::{BlockDeviceMapping, Code, DeviceSource, Image, ImageId, ImageState, ResourceType};
use wire::shapes::{BlockDeviceMappingRequest, TagSpecification};
use wire::{FromQuery, ToXml};

use super::create_snapshot::check_description;
use crate::failure::Failure;
use crate::rules::block_devices::{check_completed, check_names, resolve_ebs, virtual_device};
use crate::rules::names::check_image_name;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::tags_for;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    name: String,
    description: Option<String>,
    architecture: Option<Architecture>,
    virtualization_type: Option<VirtualizationType>,
    root_device_name: Option<String>,
    #[query("BlockDeviceMapping")]
    block_device_mappings: Vec<BlockDeviceMappingRequest>,
    boot_mode: Option<BootMode>,
    imds_support: Option<String>,
    ena_support: Option<bool>,
    sriov_net_support: Option<String>,
    #[query("TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    image_id: ImageId,
}

const DEFAULT_ROOT_DEVICE: &str = "/dev/sda1";

pub(super) struct RegisterImage;
impl Operation for RegisterImage {
    const ACTION: &'static str = "RegisterImage";
    const ACCESS: Access = Access::Write("ec2:RegisterImage");
    const ERRORS: &'static [Code] = &[
        Code::IncorrectState,
        Code::InvalidAmiNameDuplicate,
        Code::InvalidAmiNameMalformed,
        Code::InvalidBlockDeviceMapping,
        Code::InvalidParameterCombination,
        Code::InvalidParameterDependency,
        Code::InvalidParameterValue,
        Code::InvalidSnapshotNotFound,
        Code::MissingParameter,
        Code::ResourceLimitExceeded,
        Code::UnsupportedOperation,
    ];
    const UNSUPPORTED: &'static [&'static str] =
        &["BillingProduct", "ImageLocation", "KernelId", "RamdiskId", "TpmSupport", "UefiData"];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        check_image_name(&req.name)?;
        check_description(req.description.as_deref())?;
        check_virtualization_type(req)?;
        check_support_flags(req)?;
        let tags = tags_for(&req.tag_specifications, ResourceType::Image)?;
        cx.may_name_image(&req.name).await?;
        let root = req.root_device_name.as_deref().unwrap_or(DEFAULT_ROOT_DEVICE);
        let mappings = mappings(cx, &req.block_device_mappings, root).await?;
        let root_device_name = root_device(root, &mappings)?;
        let creation = cx.may_create(ResourceType::Image, &tags)?;
        let mut write = cx.commit_point()?;
        let image_id = ImageId::generate(write.ids());
        let image = image(write.cx(), req, image_id.clone(), root_device_name, mappings);
        write.image_insert(creation, &image).await?;
        Ok(Response { image_id })
    }
}

/// The API's own default, when the parameter is absent, is paravirtual.
fn check_virtualization_type(req: &Request) -> Result<(), Failure> {
    match req.virtualization_type {
        Some(VirtualizationType::Hvm) => Ok(()),
        Some(VirtualizationType::Paravirtual) | None => {
            Err(Failure::unsupported("VirtualizationType paravirtual (the default: give hvm)"))
        }
    }
}

fn check_support_flags(req: &Request) -> Result<(), Failure> {
    match (req.imds_support.as_deref(), req.sriov_net_support.as_deref()) {
        (None | Some("v2.0"), None | Some("simple")) => Ok(()),
        (Some(other), None | Some("simple")) => {
            Err(Failure::value(format!("Invalid value '{other}' for ImdsSupport (expecting v2.0)")))
        }
        (_, Some(other)) => {
            Err(Failure::value(format!("Invalid value '{other}' for SriovNetSupport (expecting simple)")))
        }
    }
}

async fn mappings(
    cx: &mut Cx<'_>,
    asked: &[BlockDeviceMappingRequest],
    root: &str,
) -> Result<Vec<BlockDeviceMapping>, Failure> {
    check_names(asked)?;
    let mut mappings = Vec::new();
    for entry in asked.iter().filter(|entry| entry.no_device.is_none()) {
        let device_name = entry.device_name.clone().unwrap_or_default();
        let source = source(cx, &device_name, entry, device_name == root).await?;
        mappings.push(BlockDeviceMapping { device_name, source });
    }
    Ok(mappings)
}

async fn source(
    cx: &mut Cx<'_>,
    device_name: &str,
    entry: &BlockDeviceMappingRequest,
    is_root: bool,
) -> Result<DeviceSource, Failure> {
    match (&entry.virtual_name, &entry.ebs) {
        (Some(name), None) => virtual_device(name),
        (None, Some(ebs)) => {
            let snapshot = match &ebs.snapshot_id {
                Some(id) => Some(cx.snapshot(id).await?),
                None => None,
            };
            if let Some(snapshot) = &snapshot {
                check_completed(snapshot)?;
                if ebs.encrypted.is_some() {
                    let message = "the parameter Encrypted cannot be used where a snapshot is given";
                    return Err(Failure::block_device_mapping(message));
                }
            }
            resolve_ebs(device_name, ebs, None, snapshot.as_deref(), is_root).map(DeviceSource::Ebs)
        }
        (Some(_), Some(_)) | (None, None) => Err(Failure::block_device_mapping(format!(
            "The device '{device_name}' needs either Ebs or VirtualName"
        ))),
    }
}

/// The root device must be made of a snapshot.
fn root_device(name: &str, mappings: &[BlockDeviceMapping]) -> Result<String, Failure> {
    if mappings.is_empty() {
        return Err(Failure::missing("BlockDeviceMapping"));
    }
    let root = mappings.iter().find(|mapping| mapping.device_name == name).and_then(BlockDeviceMapping::ebs);
    match root {
        Some(ebs) if ebs.snapshot_id.is_some() && ebs.volume_type.can_boot() => Ok(name.to_owned()),
        Some(ebs) if ebs.snapshot_id.is_some() => Err(Failure::block_device_mapping(format!(
            "A volume of type {} cannot be the root device",
            ebs.volume_type
        ))),
        Some(_) => Err(Failure::block_device_mapping(format!("The root device '{name}' needs a snapshot"))),
        None => Err(Failure::block_device_mapping(format!(
            "Invalid root device: no device '{name}' in the mapping"
        ))),
    }
}

fn image(
    cx: &Cx<'_>,
    req: &Request,
    image_id: ImageId,
    root_device_name: String,
    block_device_mappings: Vec<BlockDeviceMapping>,
) -> Image {
    Image {
        image_id,
        owner_id: cx.account().clone(),
        region: cx.region(),
        name: req.name.clone(),
        description: req.description.clone(),
        image_location: format!("{}/{}", cx.account(), req.name),
        state: ImageState::Available,
        state_reason: None,
        creation_date: cx.now(),
        architecture: req.architecture.unwrap_or(Architecture::I386),
        virtualization_type: VirtualizationType::Hvm,
        root_device_name: Some(root_device_name),
        root_device_type: RootDeviceType::Ebs,
        block_device_mappings,
        boot_mode: req.boot_mode,
        tpm_support: None,
        imds_support: req.imds_support.clone(),
        ena_support: req.ena_support.unwrap_or(false),
        sriov_net_support: req.sriov_net_support.clone(),
        platform: None,
        platform_details: "Linux/UNIX".to_owned(),
        usage_operation: "RunInstances".to_owned(),
        kernel_id: None,
        ramdisk_id: None,
        source_instance_id: None,
        source_image_id: None,
        source_image_region: None,
        launch_permissions: Vec::new(),
        last_launched_time: None,
    }
}
