//! A subnet, as `DescribeSubnets` lists it.

use model::{AccountId, AvailabilityZone, CidrV4, SubnetId, VpcId};

use super::Tag;
use crate::ToXml;

#[derive(Debug, Clone, ToXml)]
pub struct Subnet {
    pub availability_zone_id: String,
    pub map_customer_owned_ip_on_launch: bool,
    pub owner_id: AccountId,
    pub assign_ipv6_address_on_creation: bool,
    #[xml("tagSet", skip_empty)]
    pub tags: Vec<Tag>,
    pub subnet_arn: String,
    pub enable_dns64: bool,
    pub ipv6_native: bool,
    pub private_dns_name_options_on_launch: PrivateDnsNameOptions,
    pub subnet_id: SubnetId,
    pub state: &'static str,
    pub vpc_id: VpcId,
    pub cidr_block: CidrV4,
    #[xml("availableIpAddressCount")]
    pub available_ip_address_count: u32,
    pub availability_zone: AvailabilityZone,
    pub default_for_az: bool,
    pub map_public_ip_on_launch: bool,
}

#[derive(Debug, Clone, ToXml)]
pub struct PrivateDnsNameOptions {
    pub hostname_type: &'static str,
    #[xml("enableResourceNameDnsARecord")]
    pub enable_resource_name_dns_a_record: bool,
    #[xml("enableResourceNameDnsAAAARecord")]
    pub enable_resource_name_dns_aaaa_record: bool,
}

impl Subnet {
    pub fn of(subnet: &model::Subnet, tags: &[model::Tag], available_ip_address_count: u32) -> Self {
        let (zone, owner, id) = (subnet.availability_zone, &subnet.owner_id, &subnet.subnet_id);
        Self {
            availability_zone_id: zone.zone_id(),
            map_customer_owned_ip_on_launch: false,
            owner_id: owner.clone(),
            assign_ipv6_address_on_creation: false,
            tags: tags.iter().map(Tag::from).collect(),
            subnet_arn: format!("arn:aws:ec2:{}:{owner}:subnet/{id}", zone.region),
            enable_dns64: false,
            ipv6_native: false,
            private_dns_name_options_on_launch: PrivateDnsNameOptions {
                hostname_type: "ip-name",
                enable_resource_name_dns_a_record: false,
                enable_resource_name_dns_aaaa_record: false,
            },
            subnet_id: id.clone(),
            state: "available",
            vpc_id: subnet.vpc_id.clone(),
            cidr_block: subnet.cidr_block,
            available_ip_address_count,
            availability_zone: zone,
            default_for_az: subnet.default_for_az,
            map_public_ip_on_launch: true,
        }
    }
}
