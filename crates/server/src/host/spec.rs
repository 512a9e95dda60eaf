//! From the control plane's specification of a machine to the file that the machine process reads.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use control::ports::{HostError, HostErrorKind, MachineSpec, MachineVolume};
use machine::{
    BaseSpec, DiskTransport, Firmware, MetadataSpec, NamedGroup, NetworkSpec, Platform, RuleProtocol,
    RuleSpec, SPEC_VERSION, VolumeSpec,
};
use model::image::BootMode;
use model::{RulePeer, SecurityGroupRule};

use crate::bucket::Bucket;

const CONSOLE_BYTES_MAX: u64 = 1 << 20;
const STOP_DEADLINE_MS: u64 = 120_000;
/// That of networks inside EC2.
const MTU_BYTES: u16 = 9001;
const SPEC_FILE: &str = "machine.json";
const RESOLVERS_FILE: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;

/// Where things are on this host, and how they are reached.
pub(super) struct Directories<'a> {
    pub(super) store: &'a Path,
    pub(super) bucket: Option<&'a Bucket>,
    pub(super) accelerator_cache_file: &'a Path,
    pub(super) disk_transport: DiskTransport,
    pub(super) volume: &'a (dyn Fn(&str) -> Result<PathBuf, HostError> + Sync),
}

pub(super) fn machine_spec(
    spec: &MachineSpec,
    directories: &Directories<'_>,
) -> Result<machine::MachineSpec, HostError> {
    let instance = &spec.instance;
    let volumes =
        spec.volumes.iter().map(|volume| volume_spec(volume, directories)).collect::<Result<_, _>>()?;
    Ok(machine::MachineSpec {
        version: SPEC_VERSION,
        instance_id: instance.instance_id.clone(),
        generation: instance.generation,
        instance_type: instance.instance_type.clone(),
        vcpus: spec.vcpus,
        memory_mib: spec.memory_mib,
        platform: if spec.is_nitro { Platform::Nitro } else { Platform::Xen },
        firmware: match instance.current_boot_mode {
            BootMode::LegacyBios => Firmware::Bios,
            BootMode::Uefi | BootMode::UefiPreferred => Firmware::Uefi,
        },
        volumes,
        network: Some(network(spec)),
        metadata: metadata(spec),
        disk_transport: directories.disk_transport,
        store_directory: directories.store.to_owned(),
        store_bucket: directories.bucket.map(|bucket| bucket.place.clone()),
        store_cache: directories.bucket.map(|bucket| bucket.cache.clone()),
        qemu_binary: None,
        accelerator_cache_file: directories.accelerator_cache_file.to_owned(),
        console_bytes_max: CONSOLE_BYTES_MAX,
        stop_deadline_ms: STOP_DEADLINE_MS,
    })
}

/// Whether a machine was told that this volume is one of its own.
pub(super) async fn names_volume(dir: &Path, key: &str) -> Result<bool, HostError> {
    let (path, key) = (dir.join(SPEC_FILE), key.to_owned());
    super::blocking(move || {
        let bytes = std::fs::read(path).map_err(|e| super::io_error("read a machine's specification", e))?;
        let spec: machine::MachineSpec = serde_json::from_slice(&bytes)
            .map_err(|e| super::error(HostErrorKind::Failed, "read a machine's specification", e))?;
        Ok(spec.volumes.iter().any(|volume| volume.volume_id.as_str() == key))
    })
    .await
}

fn volume_spec(volume: &MachineVolume, directories: &Directories<'_>) -> Result<VolumeSpec, HostError> {
    Ok(VolumeSpec {
        volume_id: volume.volume.volume_id.clone(),
        directory: (directories.volume)(&volume.spec.key)?,
        device_name: volume.device_name.clone(),
        base: volume
            .spec
            .base
            .as_ref()
            .map(|base| BaseSpec { root: base.root.clone(), domain_secret: hex::encode(base.secret) }),
    })
}

fn network(spec: &MachineSpec) -> NetworkSpec {
    let network = &spec.instance.network;
    NetworkSpec {
        mac: network.mac.clone(),
        private_ip: network.private_ip,
        subnet_prefix_len: spec.network.subnet_cidr.prefix_len,
        gateway: spec.network.gateway,
        dns: vec![spec.network.dns],
        resolvers: resolvers(&std::fs::read_to_string(RESOLVERS_FILE).unwrap_or_default()),
        hostname: spec.instance.host_name(),
        domain_name: model::instance::private_domain(spec.instance.availability_zone.region),
        mtu: MTU_BYTES,
        public_ip: network.public_ip,
        ingress: ingress(spec),
        egress: Some(egress(spec)),
        host_services: Vec::new(),
    }
}

