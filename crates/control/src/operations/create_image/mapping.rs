//! The new image's mapping: the instance's devices with the request's changes.

use model::{BlockDeviceMapping, DeviceSource, EbsBlockDevice, Instance, SnapshotId, Volume, VolumeId};
use wire::shapes::{BlockDeviceMappingRequest, EbsRequest};

use crate::failure::Failure;
use crate::rules::block_devices::{check_completed, check_names, resolve_ebs, virtual_device};
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;

/// What the image will have, and the volumes of which snapshots are taken for it.
pub(super) struct Devices {
    entries: Vec<(Option<VolumeId>, BlockDeviceMapping)>,
    pub(super) taken: Vec<Granted<Volume>>,
}

impl Devices {
    /// With the snapshots' ids in place.
    pub(super) fn mappings(self, snapshots: &[(VolumeId, SnapshotId)]) -> Vec<BlockDeviceMapping> {
        let with_snapshot = |(volume, mut mapping): (Option<VolumeId>, BlockDeviceMapping)| {
            let snapshot = snapshots.iter().find(|(id, _)| Some(id) == volume.as_ref());
            if let (DeviceSource::Ebs(ebs), Some((_, snapshot))) = (&mut mapping.source, snapshot) {
                ebs.snapshot_id = Some(snapshot.clone());
            }
            mapping
        };
        self.entries.into_iter().map(with_snapshot).collect()
    }
}

pub(super) async fn devices(
    cx: &mut Cx<'_>,
    instance: &Granted<Instance>,
    asked: &[BlockDeviceMappingRequest],
) -> Result<Devices, Failure> {
    check_names(asked)?;
    let mut devices = Devices { entries: Vec::new(), taken: Vec::new() };
    for device in &instance.block_devices {
        let change = asked.iter().find(|entry| entry.device_name.as_deref() == Some(&device.device_name));
        if change.is_some_and(|change| change.no_device.is_some()) {
            if device.device_name == instance.root_device_name {
                return Err(Failure::block_device_mapping("The root device cannot be left out"));
            }
            continue;
        }
        let volume = cx.volume(&device.volume_id).await?;
        let asked = change.and_then(|change| change.ebs.as_ref());
        let delete_on_termination =
            changed_flag(&device.device_name, asked)?.unwrap_or(device.delete_on_termination);
        let mapping = mapping_of(&device.device_name, &volume, delete_on_termination);
        devices.entries.push((Some(device.volume_id.clone()), mapping));
        devices.taken.push(volume);
    }
    let has = |name: &str| instance.block_devices.iter().any(|device| device.device_name == name);
    for entry in asked.iter().filter(|e| e.no_device.is_none()) {
        let name = entry.device_name.as_deref().unwrap_or_default();
        if !has(name) {
            devices.entries.push((None, added(cx, name, entry).await?));
        }
    }
    Ok(devices)
}

/// Of a device that the instance has, only the flag may be changed.
fn changed_flag(name: &str, asked: Option<&EbsRequest>) -> Result<Option<bool>, Failure> {
    let Some(asked) = asked else { return Ok(None) };
    let others = asked.snapshot_id.is_some()
        || asked.volume_size_gib.is_some()
        || asked.volume_type.is_some()
        || asked.iops.is_some()
        || asked.throughput_mibps.is_some()
        || asked.encrypted.is_some()
        || asked.kms_key_id.is_some();
    if others {
        return Err(Failure::block_device_mapping(format!(
            "Of the device '{name}', which the instance has, only DeleteOnTermination can be changed"
        )));
    }
    Ok(asked.delete_on_termination)
}

fn mapping_of(name: &str, volume: &Volume, delete_on_termination: bool) -> BlockDeviceMapping {
    BlockDeviceMapping {
        device_name: name.to_owned(),
        source: DeviceSource::Ebs(EbsBlockDevice {
            snapshot_id: None,
            volume_size_gib: volume.size_gib,
            volume_type: volume.volume_type,
            iops: volume.iops,
            throughput_mibps: volume.throughput_mibps,
            delete_on_termination,
            encrypted: false,
        }),
    }
}

/// A device that only the image will have.
async fn added(
    cx: &mut Cx<'_>,
    name: &str,
    entry: &BlockDeviceMappingRequest,
) -> Result<BlockDeviceMapping, Failure> {
    let source = match (&entry.virtual_name, &entry.ebs) {
        (Some(virtual_name), None) => virtual_device(virtual_name)?,
        (None, Some(ebs)) => {
            let snapshot = match &ebs.snapshot_id {
                Some(id) => Some(cx.snapshot(id).await?),
                None => None,
            };
            if let Some(snapshot) = &snapshot {
                check_completed(snapshot)?;
            }
            DeviceSource::Ebs(resolve_ebs(name, ebs, None, snapshot.as_deref(), false)?)
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Failure::block_device_mapping(format!(
                "The device '{name}' needs either Ebs or VirtualName"
            )));
        }
    };
    Ok(BlockDeviceMapping { device_name: name.to_owned(), source })
}
