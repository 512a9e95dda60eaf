//! What `RunInstances` takes, and what it refuses by name.

use model::instance::{HttpTokens, ShutdownBehavior};
use model::string_enum;
use model::{AvailabilityZone, ImageId, SecurityGroupId, SubnetId};
use wire::FromQuery;
use wire::shapes::{BlockDeviceMappingRequest, TagSpecification};

string_enum! {
    pub(super) enum Switch {
        Enabled = "enabled",
        Disabled = "disabled",
    }
}

#[derive(Debug, FromQuery)]
pub(in crate::operations) struct Request {
    pub(super) image_id: Option<ImageId>,
    pub(super) instance_type: Option<String>,
    pub(super) min_count: i32,
    pub(super) max_count: i32,
    pub(super) key_name: Option<String>,
    #[query("SecurityGroupId")]
    pub(super) security_group_ids: Vec<SecurityGroupId>,
    #[query("SecurityGroup")]
    pub(super) security_groups: Vec<String>,
    pub(super) subnet_id: Option<SubnetId>,
    pub(super) private_ip_address: Option<String>,
    pub(super) user_data: Option<String>,
    #[query("BlockDeviceMapping")]
    pub(super) block_device_mappings: Vec<BlockDeviceMappingRequest>,
    pub(super) placement: Option<Placement>,
    pub(super) monitoring: Option<Monitoring>,
    pub(super) ebs_optimized: Option<bool>,
    pub(super) disable_api_termination: Option<bool>,
    pub(super) disable_api_stop: Option<bool>,
    pub(super) instance_initiated_shutdown_behavior: Option<ShutdownBehavior>,
    pub(super) client_token: Option<String>,
    pub(super) metadata_options: Option<MetadataOptions>,
    #[query("NetworkInterface")]
    pub(super) network_interfaces: Vec<NetworkInterface>,
    pub(super) credit_specification: Option<CreditSpecification>,
    pub(super) enclave_options: Option<EnclaveOptions>,
    pub(super) hibernation_options: Option<HibernationOptions>,
    #[query("TagSpecification")]
    pub(super) tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, FromQuery)]
pub(super) struct Placement {
    pub(super) availability_zone: Option<AvailabilityZone>,
    pub(super) tenancy: Option<String>,
}

#[derive(Debug, FromQuery)]
pub(super) struct Monitoring {
    pub(super) enabled: bool,
}

#[derive(Debug, FromQuery)]
pub(super) struct MetadataOptions {
    pub(super) http_tokens: Option<HttpTokens>,
    pub(super) http_put_response_hop_limit: Option<i32>,
    pub(super) http_endpoint: Option<Switch>,
    pub(super) http_protocol_ipv6: Option<Switch>,
    pub(super) instance_metadata_tags: Option<Switch>,
}

/// The primary interface; a second one is refused.
#[derive(Debug, FromQuery)]
pub(super) struct NetworkInterface {
    pub(super) device_index: Option<i32>,
    pub(super) subnet_id: Option<SubnetId>,
    #[query("SecurityGroupId")]
    pub(super) security_group_ids: Vec<SecurityGroupId>,
    pub(super) associate_public_ip_address: Option<bool>,
    pub(super) delete_on_termination: Option<bool>,
    pub(super) private_ip_address: Option<String>,
    pub(super) network_card_index: Option<i32>,
}

#[derive(Debug, FromQuery)]
pub(super) struct CreditSpecification {
    pub(super) cpu_credits: Option<String>,
}

#[derive(Debug, FromQuery)]
pub(super) struct EnclaveOptions {
    pub(super) enabled: Option<bool>,
}

#[derive(Debug, FromQuery)]
pub(super) struct HibernationOptions {
    pub(super) configured: Option<bool>,
}

pub(super) const UNSUPPORTED: &[&str] = &[
    "AdditionalInfo",
    "CapacityReservationSpecification",
    "CpuOptions",
    "ElasticGpuSpecification",
    "ElasticInferenceAccelerator",
    "EnablePrimaryIpv6",
    "IamInstanceProfile",
    "InstanceMarketOptions",
    "Ipv6Address",
    "Ipv6AddressCount",
    "KernelId",
    "LaunchTemplate",
    "LicenseSpecification",
    "MaintenanceOptions",
    "Monitoring.MetricCategoryId",
    "NetworkInterface.AssociateCarrierIpAddress",
    "NetworkInterface.ConnectionTrackingSpecification",
    "NetworkInterface.Description",
    "NetworkInterface.EnaQueueCount",
    "NetworkInterface.EnaSrdSpecification",
    "NetworkInterface.InterfaceType",
    "NetworkInterface.Ipv4Prefix",
    "NetworkInterface.Ipv4PrefixCount",
    "NetworkInterface.Ipv6AddressCount",
    "NetworkInterface.Ipv6Addresses",
    "NetworkInterface.Ipv6Prefix",
    "NetworkInterface.Ipv6PrefixCount",
    "NetworkInterface.NetworkInterfaceId",
    "NetworkInterface.PrimaryIpv6",
    "NetworkInterface.PrivateIpAddresses",
    "NetworkInterface.SecondaryPrivateIpAddressCount",
    "NetworkPerformanceOptions",
    "Operator",
    "Placement.Affinity",
    "Placement.AvailabilityZoneId",
    "Placement.GroupId",
    "Placement.GroupName",
    "Placement.HostId",
    "Placement.HostResourceGroupArn",
    "Placement.PartitionNumber",
    "Placement.SpreadDomain",
    "PrivateDnsNameOptions",
    "RamdiskId",
    "SecondaryInterface",
];
