//! The control socket's language: one JSON request a line, one JSON answer a line.

mod server;

use std::net::SocketAddr;

use model::{InstanceId, Timestamp, VolumeId};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};
use crate::metadata::MetadataSpec;
use crate::spec::{RuleSpec, VolumeSpec};

pub(crate) use server::serve;

/// Grows when an older side would misread something.
pub(crate) const PROTOCOL_VERSION: u32 = 1;
/// The longest line either side accepts.
pub(crate) const LINE_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) request: Request,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub(crate) enum Request {
    Status,
    /// Power button, and the plug after the deadline. `force`: the plug at once.
    Stop {
        deadline_ms: Option<u64>,
        force: bool,
    },
    /// Power button and a new start; a reset after the deadline.
    Reboot {
        deadline_ms: u64,
    },
    FreezeVolume {
        volume_id: VolumeId,
        key: String,
    },
    /// All at one instant.
    FreezeVolumes {
        freezes: Vec<VolumeFreeze>,
    },
    ReleaseFreeze {
        volume_id: VolumeId,
        key: String,
    },
    SetIngress {
        rules: Vec<RuleSpec>,
    },
    SetEgress {
        rules: Option<Vec<RuleSpec>>,
    },
    SetMetadata {
        metadata: Box<MetadataSpec>,
    },
    AttachVolume {
        volume: VolumeSpec,
    },
    DetachVolume {
        volume_id: VolumeId,
    },
}

/// A volume, and the key of its frozen layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFreeze {
    pub volume_id: VolumeId,
    pub key: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Done,
    Status(Box<Status>),
    Frozen { seq: u64 },
    FrozenTogether { seqs: Vec<u64> },
    Failed { kind: Kind, message: String },
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Self::Failed { kind: error.kind, message: error.chain() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Volumes open, QEMU starts.
    Starting,
    Running,
    Rebooting,
    /// The guest was asked to power off, or is being cut.
    Stopping,
    /// QEMU has ended; volumes close.
    Ending,
}

/// A port of the guest that is open at the machine's public address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    pub guest_port: u16,
    pub host: SocketAddr,
}

/// What a machine says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub instance_id: InstanceId,
    pub generation: u32,
    pub state: State,
    pub machine_pid: u32,
    pub qemu_pid: Option<u32>,
    /// `kvm` or `tcg`, once chosen.
    pub accelerator: Option<String>,
    pub started_at: Timestamp,
    /// When the guest printed its first byte on the serial console.
    pub first_console_byte_at: Option<Timestamp>,
    pub console_bytes: u64,
    pub guest_panicked: bool,
    pub attached_volumes: Vec<VolumeId>,
    pub forwards: Vec<Forward>,
    /// Network traffic as the instance's own metrics count it.
    pub network_bytes_in: u64,
    pub network_bytes_out: u64,
}
