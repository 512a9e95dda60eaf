//! `DescribeVpcs`: the VPCs of the account in the region.

use model::{Code, VpcId};
use wire::filter::{Filters, Table, many, one};
use wire::page::Paging;
use wire::shapes::{self, Filter};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("VpcId")]
    vpc_ids: Vec<VpcId>,
    #[query("Filter")]
    filters: Vec<Filter>,
    #[query(flatten)]
    paging: Paging,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    next_token: Option<String>,
    #[xml("vpcSet")]
    vpcs: Vec<shapes::Vpc>,
}

const FILTERS: Table<shapes::Vpc> = Table {
    names: &[
        ("cidr", |vpc| one(vpc.cidr_block)),
        ("cidr-block", |vpc| one(vpc.cidr_block)),
        ("cidr-block-association.association-id", |vpc| {
            many(vpc.cidr_block_associations.iter().map(|a| &a.association_id))
        }),
        ("cidr-block-association.cidr-block", |vpc| {
            many(vpc.cidr_block_associations.iter().map(|a| a.cidr_block))
        }),
        ("cidr-block-association.state", |vpc| {
            many(vpc.cidr_block_associations.iter().map(|a| a.cidr_block_state.state))
        }),
        ("dhcp-options-id", |vpc| one(vpc.dhcp_options_id)),
        ("dhcpOptionsId", |vpc| one(vpc.dhcp_options_id)),
        ("ipv6-cidr-block-association.association-id", |_| Vec::new()),
        ("ipv6-cidr-block-association.ipv6-cidr-block", |_| Vec::new()),
        ("ipv6-cidr-block-association.ipv6-pool", |_| Vec::new()),
        ("ipv6-cidr-block-association.state", |_| Vec::new()),
        ("is-default", |vpc| one(vpc.is_default)),
        ("isDefault", |vpc| one(vpc.is_default)),
        ("owner-id", |vpc| one(&vpc.owner_id)),
        ("state", |vpc| one(vpc.state)),
        ("vpc-id", |vpc| one(&vpc.vpc_id)),
    ],
    tags: Some(|vpc| vpc.tags.iter().map(|tag| (tag.key.as_str(), tag.value())).collect()),
};

pub(super) struct DescribeVpcs;
impl Operation for DescribeVpcs {
    const ACTION: &'static str = "DescribeVpcs";
    const ACCESS: Access = Access::Read("ec2:DescribeVpcs");
    const ERRORS: &'static [Code] = &[Code::InvalidVpcIdNotFound];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        req.paging.refuse_with_ids("vpcSet", !req.vpc_ids.is_empty())?;
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        let mut vpcs = cx.vpcs().await?;
        for id in &req.vpc_ids {
            cx.vpc(id).await?;
        }
        vpcs.retain(|vpc| req.vpc_ids.is_empty() || req.vpc_ids.contains(&vpc.vpc_id));
        let tagged = cx.tagged(vpcs, |vpc| vpc.vpc_id.as_str()).await?;
        let mut vpcs: Vec<_> = tagged.iter().map(|vpc| shapes::Vpc::of(&vpc.item, &vpc.tags)).collect();
        vpcs.retain(|vpc| filters.matches(vpc));
        let page = cx.page(vpcs, &req.paging, |vpc| vpc.vpc_id.to_string())?;
        Ok(Response { next_token: page.next_token, vpcs: page.items })
    }
}

#[cfg(test)]
mod tests {
    use testkit::{REGION, World};

    #[tokio::test]
    async fn every_account_has_a_default_vpc_in_every_region() {
        let world = World::new().await;
        let reply =
            world.call("DescribeVpcs", &[("Filter.1.Name", "isDefault"), ("Filter.1.Value.1", "true")]);
        let reply = reply.await.ok();
        assert_eq!(
            (reply.value("isDefault"), reply.values("state")),
            ("true".into(), vec!["associated".to_owned(), "available".to_owned()])
        );
        assert_eq!(reply.values("cidrBlock"), ["172.31.0.0/16", "172.31.0.0/16"]);
        assert_eq!(reply.value("ownerId"), world.owner.id.as_str());
        let elsewhere = world.call_as(&world.owner, "sa-east-1", "DescribeVpcs", &[]).await.ok();
        assert_ne!(elsewhere.value("vpcId"), reply.value("vpcId"));
    }

    #[tokio::test]
    async fn filters_and_ids_narrow_the_list() {
        let world = World::new().await;
        let id = world.call("DescribeVpcs", &[]).await.ok().value("vpcId");
        world
            .call("CreateTags", &[("ResourceId.1", &id), ("Tag.1.Key", "a"), ("Tag.1.Value", "b")])
            .await
            .ok();
        for (name, value, found) in [
            ("cidr", "172.31.0.0/16", true),
            ("cidr-block-association.state", "associated", true),
            ("tag:a", "b", true),
            ("tag-key", "b", false),
            ("is-default", "false", false),
            ("ipv6-cidr-block-association.state", "*", false),
            ("vpc-id", id.as_str(), true),
        ] {
            let reply = world
                .call("DescribeVpcs", &[("Filter.1.Name", name), ("Filter.1.Value.1", value)])
                .await
                .ok();
            assert_eq!(reply.has("vpcId"), found, "{name} {value}");
        }
        assert_eq!(world.call("DescribeVpcs", &[("VpcId.1", &id)]).await.ok().values("vpcId"), [id.as_str()]);
        let both = world.call("DescribeVpcs", &[("VpcId.1", &id), ("MaxResults", "5")]).await;
        assert_eq!(both.error_code(), "InvalidParameterCombination");
    }

    #[tokio::test]
    async fn anothers_vpc_is_missing() {
        let world = World::new().await;
        let id = world.call("DescribeVpcs", &[]).await.ok().value("vpcId");
        let other = world.account("other").await;
        let reply = world.call_as(&other, REGION, "DescribeVpcs", &[("VpcId.1", &id)]).await;
        assert_eq!(reply.error_code(), "InvalidVpcID.NotFound");
        assert_eq!(reply.error_message(), format!("The vpc ID '{id}' does not exist"));
        assert_eq!(
            world.call("DescribeVpcs", &[("VpcId.1", "vpc-x")]).await.error_code(),
            "InvalidVpcID.Malformed"
        );
    }
}
