//! `DescribeSubnets`: the subnets of the account in the region, and how many addresses each has left.

use model::vpc::SUBNET_RESERVED_FIRST;
use model::{Code, Subnet, SubnetId};
use wire::filter::{Filters, Table, one};
use wire::page::Paging;
use wire::shapes::{self, Filter};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("SubnetId")]
    subnet_ids: Vec<SubnetId>,
    #[query("Filter")]
    filters: Vec<Filter>,
    #[query(flatten)]
    paging: Paging,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    next_token: Option<String>,
    #[xml("subnetSet")]
    subnets: Vec<shapes::Subnet>,
}

const FILTERS: Table<shapes::Subnet> = Table {
    names: &[
        ("availability-zone", |s| one(s.availability_zone)),
        ("availability-zone-id", |s| one(&s.availability_zone_id)),
        ("availabilityZone", |s| one(s.availability_zone)),
        ("availabilityZoneId", |s| one(&s.availability_zone_id)),
        ("available-ip-address-count", |s| one(s.available_ip_address_count)),
        ("cidr", |s| one(s.cidr_block)),
        ("cidr-block", |s| one(s.cidr_block)),
        ("cidrBlock", |s| one(s.cidr_block)),
        ("customer-owned-ipv4-pool", |_| Vec::new()),
        ("default-for-az", |s| one(s.default_for_az)),
        ("defaultForAz", |s| one(s.default_for_az)),
        ("enable-dns64", |s| one(s.enable_dns64)),
        ("enable-lni-at-device-index", |_| Vec::new()),
        ("ipv6-cidr-block-association.association-id", |_| Vec::new()),
        ("ipv6-cidr-block-association.ipv6-cidr-block", |_| Vec::new()),
        ("ipv6-cidr-block-association.state", |_| Vec::new()),
        ("ipv6-native", |s| one(s.ipv6_native)),
        ("map-customer-owned-ip-on-launch", |s| one(s.map_customer_owned_ip_on_launch)),
        ("map-public-ip-on-launch", |s| one(s.map_public_ip_on_launch)),
        ("outpost-arn", |_| Vec::new()),
        ("owner-id", |s| one(&s.owner_id)),
        ("private-dns-name-options-on-launch.enable-resource-name-dns-a-record", |s| {
            one(s.private_dns_name_options_on_launch.enable_resource_name_dns_a_record)
        }),
        ("private-dns-name-options-on-launch.enable-resource-name-dns-aaaa-record", |s| {
            one(s.private_dns_name_options_on_launch.enable_resource_name_dns_aaaa_record)
        }),
        ("private-dns-name-options-on-launch.hostname-type", |s| {
            one(s.private_dns_name_options_on_launch.hostname_type)
        }),
        ("state", |s| one(s.state)),
        ("subnet-arn", |s| one(&s.subnet_arn)),
        ("subnet-id", |s| one(&s.subnet_id)),
        ("vpc-id", |s| one(&s.vpc_id)),
    ],
    tags: Some(|s| s.tags.iter().map(|tag| (tag.key.as_str(), tag.value())).collect()),
};

/// The broadcast address.
const SUBNET_RESERVED_LAST: u64 = 1;

pub(super) struct DescribeSubnets;
impl Operation for DescribeSubnets {
    const ACTION: &'static str = "DescribeSubnets";
    const ACCESS: Access = Access::Read("ec2:DescribeSubnets");
    const ERRORS: &'static [Code] = &[Code::InvalidSubnetIdNotFound];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        req.paging.refuse_with_ids("subnetSet", !req.subnet_ids.is_empty())?;
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        for id in &req.subnet_ids {
            cx.subnet(id).await?;
        }
        let mut subnets = cx.subnets().await?;
        subnets.retain(|s| req.subnet_ids.is_empty() || req.subnet_ids.contains(&s.subnet_id));
        let mut shown = Vec::new();
        for subnet in cx.tagged(subnets, |s| s.subnet_id.as_str()).await? {
            let free = free_addresses(cx, &subnet.item).await?;
            shown.push(shapes::Subnet::of(&subnet.item, &subnet.tags, free));
        }
        shown.retain(|s| filters.matches(s));
        let page = cx.page(shown, &req.paging, |s| s.subnet_id.to_string())?;
        Ok(Response { next_token: page.next_token, subnets: page.items })
    }
}

async fn free_addresses(cx: &mut Cx<'_>, subnet: &Subnet) -> Result<u32, Failure> {
    let used = cx.private_ips_in_subnet(&subnet.subnet_id).await?.len() as u64;
    let reserved = u64::from(SUBNET_RESERVED_FIRST) + SUBNET_RESERVED_LAST;
    let free = subnet.cidr_block.size().saturating_sub(used + reserved);
    Ok(u32::try_from(free).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use testkit::{REGION, World};

    #[tokio::test]
    async fn every_zone_has_a_default_subnet() {
        let world = World::new().await;
        let reply = world.call("DescribeSubnets", &[]).await.ok();
        let mut zones = reply.values("availabilityZone");
        zones.sort();
        assert_eq!(zones, ["us-east-1a", "us-east-1b", "us-east-1c"]);
        assert_eq!(reply.value("availableIpAddressCount"), "4091");
        assert_eq!(reply.values("defaultForAz"), ["true", "true", "true"]);
        assert!(reply.value("subnetArn").starts_with("arn:aws:ec2:us-east-1:"));
    }

    #[tokio::test]
    async fn filters_and_ids_narrow_the_list() {
        let world = World::new().await;
        let all = world.call("DescribeSubnets", &[]).await.ok();
        let (id, vpc) = (all.values("subnetId").remove(1), all.value("vpcId"));
        for (name, value, count) in [
            ("availability-zone", "us-east-1b", 1),
            ("availabilityZoneId", "use1-az?", 3),
            ("cidr", "172.31.16.0/20", 1),
            ("default-for-az", "false", 0),
            ("vpc-id", vpc.as_str(), 3),
            ("subnet-id", id.as_str(), 1),
            ("outpost-arn", "*", 0),
        ] {
            let params = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
            let reply = world.call("DescribeSubnets", &params).await.ok();
            assert_eq!(reply.values("subnetId").len(), count, "{name} {value}");
        }
        let reply = world.call("DescribeSubnets", &[("SubnetId.1", &id)]).await.ok();
        assert_eq!(reply.values("subnetId"), [id]);
    }

    #[tokio::test]
    async fn anothers_subnet_is_missing() {
        let world = World::new().await;
        let id = world.call("DescribeSubnets", &[]).await.ok().value("subnetId");
        let other = world.account("other").await;
        let reply = world.call_as(&other, REGION, "DescribeSubnets", &[("SubnetId.1", &id)]).await;
        assert_eq!(reply.error_code(), "InvalidSubnetID.NotFound");
        let both = world.call("DescribeSubnets", &[("SubnetId.1", &id), ("MaxResults", "5")]).await;
        assert_eq!(both.error_code(), "InvalidParameterCombination");
    }
}
