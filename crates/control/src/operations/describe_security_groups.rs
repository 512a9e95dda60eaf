//! `DescribeSecurityGroups`: the groups of the account in the region, with their rules.

use model::{Code, RulePeer, SecurityGroup, SecurityGroupId, SecurityGroupRule};
use wire::filter::{Filters, Table, many, one, opt};
use wire::page::Paging;
use wire::shapes::{self, Filter};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::{Tagged, tag_pairs};

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("GroupId")]
    group_ids: Vec<SecurityGroupId>,
    /// Of the default VPC.
    #[query("GroupName")]
    group_names: Vec<String>,
    #[query("Filter")]
    filters: Vec<Filter>,
    #[query(flatten)]
    paging: Paging,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    next_token: Option<String>,
    #[xml("securityGroupInfo")]
    groups: Vec<shapes::SecurityGroup>,
}

/// A group, and the names of the groups that its rules name by id.
struct Listed {
    group: Tagged<Granted<SecurityGroup>>,
    ingress_names: Vec<String>,
    egress_names: Vec<String>,
}

const FILTERS: Table<Listed> = Table {
    names: &[
        ("description", |l| one(&l.group.item.description)),
        ("egress.ip-permission.cidr", |l| cidrs(&l.group.item.egress)),
        ("egress.ip-permission.from-port", |l| from_ports(&l.group.item.egress)),
        ("egress.ip-permission.group-id", |l| group_ids(&l.group.item.egress)),
        ("egress.ip-permission.group-name", |l| l.egress_names.clone()),
        ("egress.ip-permission.ipv6-cidr", |l| ipv6_cidrs(&l.group.item.egress)),
        ("egress.ip-permission.prefix-list-id", |_| Vec::new()),
        ("egress.ip-permission.protocol", |l| protocols(&l.group.item.egress)),
        ("egress.ip-permission.to-port", |l| to_ports(&l.group.item.egress)),
        ("egress.ip-permission.user-id", |l| user_ids(&l.group.item.egress)),
        ("group-id", |l| one(&l.group.item.group_id)),
        ("group-name", |l| one(&l.group.item.group_name)),
        ("ip-permission.cidr", |l| cidrs(&l.group.item.ingress)),
        ("ip-permission.from-port", |l| from_ports(&l.group.item.ingress)),
        ("ip-permission.group-id", |l| group_ids(&l.group.item.ingress)),
        ("ip-permission.group-name", |l| l.ingress_names.clone()),
        ("ip-permission.ipv6-cidr", |l| ipv6_cidrs(&l.group.item.ingress)),
        ("ip-permission.prefix-list-id", |_| Vec::new()),
        ("ip-permission.protocol", |l| protocols(&l.group.item.ingress)),
        ("ip-permission.to-port", |l| to_ports(&l.group.item.ingress)),
        ("ip-permission.user-id", |l| user_ids(&l.group.item.ingress)),
        ("owner-id", |l| one(&l.group.item.owner_id)),
        ("vpc-id", |l| one(&l.group.item.vpc_id)),
    ],
    tags: Some(|l| tag_pairs(&l.group.tags)),
};

pub(super) struct DescribeSecurityGroups;
impl Operation for DescribeSecurityGroups {
    const ACTION: &'static str = "DescribeSecurityGroups";
    const ACCESS: Access = Access::Read("ec2:DescribeSecurityGroups");
    const ERRORS: &'static [Code] = &[Code::InvalidGroupNotFound];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let named = !req.group_ids.is_empty() || !req.group_names.is_empty();
        req.paging.refuse_with_ids("securityGroupInfo", named)?;
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        let mut listed = listed(cx, req).await?;
        listed.retain(|l| filters.matches(l));
        let page = cx.page(listed, &req.paging, |l| l.group.item.group_id.to_string())?;
        let shape = |l: &Listed| shapes::SecurityGroup::of(&l.group.item, &l.group.tags);
        Ok(Response { next_token: page.next_token, groups: page.items.iter().map(shape).collect() })
    }
}

/// The groups that the request names; all where it names none.
async fn listed(cx: &mut Cx<'_>, req: &Request) -> Result<Vec<Listed>, Failure> {
    let all = cx.security_groups().await?;
    let mut named = Vec::new();
    for id in &req.group_ids {
        named.push(cx.security_group(id).await?.group_id.clone());
    }
    for name in &req.group_names {
        named.push(cx.security_group_by_name(name).await?.group_id.clone());
    }
    let mut chosen = all.clone();
    chosen.retain(|group| named.is_empty() || named.contains(&group.group_id));
    let tagged = cx.tagged(chosen, |group| group.group_id.as_str()).await?;
    let with_names = |group: Tagged<Granted<SecurityGroup>>| Listed {
        ingress_names: names(&group.item.ingress, &all),
        egress_names: names(&group.item.egress, &all),
        group,
    };
    Ok(tagged.into_iter().map(with_names).collect())
}

fn names(rules: &[SecurityGroupRule], groups: &[Granted<SecurityGroup>]) -> Vec<String> {
    let peers = group_ids(rules);
    let is_peer = |group: &&Granted<SecurityGroup>| peers.iter().any(|id| id == group.group_id.as_str());
    groups.iter().filter(is_peer).map(|group| group.group_name.clone()).collect()
}

fn cidrs(rules: &[SecurityGroupRule]) -> Vec<String> {
    many(rules.iter().filter_map(|rule| match &rule.peer {
        RulePeer::CidrV4(cidr) => Some(cidr),
        RulePeer::CidrV6(_) | RulePeer::Group { .. } => None,
    }))
}