pub(super) fn ingress(spec: &MachineSpec) -> Vec<RuleSpec> {
    spec.network.security_groups.iter().flat_map(|group| &group.ingress).filter_map(rule).collect()
}

pub(super) fn egress(spec: &MachineSpec) -> Vec<RuleSpec> {
    spec.network.security_groups.iter().flat_map(|group| &group.egress).filter_map(rule).collect()
}

/// None for rules about peers or protocols that a guest here never meets: other guests of a group, IPv6, GRE.
fn rule(rule: &SecurityGroupRule) -> Option<RuleSpec> {
    let RulePeer::CidrV4(cidr) = &rule.peer else { return None };
    let protocol = match rule.protocol.as_str() {
        "-1" => RuleProtocol::All,
        "tcp" | "6" => RuleProtocol::Tcp,
        "udp" | "17" => RuleProtocol::Udp,
        "icmp" | "1" => RuleProtocol::Icmp,
        _ => return None,
    };
    let port = |port: Option<i32>, open: u16| port.and_then(|port| u16::try_from(port).ok()).unwrap_or(open);
    Some(RuleSpec {
        protocol,
        from_port: port(rule.from_port, 0),
        to_port: port(rule.to_port, u16::MAX),
        cidrs: vec![cidr.to_string()],
    })
}

/// The name servers of the host's resolver configuration.
fn resolvers(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        Some(SocketAddr::new(words.next()?.parse::<IpAddr>().ok()?, DNS_PORT))
    };
    text.lines().filter_map(address).collect()
}

pub(super) fn metadata(spec: &MachineSpec) -> MetadataSpec {
    let instance = &spec.instance;
    let network = &instance.network;
    let key_pair = instance.key_name.clone().zip(instance.public_key.clone());
    let others = instance.block_devices.iter().map(|device| &device.device_name);
    MetadataSpec {
        options: instance.metadata_options.clone(),
        account_id: instance.owner_id.clone(),
        instance_id: instance.instance_id.clone(),
        reservation_id: instance.reservation_id.clone(),
        image_id: instance.image_id.clone(),
        ami_launch_index: instance.ami_launch_index,
        instance_type: instance.instance_type.clone(),
        architecture: instance.architecture.to_string(),
        launch_time: instance.launch_time,
        availability_zone: instance.availability_zone,
        private_dns_name: instance.private_dns_name(),
        private_ip: network.private_ip,
        public_dns_name: None,
        public_ip: network.public_ip,
        mac: network.mac.clone(),
        network_interface_id: network.network_interface_id.clone(),
        vpc_id: network.vpc_id.clone(),
        vpc_cidr_block: spec.network.vpc_cidr.to_string(),
        subnet_id: network.subnet_id.clone(),
        subnet_cidr_block: spec.network.subnet_cidr.to_string(),
        security_groups: spec
            .network
            .security_groups
            .iter()
            .map(|group| NamedGroup {
                group_id: group.group_id.clone(),
                group_name: group.group_name.clone(),
            })
            .collect(),
        key_pair,
        root_device_name: instance.root_device_name.clone(),
        data_device_names: others.filter(|name| **name != instance.root_device_name).cloned().collect(),
        ephemeral_device_names: BTreeMap::new(),
        user_data: instance.user_data.clone(),
        tags: spec.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule_of(protocol: &str, ports: (Option<i32>, Option<i32>), peer: RulePeer) -> Option<RuleSpec> {
        let rule_id = "sgr-0123456789abcdef0".parse().unwrap();
        let (from_port, to_port) = ports;
        let protocol = protocol.to_owned();
        rule(&SecurityGroupRule { rule_id, protocol, from_port, to_port, peer, description: None })
    }

    #[test]
    fn rules_keep_their_ports_and_say_nothing_about_strangers() {
        let any = || RulePeer::CidrV4("0.0.0.0/0".parse().unwrap());
        let ssh = rule_of("tcp", (Some(22), Some(22)), any()).unwrap();
        assert_eq!((ssh.protocol, ssh.from_port, ssh.to_port), (RuleProtocol::Tcp, 22, 22));
        let all = rule_of("-1", (None, None), any()).unwrap();
        assert_eq!((all.protocol, all.from_port, all.to_port), (RuleProtocol::All, 0, u16::MAX));
        assert_eq!(rule_of("47", (None, None), any()), None);
        assert_eq!(rule_of("tcp", (Some(22), Some(22)), RulePeer::CidrV6("::/0".into())), None);
    }

    #[test]
    fn resolvers_are_read_from_the_host() {
        let text = "# c\nsearch example\nnameserver 192.0.2.53\nnameserver 2001:db8::1\nnameserver x\n";
        assert_eq!(resolvers(text), ["192.0.2.53:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()]);
    }
}
