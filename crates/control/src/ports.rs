//! The one port of the control plane: the host that keeps volumes and runs machines.
//!
//! Every call is idempotent: jobs repeat them after a crash.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use model::{Instance, InstanceId, SecurityGroup, StateReason, Tag, Timestamp, Volume};

/// What the caller of a port can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostErrorKind {
    /// The volume, freeze or machine is not there.
    NotFound,
    /// It may work later: no space, no free process, a machine that does not answer.
    Unavailable,
    /// It will not work by repeating: damaged data, an unusable QEMU.
    Failed,
}

#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct HostError {
    pub kind: HostErrorKind,
    /// What was being done, and for `Failed` why it cannot be: shown in state reasons.
    pub context: String,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub type HostResult<'a, T> = BoxFuture<'a, Result<T, HostError>>;

/// What a volume is made from. `key` names its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    pub key: String,
    pub size_bytes: u64,
    pub base: Option<VolumeBase>,
}

/// The snapshot below a volume, and the domain that can read it.
#[derive(Clone, PartialEq, Eq)]
pub struct VolumeBase {
    pub root: String,
    pub domain: String,
    pub secret: [u8; 32],
}

impl fmt::Debug for VolumeBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeBase")
            .field("root", &self.root)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

/// A run of changed bytes of a frozen volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrozenExtent {
    pub offset_bytes: u64,
    pub len_bytes: u64,
    /// Discarded or written with zeros: nothing to read.
    pub is_zero: bool,
}

/// Everything that a machine needs to start.
#[derive(Debug, Clone)]
pub struct MachineSpec {
    pub instance: Instance,
    pub vcpus: u32,
    pub memory_mib: u32,
    /// NVMe disks and UEFI-capable board, or the older para-virtual kind.
    pub is_nitro: bool,
    /// In the order of the instance's block devices, the root device first.
    pub volumes: Vec<MachineVolume>,
    pub network: MachineNetwork,
    /// Shown by the metadata service when the instance's options allow it.
    pub tags: Vec<Tag>,
}

#[derive(Debug, Clone)]
pub struct MachineVolume {
    pub volume: Volume,
    pub device_name: String,
    pub spec: VolumeSpec,
}

#[derive(Debug, Clone)]
pub struct MachineNetwork {
    pub subnet_cidr: model::CidrV4,
    pub vpc_cidr: model::CidrV4,
    pub gateway: Ipv4Addr,
    pub dns: Ipv4Addr,
    pub security_groups: Vec<SecurityGroup>,
}

/// How a machine is to go down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Press the power button, pull the plug after the deadline.
    Graceful { deadline: Duration },
    /// Pull the plug.
    Force,
}

/// What a look at a machine shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineStatus {
    /// Never started here, or forgotten.
    Absent,
    Starting,
    Running {
        reachable_since: Option<Timestamp>,
        accelerator: String,
    },
    Stopping,
    /// The process is gone; the record it left tells why.
    Exited {
        cause: ExitCause,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitCause {
    /// The guest switched itself off.
    GuestShutdown,
    /// We asked for it.
    Stopped,
    /// QEMU or its supervisor died, or never came up.
    Crashed(StateReason),
}

/// The host. Implemented by the server over machine processes, and by the tests' world in memory.
pub trait Host: Send + Sync + fmt::Debug {
    /// Makes the volume in constant time, whatever its size.
    fn volume_create(&self, spec: VolumeSpec) -> HostResult<'_, ()>;
    /// Removes the volume's bytes. A volume that is not there is already removed.
    fn volume_delete<'a>(&'a self, key: &'a str) -> HostResult<'a, ()>;
    /// Writes to a volume that no machine has; durable when it returns.
    fn volume_write<'a>(&'a self, key: &'a str, offset_bytes: u64, data: Bytes) -> HostResult<'a, ()>;
    /// Fixes the volume's content under a name, while a machine may go on writing.
    fn volume_freeze<'a>(&'a self, key: &'a str, freeze: &'a str) -> HostResult<'a, ()>;
    /// Fixes the content of an instance's volumes at one instant: pairs of a volume's key and a name.
    fn volumes_freeze<'a>(&'a self, freezes: &'a [(&'a str, &'a str)]) -> HostResult<'a, ()>;
    /// What was written up to `freeze`, after the freeze `since` if that is given, in ascending order.
    /// Whole 512-byte sectors.
    fn frozen_extents<'a>(
        &'a self,
        key: &'a str,
        freeze: &'a str,
        since: Option<&'a str>,
    ) -> HostResult<'a, Vec<FrozenExtent>>;
    /// Bytes of a frozen extent or of a part of one. Called very often: implementations keep the layer open.
    fn frozen_read<'a>(
        &'a self,
        key: &'a str,
        freeze: &'a str,
        extent: FrozenExtent,
    ) -> HostResult<'a, Bytes>;
    /// The frozen content will not be read again; the name stays known as the lower end of a difference.
    fn freeze_release<'a>(&'a self, key: &'a str, freeze: &'a str) -> HostResult<'a, ()>;

    /// Starts the machine of this generation, or finds that it or a later one was started: each
    /// generation has one life.
    fn machine_start(&self, spec: MachineSpec) -> HostResult<'_, ()>;
    fn machine_status<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, MachineStatus>;
    /// Asks the machine of this generation to go down; `machine_status` tells when it has. One of
    /// another generation is left alone: a worker that comes late must not end the next life.
    fn machine_stop<'a>(&'a self, id: &'a InstanceId, generation: u32, how: Shutdown) -> HostResult<'a, ()>;
    fn machine_reboot<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, ()>;
    /// New rules or tags for a running machine; nothing to do where none runs.
    fn machine_refresh(&self, spec: MachineSpec) -> HostResult<'_, ()>;
    /// Removes what a dead machine left (sockets, logs, records).
    fn machine_forget<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, ()>;
    /// The last bytes of the serial console and when they were written.
    fn console_output<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, Option<(Timestamp, Vec<u8>)>>;
}
