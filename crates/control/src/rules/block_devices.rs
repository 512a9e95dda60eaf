//! From a requested block device mapping entry to what the device will be.

use model::{DeviceSource, EbsBlockDevice, Snapshot, SnapshotState, VolumeType};
use wire::shapes::{BlockDeviceMappingRequest, EbsRequest};

use crate::failure::Failure;

/// The type that EC2 takes when a mapping names none.
const DEFAULT_VOLUME_TYPE: VolumeType = VolumeType::Gp2;
const GP3_IOPS_DEFAULT: u32 = 3000;
const GP3_THROUGHPUT_DEFAULT: u32 = 125;
const GP3_THROUGHPUT_RANGE: std::ops::RangeInclusive<u32> = 125..=2000;

/// Device names as EC2 takes them: `/dev/sda1`, `/dev/xvdf`, `xvdb`; no control characters or commas.
fn check_device_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_' || c == '-';
    if !name.is_empty() && name.len() <= 64 && name.chars().all(plain) {
        Ok(())
    } else {
        Err(Failure::block_device_mapping(format!("Invalid device name '{name}'")))
    }
}

/// Every entry names its device, and no device twice.
pub(crate) fn check_names(asked: &[BlockDeviceMappingRequest]) -> Result<(), Failure> {
    for (at, entry) in asked.iter().enumerate() {
        let name =
            entry.device_name.as_deref().ok_or_else(|| Failure::missing("BlockDeviceMapping.DeviceName"))?;
        check_device_name(name)?;
        if asked.iter().skip(at + 1).any(|other| other.device_name.as_deref() == Some(name)) {
            return Err(Failure::block_device_mapping(format!("The device '{name}' is used more than once")));
        }
    }
    Ok(())
}

/// The part of a mapping's `Ebs` that this service cannot act on, refused by name.
pub(crate) fn refuse_unsupported(ebs: &EbsRequest) -> Result<(), Failure> {
    let given = [
        ("Ebs.KmsKeyId", ebs.kms_key_id.is_some()),
        ("Ebs.OutpostArn", ebs.outpost_arn.is_some()),
        ("Ebs.AvailabilityZone", ebs.availability_zone.is_some()),
        ("Ebs.AvailabilityZoneId", ebs.availability_zone_id.is_some()),
        ("Ebs.VolumeInitializationRate", ebs.volume_initialization_rate_mibps.is_some()),
        ("Ebs.EbsCardIndex", ebs.ebs_card_index.is_some_and(|index| index != 0)),
        ("Ebs.Encrypted", ebs.encrypted == Some(true)),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Failure::unsupported(name)),
        None => Ok(()),
    }
}

/// What a request changes of a device that an image already has, or a new device altogether.
pub(crate) fn resolve_ebs(
    device_name: &str,
    asked: &EbsRequest,
    inherited: Option<&EbsBlockDevice>,
    snapshot: Option<&Snapshot>,
    delete_on_termination_default: bool,
) -> Result<EbsBlockDevice, Failure> {
    refuse_unsupported(asked)?;
    let volume_type =
        asked.volume_type.or(inherited.map(|device| device.volume_type)).unwrap_or(DEFAULT_VOLUME_TYPE);
    let same_type = inherited.filter(|device| device.volume_type == volume_type);
    let size = size_gib(device_name, asked, inherited, snapshot)?;
    check_size(volume_type, size)?;
    Ok(EbsBlockDevice {
        snapshot_id: snapshot.map(|snapshot| snapshot.snapshot_id.clone()),
        volume_size_gib: size,
        volume_type,
        iops: iops(volume_type, asked, same_type.and_then(|device| device.iops))?,
        throughput_mibps: throughput(volume_type, asked, same_type.and_then(|d| d.throughput_mibps))?,
        delete_on_termination: asked
            .delete_on_termination
            .or(inherited.map(|device| device.delete_on_termination))
            .unwrap_or(delete_on_termination_default),
        encrypted: false,
    })
}

