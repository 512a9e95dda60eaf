//! The facts that the metadata service tells.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use model::instance::MetadataOptions;
use model::{
    AccountId, AvailabilityZone, ImageId, InstanceId, NetworkInterfaceId, ReservationId, SecurityGroupId,
    SubnetId, Timestamp, VpcId,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedGroup {
    pub group_id: SecurityGroupId,
    pub group_name: String,
}

/// Everything that one instance may read about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataSpec {
    pub options: MetadataOptions,
    pub account_id: AccountId,
    pub instance_id: InstanceId,
    pub reservation_id: ReservationId,
    pub image_id: ImageId,
    pub ami_launch_index: u32,
    pub instance_type: String,
    /// `x86_64`
    pub architecture: String,
    pub launch_time: Timestamp,
    pub availability_zone: AvailabilityZone,
    /// `ip-10-0-0-5.us-east-1.compute.internal`
    pub private_dns_name: String,
    pub private_ip: Ipv4Addr,
    pub public_dns_name: Option<String>,
    pub public_ip: Option<Ipv4Addr>,
    pub mac: String,
    pub network_interface_id: NetworkInterfaceId,
    pub vpc_id: VpcId,
    pub vpc_cidr_block: String,
    pub subnet_id: SubnetId,
    pub subnet_cidr_block: String,
    pub security_groups: Vec<NamedGroup>,
    /// Name of the key pair and its public half in OpenSSH form.
    pub key_pair: Option<(String, String)>,
    pub root_device_name: String,
    /// Device names of the other volumes, in order.
    pub data_device_names: Vec<String>,
    /// `ephemeral0` and the like to device names.
    pub ephemeral_device_names: BTreeMap<String, String>,
    /// Base64, as EC2 keeps it.
    pub user_data: Option<String>,
    /// Shown only when the options allow it.
    pub tags: BTreeMap<String, String>,
}
