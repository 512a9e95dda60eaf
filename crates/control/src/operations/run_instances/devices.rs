//! The volumes of a launch: the image's mapping with the request's changes.

use model::limits::BLOCK_DEVICES_PER_INSTANCE_MAX;
use model::{BlockDeviceMapping, DeviceSource, EbsBlockDevice, Image};
use wire::shapes::{BlockDeviceMappingRequest, EbsRequest};

use crate::failure::Failure;
use crate::rules::block_devices::{check_completed, check_names, resolve_ebs, virtual_device};
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;

/// One EBS volume to be.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) ebs: EbsBlockDevice,
    pub(super) base: Option<Base>,
}

/// Content that the volume starts with, in whichever account's domain it lies.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) root: String,
    pub(super) domain: String,
}

/// The root device first, then in the image's order, then what the request adds.
pub(super) async fn resolve(
    cx: &mut Cx<'_>,
    image: &Granted<Image>,
    asked: &[BlockDeviceMappingRequest],
) -> Result<Vec<Device>, Failure> {
    check_names(asked)?;
    let mut devices = Vec::new();
    for mapping in &image.block_device_mappings {
        let change = asked.iter().find(|entry| entry.device_name.as_deref() == Some(&mapping.device_name));
        if let Some(device) = from_image(cx, image, mapping, change).await? {
            devices.push(device);
        }
    }
    let in_image = |name: &str| image.block_device_mappings.iter().any(|m| m.device_name == name);
    for entry in asked.iter().filter(|e| e.device_name.as_deref().is_some_and(|name| !in_image(name))) {
        devices.extend(added(cx, entry).await?);
    }
    if devices.len() > BLOCK_DEVICES_PER_INSTANCE_MAX {
        return Err(Failure::block_device_mapping(format!(
            "An instance may have at most {BLOCK_DEVICES_PER_INSTANCE_MAX} volumes"
        )));
    }
    let root = image.root_device_name.as_deref();
    devices.sort_by_key(|device| Some(device.name.as_str()) != root);
    match devices.first() {
        Some(first) if Some(first.name.as_str()) == root => Ok(devices),
        Some(_) | None => Err(Failure::block_device_mapping("The root device cannot be left out")),
    }
}

const NO_CHANGE: EbsRequest = EbsRequest {
    snapshot_id: None,
    volume_size_gib: None,
    volume_type: None,
    iops: None,
    throughput_mibps: None,
    delete_on_termination: None,
    encrypted: None,
    kms_key_id: None,
    outpost_arn: None,
    availability_zone: None,
    availability_zone_id: None,
    volume_initialization_rate_mibps: None,
    ebs_card_index: None,
};

/// None where the request takes the device out, and for instance store, which no type here has.
async fn from_image(
    cx: &mut Cx<'_>,
    image: &Granted<Image>,
    mapping: &BlockDeviceMapping,
    change: Option<&BlockDeviceMappingRequest>,
) -> Result<Option<Device>, Failure> {
    if change.is_some_and(|change| change.no_device.is_some()) {
        return Ok(None);
    }
    let name = &mapping.device_name;
    let DeviceSource::Ebs(inherited) = &mapping.source else {
        return match change.filter(|change| change.ebs.is_some()) {
            Some(change) => added(cx, change).await,
            None => Ok(None),
        };
    };
    let asked = change.and_then(|change| change.ebs.as_ref()).unwrap_or(&NO_CHANGE);
    if asked.snapshot_id.is_some() && asked.snapshot_id != inherited.snapshot_id {
        let is_root = image.root_device_name.as_deref() == Some(name);
        return match change {
            Some(change) if !is_root => added(cx, change).await,
            _ => Err(Failure::block_device_mapping("the snapshot of the root device cannot be changed")),
        };
    }
    let snapshot = match &inherited.snapshot_id {
        Some(id) => Some(cx.snapshot_of_image(image, id).await?),
        None => None,
    };
    if let Some(snapshot) = &snapshot {
        check_completed(snapshot)?;
    }
    let ebs = resolve_ebs(name, asked, Some(inherited), snapshot.as_deref(), true)?;
    Ok(Some(Device { name: name.clone(), ebs, base: snapshot.and_then(|s| base_of(&s)) }))
}

/// A device that only the request names.
async fn added(cx: &mut Cx<'_>, entry: &BlockDeviceMappingRequest) -> Result<Option<Device>, Failure> {
    let name = entry.device_name.clone().unwrap_or_default();
    if entry.no_device.is_some() {
        return Ok(None);
    }
    let Some(asked) = &entry.ebs else {
        let Some(virtual_name) = &entry.virtual_name else {
            return Err(Failure::block_device_mapping(format!(
                "The device '{name}' needs either Ebs or VirtualName"
            )));
        };
        virtual_device(virtual_name)?;
        return Ok(None);
    };
    let snapshot = match &asked.snapshot_id {
        Some(id) => Some(cx.snapshot(id).await?),
        None => None,
    };
    if let Some(snapshot) = &snapshot {
        check_completed(snapshot)?;
    }
    let ebs = resolve_ebs(&name, asked, None, snapshot.as_deref(), false)?;
    Ok(Some(Device { name, ebs, base: snapshot.and_then(|s| base_of(&s)) }))
}

fn base_of(snapshot: &model::Snapshot) -> Option<Base> {
    snapshot.root.clone().map(|root| Base { root, domain: snapshot.domain.clone() })
}