fn size_gib(
    device_name: &str,
    asked: &EbsRequest,
    inherited: Option<&EbsBlockDevice>,
    snapshot: Option<&Snapshot>,
) -> Result<u32, Failure> {
    let asked_size = asked.volume_size_gib.map(|size| {
        u32::try_from(size)
            .map_err(|_| Failure::value(format!("Invalid volume size '{size}' for {device_name}")))
    });
    let least = snapshot.map_or(0, |snapshot| snapshot.volume_size_gib);
    let Some(size) =
        asked_size.transpose()?.or(inherited.map(|d| d.volume_size_gib)).or(snapshot.map(|_| least))
    else {
        let message = format!("The device '{device_name}' needs a snapshot or a volume size");
        return Err(Failure::block_device_mapping(message));
    };
    match snapshot {
        Some(snapshot) if size < least => Err(Failure::block_device_mapping(format!(
            "Volume of size {size}GB is smaller than snapshot '{}', expect size >= {least}GB",
            snapshot.snapshot_id
        ))),
        Some(_) | None => Ok(size),
    }
}

fn check_size(volume_type: VolumeType, size: u32) -> Result<(), Failure> {
    let (least, most) = volume_type.size_gib_range();
    if (least..=most).contains(&size) {
        Ok(())
    } else {
        Err(Failure::value(format!(
            "Volume of {size}GiB is invalid for volume type {volume_type}; it must be {least} to {most} GiB."
        )))
    }
}

fn iops(volume_type: VolumeType, asked: &EbsRequest, inherited: Option<u32>) -> Result<Option<u32>, Failure> {
    let asked = asked.iops.map(|n| u32::try_from(n).unwrap_or(0));
    let Some((least, most)) = volume_type.iops_range() else {
        return match asked {
            Some(_) => Err(Failure::combination(format!(
                "The parameter iops is not supported for {volume_type} volumes."
            ))),
            None => Ok(None),
        };
    };
    let default = (volume_type == VolumeType::Gp3).then_some(GP3_IOPS_DEFAULT);
    let Some(iops) = asked.or(inherited).or(default) else {
        return Err(Failure::volume_parameter_dependency(format!(
            "The parameter iops must be specified for {volume_type} volumes."
        )));
    };
    if (least..=most).contains(&iops) {
        Ok(Some(iops))
    } else {
        Err(Failure::value(format!(
            "Volume iops of {iops} is invalid for {volume_type}; it must be {least} to {most}."
        )))
    }
}

fn throughput(
    volume_type: VolumeType,
    asked: &EbsRequest,
    inherited: Option<u32>,
) -> Result<Option<u32>, Failure> {
    let asked = asked.throughput_mibps.map(|n| u32::try_from(n).unwrap_or(0));
    if volume_type != VolumeType::Gp3 {
        return match asked {
            Some(_) => {
                Err(Failure::combination("The parameter throughput is only supported for gp3 volumes."))
            }
            None => Ok(None),
        };
    }
    let throughput = asked.or(inherited).unwrap_or(GP3_THROUGHPUT_DEFAULT);
    if GP3_THROUGHPUT_RANGE.contains(&throughput) {
        Ok(Some(throughput))
    } else {
        Err(Failure::value(format!("Throughput of {throughput} is invalid; it must be 125 to 2000 MiB/s.")))
    }
}

/// The snapshot below a device must be whole before anything is made from it.
pub(crate) fn check_completed(snapshot: &Snapshot) -> Result<(), Failure> {
    match snapshot.state {
        SnapshotState::Completed => Ok(()),
        SnapshotState::Pending | SnapshotState::Error => {
            Err(Failure::snapshot_not_completed(&snapshot.snapshot_id))
        }
    }
}

/// `ephemeral0` to `ephemeral23`.
pub(crate) fn virtual_device(name: &str) -> Result<DeviceSource, Failure> {
    let number = name.strip_prefix("ephemeral").and_then(|digits| digits.parse::<u8>().ok());
    match number {
        Some(0..=23) => Ok(DeviceSource::Virtual(name.to_owned())),
        Some(_) | None => Err(Failure::block_device_mapping(format!("Invalid virtual device name '{name}'"))),
    }
}
