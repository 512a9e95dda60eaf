//! What the host needs to know to start or refresh a machine.

use metastore::Tx;
use model::{Instance, InstanceType, Volume};

use crate::ports::{MachineNetwork, MachineSpec, MachineVolume, VolumeBase, VolumeSpec};
use crate::spine::job::{Io, Stop};

pub(crate) async fn machine_spec(io: &Io, instance: Instance) -> Result<MachineSpec, Stop> {
    let mut tx = io.read().await?;
    let instance_type = InstanceType::find(&instance.instance_type)
        .ok_or_else(|| Stop::give_up("Server.InternalError", "The instance type is no longer known."))?;
    Ok(MachineSpec {
        vcpus: instance_type.vcpus,
        memory_mib: instance_type.memory_mib,
        is_nitro: instance_type.is_nitro(),
        volumes: volumes(&mut tx, &instance).await?,
        network: network(&mut tx, &instance).await?,
        tags: tx.tags_of(instance.instance_id.as_str()).await?,
        instance,
    })
}

/// In the order of the instance's devices, which has the root first.
async fn volumes(tx: &mut Tx, instance: &Instance) -> Result<Vec<MachineVolume>, Stop> {
    let mut volumes = Vec::new();
    for device in &instance.block_devices {
        let volume = tx.volume_get(&device.volume_id).await?;
        let volume =
            volume.ok_or_else(|| Stop::internal(format!("the volume {} is gone", device.volume_id)))?;
        let spec = volume_spec(tx, &volume).await?;
        volumes.push(MachineVolume { volume, device_name: device.device_name.clone(), spec });
    }
    Ok(volumes)
}

pub(crate) async fn volume_spec(tx: &mut Tx, volume: &Volume) -> Result<VolumeSpec, Stop> {
    let base = match (&volume.base_root, &volume.base_domain) {
        (Some(root), Some(domain)) => {
            let row = tx.domain_get(domain).await?;
            let row = row.ok_or_else(|| Stop::internal(format!("the domain {domain} is unknown")))?;
            Some(VolumeBase { root: root.clone(), domain: domain.clone(), secret: row.secret })
        }
        (Some(_) | None, _) => None,
    };
    let size_bytes = u64::from(volume.size_gib) << 30;
    Ok(VolumeSpec { key: volume.volume_id.to_string(), size_bytes, base })
}

async fn network(tx: &mut Tx, instance: &Instance) -> Result<MachineNetwork, Stop> {
    let gone = |what: &str| Stop::internal(format!("the {what} of the instance is gone"));
    let subnet = tx.subnet_get(&instance.network.subnet_id).await?.ok_or_else(|| gone("subnet"))?;
    let vpc = tx.vpc_get(&subnet.vpc_id).await?.ok_or_else(|| gone("VPC"))?;
    let mut security_groups = Vec::new();
    for id in &instance.network.security_group_ids {
        security_groups.extend(tx.security_group_get(id).await?);
    }
    let nth = |cidr: model::CidrV4, offset| cidr.nth(offset).ok_or_else(|| gone("address range"));
    Ok(MachineNetwork {
        gateway: nth(subnet.cidr_block, 1)?,
        dns: nth(vpc.cidr_block, 2)?,
        subnet_cidr: subnet.cidr_block,
        vpc_cidr: vpc.cidr_block,
        security_groups,
    })
}
