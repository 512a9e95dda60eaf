//! Instances: running (or stopped) machines launched from an image.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{
    AccountId, AttachmentId, ImageId, InstanceId, NetworkInterfaceId, ReservationId, SecurityGroupId,
    SubnetId, VolumeId, VpcId,
};
use crate::image::{Architecture, BootMode, RootDeviceType, StateReason, VirtualizationType};
use crate::place::{AvailabilityZone, Region};
use crate::string_enum;

string_enum! {
    pub enum InstanceState {
        Pending = "pending",
        Running = "running",
        ShuttingDown = "shutting-down",
        Terminated = "terminated",
        Stopping = "stopping",
        Stopped = "stopped",
    }
}

impl InstanceState {
    /// The number that goes with the name in `instanceState`.
    pub const fn code(self) -> u16 {
        match self {
            Self::Pending => 0,
            Self::Running => 16,
            Self::ShuttingDown => 32,
            Self::Terminated => 48,
            Self::Stopping => 64,
            Self::Stopped => 80,
        }
    }

    /// Invariant: no way down passes through `pending`, because the waiters of every SDK fail on it.
    pub const fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Pending, Self::Running | Self::ShuttingDown | Self::Terminated | Self::Stopping)
            | (Self::Running, Self::Stopping | Self::ShuttingDown)
            | (Self::Stopping, Self::Stopped | Self::ShuttingDown)
            | (Self::Stopped, Self::Pending | Self::ShuttingDown | Self::Terminated)
            | (Self::ShuttingDown, Self::Terminated) => true,
            (
                Self::Pending
                | Self::Running
                | Self::Stopping
                | Self::Stopped
                | Self::ShuttingDown
                | Self::Terminated,
                _,
            ) => false,
        }
    }
}

string_enum! {
    pub enum ShutdownBehavior {
        Stop = "stop",
        Terminate = "terminate",
    }
}

string_enum! {
    pub enum HttpTokens {
        Optional = "optional",
        Required = "required",
    }
}

/// How the metadata service of one instance behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataOptions {
    pub http_endpoint_enabled: bool,
    pub http_tokens: HttpTokens,
    /// 1 to 64.
    pub http_put_response_hop_limit: u8,
    pub instance_metadata_tags_enabled: bool,
}

/// One EBS device of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceBlockDevice {
    pub device_name: String,
    pub volume_id: VolumeId,
    pub attach_time: Timestamp,
    pub delete_on_termination: bool,
}

/// The primary network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceNetwork {
    pub network_interface_id: NetworkInterfaceId,
    pub attachment_id: AttachmentId,
    pub vpc_id: VpcId,
    pub subnet_id: SubnetId,
    pub private_ip: Ipv4Addr,
    /// The host's loopback address that leads to this instance; None when stopped.
    pub public_ip: Option<Ipv4Addr>,
    pub mac: String,
    pub security_group_ids: Vec<SecurityGroupId>,
}

/// What the host last reported about the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineHealth {
    /// When the guest first showed life (a console byte or a DHCP lease).
    pub reachable_since: Option<Timestamp>,
    /// `accel=tcg` and the like, for the console and support.
    pub accelerator: Option<String>,
}

/// An instance. Source: the EC2 data type `Instance`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub instance_id: InstanceId,
    pub reservation_id: ReservationId,
    pub owner_id: AccountId,
    pub availability_zone: AvailabilityZone,
    pub image_id: ImageId,
    pub instance_type: String,
    pub state: InstanceState,
    pub state_reason: Option<StateReason>,
    /// EC2's `reason`: `User initiated (2026-11-21 10:00:00 GMT)`.
    pub state_transition_reason: String,
    pub launch_time: Timestamp,
    pub ami_launch_index: u32,
    pub client_token: Option<String>,
    pub key_name: Option<String>,
    /// The key pair's public half in OpenSSH form, as it was at launch.
    pub public_key: Option<String>,
    /// Base64, as EC2 keeps it.
    pub user_data: Option<String>,
    pub network: InstanceNetwork,
    pub block_devices: Vec<InstanceBlockDevice>,
    pub root_device_name: String,
    pub root_device_type: RootDeviceType,
    pub architecture: Architecture,
    pub virtualization_type: VirtualizationType,
    /// As the image declares it.
    pub boot_mode: Option<BootMode>,
    /// The firmware that the machine really gets.
    pub current_boot_mode: BootMode,
    pub ena_support: bool,
    pub sriov_net_support: Option<String>,
    pub tpm_support: Option<String>,
    pub platform: Option<String>,
    pub platform_details: String,
    pub usage_operation: String,
    pub metadata_options: MetadataOptions,
    pub instance_initiated_shutdown_behavior: ShutdownBehavior,
    pub disable_api_termination: bool,
    pub disable_api_stop: bool,
    pub ebs_optimized: bool,
    pub monitoring_enabled: bool,
    /// Counts starts: names what each start leaves outside, so that a late worker of an earlier one is told apart.
    pub generation: u32,
    pub health: MachineHealth,
    /// The image being made of this instance, while its machine is down for that: nobody else starts it.
    #[serde(default)]
    pub imaging: Option<ImageId>,
    /// The way down is pulling the plug.
    #[serde(default)]
    pub shutdown_forced: bool,
    pub terminated_at: Option<Timestamp>,
}

impl Instance {
    /// The name that resolves to the private address inside the VPC: `ip-172-31-0-4.ec2.internal` in
    /// us-east-1, with the region's name elsewhere.
    pub fn private_dns_name(&self) -> String {
        format!("{}.{}", self.host_name(), private_domain(self.availability_zone.region))
    }

    /// The guest's own name for itself: `ip-172-31-0-4`.
    pub fn host_name(&self) -> String {
        format!("ip-{}", self.network.private_ip.to_string().replace('.', "-"))
    }
}

/// The domain of private names in a region.
pub fn private_domain(region: Region) -> String {
    match region.as_str() {
        "us-east-1" => "ec2.internal".to_owned(),
        other => format!("{other}.compute.internal"),
    }
}
