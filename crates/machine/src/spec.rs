//! What a machine is told before it starts: `machine.json` in its directory.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};

use blockstore::{CacheOptions, S3Options};
use model::{InstanceId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::metadata::MetadataSpec;

pub(crate) const SPEC_FILE: &str = "machine.json";
/// The version of this form; a machine refuses any other.
pub const SPEC_VERSION: u32 = 1;
const SPEC_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// PCI Express and NVMe disks.
    Nitro,
    /// Conventional PCI and virtio disks.
    Xen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    Bios,
    Uefi,
}

/// How QEMU reaches volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskTransport {
    /// Over shared memory where that can be had, else over NBD.
    #[default]
    Auto,
    Nbd,
    /// Over shared memory, also under an accelerator for which it is not safe: for tests of guests that do not
    /// read code over code.
    VhostUser,
}

/// A snapshot under a volume.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseSpec {
    /// The text form of a `blockstore::Root`.
    pub root: String,
    /// The secret of the root's domain, 64 hexadecimal digits.
    pub domain_secret: String,
}

impl std::fmt::Debug for BaseSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaseSpec").field("root", &self.root).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    pub volume_id: VolumeId,
    /// The volume's own directory, which exists.
    pub directory: PathBuf,
    /// `/dev/xvda` and the like, for the metadata service and messages.
    pub device_name: String,
    /// None for a volume that was made empty.
    pub base: Option<BaseSpec>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleProtocol {
    All,
    Tcp,
    Udp,
    Icmp,
}

/// Traffic that a security group allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSpec {
    pub protocol: RuleProtocol,
    /// Ignored for `all` and `icmp`.
    pub from_port: u16,
    pub to_port: u16,
    /// `10.0.0.0/16`
    pub cidrs: Vec<String>,
}

/// A service of the host that the guest reaches at an address of its own network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostServiceSpec {
    pub guest: SocketAddrV4,
    pub host: SocketAddr,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// `02:1a:2b:3c:4d:5e`
    pub mac: String,
    pub private_ip: Ipv4Addr,
    pub subnet_prefix_len: u8,
    pub gateway: Ipv4Addr,
    pub dns: Vec<Ipv4Addr>,
    pub resolvers: Vec<SocketAddr>,
    /// `ip-10-0-0-5`
    pub hostname: String,
    /// `us-east-1.compute.internal`
    pub domain_name: String,
    pub mtu: u16,
    /// The loopback address of the host at which the guest's ports appear.
    pub public_ip: Option<Ipv4Addr>,
    pub ingress: Vec<RuleSpec>,
    /// None allows everything.
    pub egress: Option<Vec<RuleSpec>>,
    pub host_services: Vec<HostServiceSpec>,
}

/// The whole of `machine.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSpec {
    /// [`SPEC_VERSION`].
    pub version: u32,
    pub instance_id: InstanceId,
    /// Counts the instance's starts; comes back in the status and the exit record.
    pub generation: u32,
    pub instance_type: String,
    pub vcpus: u32,
    pub memory_mib: u32,
    pub platform: Platform,
    pub firmware: Firmware,
    /// The root volume first.
    pub volumes: Vec<VolumeSpec>,
    pub network: Option<NetworkSpec>,
    pub metadata: MetadataSpec,
    #[serde(default)]
    pub disk_transport: DiskTransport,
    /// Root directory of the snapshot store, where it is on this host.
    pub store_directory: PathBuf,
    /// The bucket of the snapshot store, where it is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_bucket: Option<S3Options>,
    /// Where frames of the bucket are kept on this host, for all machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_cache: Option<CacheOptions>,
    /// The QEMU to run; `qemu-system-x86_64` on the search path when absent.
    pub qemu_binary: Option<PathBuf>,
    /// Where the accelerator probe's answer is kept for all machines of the host.
    pub accelerator_cache_file: PathBuf,
    /// How much of the serial console's past is kept on disk, in bytes.
    pub console_bytes_max: u64,
    /// How long a guest may take to power off before it is cut.
    pub stop_deadline_ms: u64,
}

impl MachineSpec {
    /// Writes `machine.json` durably, for its owner's eyes only: it holds domain secrets and the
    /// keys to the bucket. Makes the
    /// directory.
    pub fn write(&self, directory: &Path) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::caused(Kind::Invalid, "encode machine.json", e))?;
        blockstore::durable::write_file(&directory.join(SPEC_FILE), &bytes, 0o600)
            .map_err(|e| Error::io("write machine.json", e))
    }

    pub(crate) fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(SPEC_FILE);
        let len = std::fs::metadata(&path).map_err(|e| Error::io("read machine.json", e))?.len();
        if len > SPEC_BYTES_MAX {
            return Err(Error::new(Kind::Corrupt, "machine.json is larger than any machine needs"));
        }
        let bytes = std::fs::read(&path).map_err(|e| Error::io("read machine.json", e))?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let corrupt = |e| Error::caused(Kind::Corrupt, "parse machine.json", e);
        let Versioned { version } = serde_json::from_slice(bytes).map_err(corrupt)?;
        if version != SPEC_VERSION {
            let context = format!("machine.json has version {version}, this program reads {SPEC_VERSION}");
            return Err(Error::new(Kind::Invalid, context));
        }
        serde_json::from_slice(bytes).map_err(corrupt)
    }
}

impl NetworkSpec {
    pub(crate) fn mac_bytes(&self) -> Result<[u8; 6]> {
        let mut mac = [0; 6];
        hex::decode_to_slice(self.mac.replace(':', ""), &mut mac)
            .map_err(|e| Error::caused(Kind::Invalid, format!("the address {:?}", self.mac), e))?;
        Ok(mac)
    }

    pub(crate) fn to_config(&self) -> Result<network::Config> {
        let service = |s: &HostServiceSpec| network::HostService { guest: s.guest, host: s.host };
        Ok(network::Config {
            mac: self.mac_bytes()?,
            private_ip: self.private_ip,
            subnet_prefix_len: self.subnet_prefix_len,
            gateway: self.gateway,
            dns: self.dns.clone(),
            resolvers: self.resolvers.clone(),
            hostname: self.hostname.clone(),
            domain_name: self.domain_name.clone(),
            mtu: self.mtu,
            public_ip: self.public_ip,
            ingress: rules(&self.ingress)?,
            egress: self.egress.as_deref().map(rules).transpose()?,
            host_services: self.host_services.iter().map(service).collect(),
        })
    }
}

pub(crate) fn rules(specs: &[RuleSpec]) -> Result<Vec<network::Rule>> {
    specs.iter().map(rule).collect()
}

fn rule(spec: &RuleSpec) -> Result<network::Rule> {
    let protocol = match spec.protocol {
        RuleProtocol::All => network::Protocol::All,
        RuleProtocol::Tcp => network::Protocol::Tcp,
        RuleProtocol::Udp => network::Protocol::Udp,
        RuleProtocol::Icmp => network::Protocol::Icmp,
    };
    let cidrs: std::result::Result<_, _> = spec.cidrs.iter().map(|cidr| cidr.parse()).collect();
    let cidrs = cidrs.map_err(|e| Error::caused(Kind::Invalid, "an address range of a rule", e))?;
    Ok(network::Rule { protocol, ports: spec.from_port..=spec.to_port, cidrs })
}