fn ipv6_cidrs(rules: &[SecurityGroupRule]) -> Vec<String> {
    many(rules.iter().filter_map(|rule| match &rule.peer {
        RulePeer::CidrV6(cidr) => Some(cidr),
        RulePeer::CidrV4(_) | RulePeer::Group { .. } => None,
    }))
}

fn group_ids(rules: &[SecurityGroupRule]) -> Vec<String> {
    many(rules.iter().filter_map(|rule| match &rule.peer {
        RulePeer::Group { group_id, .. } => Some(group_id),
        RulePeer::CidrV4(_) | RulePeer::CidrV6(_) => None,
    }))
}

fn user_ids(rules: &[SecurityGroupRule]) -> Vec<String> {
    many(rules.iter().filter_map(|rule| match &rule.peer {
        RulePeer::Group { owner_id, .. } => Some(owner_id),
        RulePeer::CidrV4(_) | RulePeer::CidrV6(_) => None,
    }))
}

fn protocols(rules: &[SecurityGroupRule]) -> Vec<String> {
    many(rules.iter().map(|rule| &rule.protocol))
}

fn from_ports(rules: &[SecurityGroupRule]) -> Vec<String> {
    rules.iter().flat_map(|rule| opt(rule.from_port)).collect()
}

fn to_ports(rules: &[SecurityGroupRule]) -> Vec<String> {
    rules.iter().flat_map(|rule| opt(rule.to_port)).collect()
}

#[cfg(test)]
mod tests {
    use testkit::{REGION, World};

    const ACTION: &str = "DescribeSecurityGroups";

    async fn world() -> (World, String) {
        let world = World::new().await;
        let params = [("GroupName", "web"), ("GroupDescription", "the web")];
        let id = world.call("CreateSecurityGroup", &params).await.ok().value("groupId");
        let rules = [
            ("GroupId", id.as_str()),
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.FromPort", "80"),
            ("IpPermissions.1.ToPort", "81"),
            ("IpPermissions.1.IpRanges.1.CidrIp", "10.0.0.0/8"),
            ("IpPermissions.1.IpRanges.1.Description", "inside"),
            ("IpPermissions.1.Ipv6Ranges.1.CidrIpv6", "2001:db8::/32"),
            ("IpPermissions.1.Groups.1.GroupName", "default"),
        ];
        world.call("AuthorizeSecurityGroupIngress", &rules).await.ok();
        (world, id)
    }

    #[tokio::test]
    async fn filters_narrow_the_list() {
        let (world, id) = world().await;
        let owner = world.owner.id.to_string();
        for (name, value, names) in [
            ("description", "*web*", vec!["web"]),
            ("group-name", "default", vec!["default"]),
            ("group-id", id.as_str(), vec!["web"]),
            ("ip-permission.cidr", "10.0.0.0/8", vec!["web"]),
            ("ip-permission.ipv6-cidr", "2001:db8::/32", vec!["web"]),
            ("ip-permission.from-port", "80", vec!["web"]),
            ("ip-permission.to-port", "80", vec![]),
            ("ip-permission.protocol", "tcp", vec!["web"]),
            ("ip-permission.group-name", "default", vec!["default", "web"]),
            ("ip-permission.user-id", owner.as_str(), vec!["default", "web"]),
            ("egress.ip-permission.cidr", "0.0.0.0/0", vec!["default", "web"]),
            ("egress.ip-permission.group-id", "*", vec![]),
            ("ip-permission.prefix-list-id", "*", vec![]),
        ] {
            let params = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
            let mut found = world.call(ACTION, &params).await.ok().values("groupName");
            found.sort();
            assert_eq!(found, names, "{name} {value}");
        }
    }

    #[tokio::test]
    async fn rules_are_shown_in_bundles() {
        let (world, _) = world().await;
        let reply = world.call(ACTION, &[("GroupName.1", "web")]).await.ok();
        assert_eq!(reply.values("groupName"), ["web"]);
        assert_eq!(reply.values("cidrIpv6"), ["2001:db8::/32"]);
        assert_eq!(reply.value("description"), "inside");
        assert_eq!((reply.value("fromPort"), reply.value("toPort")), ("80".into(), "81".into()));
        let default = world.call(ACTION, &[("GroupName.1", "default")]).await.ok().value("groupId");
        assert!(reply.insides("groups").iter().any(|groups| groups.contains(&default)));
    }

    #[tokio::test]
    async fn groups_that_are_missing_or_anothers_are_named() {
        let (world, id) = world().await;
        let other = world.account("other").await;
        let reply = world.call_as(&other, REGION, ACTION, &[("GroupId.1", &id)]).await;
        assert_eq!(reply.error_code(), "InvalidGroup.NotFound");
        assert_eq!(reply.error_message(), format!("The security group '{id}' does not exist"));
        let reply = world.call(ACTION, &[("GroupName.1", "gone")]).await;
        assert_eq!(reply.error_code(), "InvalidGroup.NotFound");
        let reply = world.call(ACTION, &[("GroupId.1", "web")]).await;
        assert_eq!(reply.error_code(), "InvalidGroupId.Malformed");
    }

    #[tokio::test]
    async fn pages_hold_every_group_once() {
        let world = World::new().await;
        for n in 0..6 {
            let name = format!("group {n}");
            world.call("CreateSecurityGroup", &[("GroupName", &name), ("GroupDescription", "d")]).await.ok();
        }
        let first = world.call(ACTION, &[("MaxResults", "5")]).await.ok();
        let token = first.value("nextToken");
        let rest = world.call(ACTION, &[("MaxResults", "5"), ("NextToken", &token)]).await.ok();
        assert_eq!((first.values("groupName").len(), rest.values("groupName").len()), (5, 2));
        let both = [("MaxResults", "5"), ("GroupName.1", "default")];
        assert_eq!(world.call(ACTION, &both).await.error_code(), "InvalidParameterCombination");
    }
}
