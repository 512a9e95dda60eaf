//! An instance and its reservation, as launches and `DescribeInstances` give them.

use std::net::Ipv4Addr;

use model::image::{Architecture, BootMode, RootDeviceType, VirtualizationType};
use model::instance::HttpTokens;
use model::{
    AccountId, AttachmentId, AvailabilityZone, ImageId, InstanceId, NetworkInterfaceId, ReservationId,
    SecurityGroup, SecurityGroupId, SubnetId, Timestamp, VolumeId, VpcId,
};

use super::{StateReason, Tag};
use crate::ToXml;

/// Instances of one launch.
#[derive(Debug, Clone, ToXml)]
pub struct Reservation {
    pub reservation_id: ReservationId,
    pub owner_id: AccountId,
    /// Groups of EC2-Classic: always empty.
    #[xml("groupSet")]
    pub groups: Vec<GroupIdentifier>,
    #[xml("instancesSet")]
    pub instances: Vec<Instance>,
}

#[derive(Debug, Clone, ToXml)]
pub struct GroupIdentifier {
    pub group_id: SecurityGroupId,
    pub group_name: String,
}

#[derive(Debug, Clone, Copy, ToXml)]
pub struct InstanceState {
    pub code: u16,
    pub name: model::InstanceState,
}

impl From<model::InstanceState> for InstanceState {
    fn from(state: model::InstanceState) -> Self {
        Self { code: state.code(), name: state }
    }
}

#[derive(Debug, Clone, ToXml)]
pub struct Instance {
    pub instance_id: InstanceId,
    pub image_id: ImageId,
    #[xml("instanceState")]
    pub state: InstanceState,
    /// Empty once terminated, as are the other addresses.
    pub private_dns_name: String,
    #[xml("dnsName")]
    pub public_dns_name: String,
    #[xml("reason")]
    pub state_transition_reason: String,
    pub key_name: Option<String>,
    pub ami_launch_index: u32,
    pub instance_type: String,
    pub launch_time: Timestamp,
    pub placement: Placement,
    pub monitoring: Monitoring,
    pub subnet_id: Option<SubnetId>,
    pub vpc_id: Option<VpcId>,
    pub private_ip_address: Option<Ipv4Addr>,
    #[xml("ipAddress")]
    pub public_ip_address: Option<Ipv4Addr>,
    pub source_dest_check: bool,
    #[xml("groupSet")]
    pub groups: Vec<GroupIdentifier>,
    pub state_reason: Option<StateReason>,
    pub architecture: Architecture,
    pub root_device_type: RootDeviceType,
    pub root_device_name: String,
    #[xml("blockDeviceMapping")]
    pub block_devices: Vec<InstanceBlockDevice>,
    pub virtualization_type: VirtualizationType,
    pub client_token: Option<String>,
    #[xml("tagSet", skip_empty)]
    pub tags: Vec<Tag>,
    pub hypervisor: &'static str,
    #[xml("networkInterfaceSet")]
    pub network_interfaces: Vec<NetworkInterface>,
    pub ebs_optimized: bool,
    pub ena_support: bool,
    pub sriov_net_support: Option<String>,
    pub platform: Option<String>,
    pub platform_details: String,
    pub usage_operation: String,
    pub usage_operation_update_time: Timestamp,
    pub boot_mode: Option<BootMode>,
    pub current_instance_boot_mode: BootMode,
    pub tpm_support: Option<String>,
    pub metadata_options: MetadataOptions,
}

#[derive(Debug, Clone, ToXml)]
pub struct Placement {
    pub availability_zone: AvailabilityZone,
    pub group_name: String,
    pub tenancy: &'static str,
}

#[derive(Debug, Clone, Copy, ToXml)]
pub struct Monitoring {
    pub state: &'static str,
}

#[derive(Debug, Clone, ToXml)]
pub struct InstanceBlockDevice {
    pub device_name: String,
    pub ebs: EbsInstanceBlockDevice,
}

#[derive(Debug, Clone, ToXml)]
pub struct EbsInstanceBlockDevice {
    pub volume_id: VolumeId,
    pub status: &'static str,
    pub attach_time: Timestamp,
    pub delete_on_termination: bool,
}

#[derive(Debug, Clone, ToXml)]
pub struct NetworkInterface {
    pub network_interface_id: NetworkInterfaceId,
    pub subnet_id: SubnetId,
    pub vpc_id: VpcId,
    pub description: String,
    pub owner_id: AccountId,
    pub status: &'static str,
    pub mac_address: String,
    pub private_ip_address: Ipv4Addr,
    pub private_dns_name: String,
    pub source_dest_check: bool,
    #[xml("groupSet")]
    pub groups: Vec<GroupIdentifier>,
    pub attachment: NetworkInterfaceAttachment,
    pub association: Option<NetworkInterfaceAssociation>,
    #[xml("privateIpAddressesSet")]
    pub private_ip_addresses: Vec<PrivateIpAddress>,
    pub interface_type: &'static str,
}

#[derive(Debug, Clone, ToXml)]
pub struct NetworkInterfaceAttachment {
    pub attachment_id: AttachmentId,
    pub device_index: u32,
    pub status: &'static str,
    pub attach_time: Timestamp,
    pub delete_on_termination: bool,
}

#[derive(Debug, Clone, ToXml)]
pub struct NetworkInterfaceAssociation {
    pub public_ip: Ipv4Addr,
    pub public_dns_name: String,
    pub ip_owner_id: &'static str,
}

#[derive(Debug, Clone, ToXml)]
pub struct PrivateIpAddress {
    pub private_ip_address: Ipv4Addr,
    pub private_dns_name: String,
    pub primary: bool,
    pub association: Option<NetworkInterfaceAssociation>,
}

#[derive(Debug, Clone, Copy, ToXml)]
pub struct MetadataOptions {
    pub state: &'static str,
    pub http_tokens: HttpTokens,
    pub http_put_response_hop_limit: u8,
    pub http_endpoint: &'static str,
    pub http_protocol_ipv6: &'static str,
    pub instance_metadata_tags: &'static str,
}

impl Instance {
    /// `groups` are those of the account; the instance's own are picked out of them.
    pub fn of(instance: &model::Instance, groups: &[SecurityGroup], tags: &[model::Tag]) -> Self {
        let is_terminated = instance.state == model::InstanceState::Terminated;
        let network = &instance.network;
        let own_groups = if is_terminated { Vec::new() } else { group_identifiers(instance, groups) };
        let interfaces = if is_terminated { Vec::new() } else { vec![interface(instance, &own_groups)] };
        Self {
            instance_id: instance.instance_id.clone(),
            image_id: instance.image_id.clone(),
            state: instance.state.into(),
            private_dns_name: if is_terminated { String::new() } else { instance.private_dns_name() },
            public_dns_name: network.public_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            state_transition_reason: instance.state_transition_reason.clone(),
            key_name: instance.key_name.clone(),
            ami_launch_index: instance.ami_launch_index,
            instance_type: instance.instance_type.clone(),
            launch_time: instance.launch_time,
            placement: Placement {
                availability_zone: instance.availability_zone,
                group_name: String::new(),
                tenancy: "default",
            },
            monitoring: Monitoring {
                state: if instance.monitoring_enabled { "enabled" } else { "disabled" },
            },
            subnet_id: (!is_terminated).then(|| network.subnet_id.clone()),
            vpc_id: (!is_terminated).then(|| network.vpc_id.clone()),
            private_ip_address: (!is_terminated).then_some(network.private_ip),
            public_ip_address: network.public_ip,
            source_dest_check: true,
            groups: own_groups,
            state_reason: instance.state_reason.as_ref().map(StateReason::from),
            architecture: instance.architecture,
            root_device_type: instance.root_device_type,
            root_device_name: instance.root_device_name.clone(),
            block_devices: if is_terminated { Vec::new() } else { block_devices(instance) },
            virtualization_type: instance.virtualization_type,
            client_token: instance.client_token.clone(),
            tags: tags.iter().map(Tag::from).collect(),
            hypervisor: "xen",
            network_interfaces: interfaces,
            ebs_optimized: instance.ebs_optimized,
            ena_support: instance.ena_support,
            sriov_net_support: instance.sriov_net_support.clone(),
            platform: instance.platform.clone(),
            platform_details: instance.platform_details.clone(),
            usage_operation: instance.usage_operation.clone(),
            usage_operation_update_time: instance.launch_time,
            boot_mode: instance.boot_mode,
            current_instance_boot_mode: instance.current_boot_mode,
            tpm_support: instance.tpm_support.clone(),
            metadata_options: metadata_options(instance),
        }
    }
}

fn group_identifiers(instance: &model::Instance, groups: &[SecurityGroup]) -> Vec<GroupIdentifier> {
    let own = &instance.network.security_group_ids;
    let named = groups.iter().filter(|group| own.contains(&group.group_id));
    named
        .map(|group| GroupIdentifier {
            group_id: group.group_id.clone(),
            group_name: group.group_name.clone(),
        })
        .collect()
}

fn block_devices(instance: &model::Instance) -> Vec<InstanceBlockDevice> {
    let device = |device: &model::instance::InstanceBlockDevice| InstanceBlockDevice {
        device_name: device.device_name.clone(),
        ebs: EbsInstanceBlockDevice {
            volume_id: device.volume_id.clone(),
            status: if instance.state == model::InstanceState::Pending { "attaching" } else { "attached" },
            attach_time: device.attach_time,
            delete_on_termination: device.delete_on_termination,
        },
    };
    instance.block_devices.iter().map(device).collect()
}

fn interface(instance: &model::Instance, groups: &[GroupIdentifier]) -> NetworkInterface {
    let network = &instance.network;
    let association = network.public_ip.map(|public_ip| NetworkInterfaceAssociation {
        public_ip,
        public_dns_name: public_ip.to_string(),
        ip_owner_id: "amazon",
    });
    NetworkInterface {
        network_interface_id: network.network_interface_id.clone(),
        subnet_id: network.subnet_id.clone(),
        vpc_id: network.vpc_id.clone(),
        description: String::new(),
        owner_id: instance.owner_id.clone(),
        status: "in-use",
        mac_address: network.mac.clone(),
        private_ip_address: network.private_ip,
        private_dns_name: instance.private_dns_name(),
        source_dest_check: true,
        groups: groups.to_vec(),
        attachment: NetworkInterfaceAttachment {
            attachment_id: network.attachment_id.clone(),
            device_index: 0,
            status: "attached",
            attach_time: instance.launch_time,
            delete_on_termination: true,
        },
        association: association.clone(),
        private_ip_addresses: vec![PrivateIpAddress {
            private_ip_address: network.private_ip,
            private_dns_name: instance.private_dns_name(),
            primary: true,
            association,
        }],
        interface_type: "interface",
    }
}

fn metadata_options(instance: &model::Instance) -> MetadataOptions {
    let options = &instance.metadata_options;
    let enabled = |on: bool| if on { "enabled" } else { "disabled" };
    MetadataOptions {
        state: "applied",
        http_tokens: options.http_tokens,
        http_put_response_hop_limit: options.http_put_response_hop_limit,
        http_endpoint: enabled(options.http_endpoint_enabled),
        http_protocol_ipv6: "disabled",
        instance_metadata_tags: enabled(options.instance_metadata_tags_enabled),
    }
}
