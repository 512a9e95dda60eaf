//! `RevokeSecurityGroupIngress`: takes rules away, all that are named or none; running instances lose them at once.

use model::{Code, SecurityGroup, SecurityGroupId, SecurityGroupRule, SecurityGroupRuleId};
use wire::shapes::{IngressPermissions, IpPermission, RevokedSecurityGroupRule};
use wire::{FromQuery, ToXml};

use super::authorize_security_group_ingress::{UNSUPPORTED, all_groups};
use crate::failure::Failure;
use crate::jobs::refresh_instance::RefreshInstance;
use crate::rules::security_group_rules::{RuleSpec, asked, resolve};
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    group_id: Option<SecurityGroupId>,
    group_name: Option<String>,
    #[query(flatten)]
    permissions: IngressPermissions,
    #[query("SecurityGroupRuleId")]
    rule_ids: Vec<SecurityGroupRuleId>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
    /// Always empty: an unknown permission is an error.
    #[xml("unknownIpPermissionSet")]
    unknown: Vec<IpPermission>,
    #[xml("revokedSecurityGroupRuleSet")]
    revoked: Vec<RevokedSecurityGroupRule>,
}

pub(super) struct RevokeSecurityGroupIngress;
impl Operation for RevokeSecurityGroupIngress {
    const ACTION: &'static str = "RevokeSecurityGroupIngress";
    const ACCESS: Access = Access::Write("ec2:RevokeSecurityGroupIngress");
    const ERRORS: &'static [Code] = &[
        Code::InvalidGroupNotFound,
        Code::InvalidParameterCombination,
        Code::InvalidParameterValue,
        Code::InvalidPermissionMalformed,
        Code::InvalidPermissionNotFound,
        Code::InvalidSecurityGroupRuleIdNotFound,
        Code::MissingParameter,
    ];
    const UNSUPPORTED: &'static [&'static str] = UNSUPPORTED;
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let group = cx.security_group_named(req.group_id.as_ref(), req.group_name.as_deref()).await?;
        let permissions = asked(&req.permissions)?;
        let doomed = match (req.rule_ids.is_empty(), permissions.is_empty()) {
            (false, false) => {
                return Err(Failure::combination(
                    "SecurityGroupRuleId cannot be used together with permissions",
                ));
            }
            (false, true) => by_id(&group, &req.rule_ids)?,
            (true, false) => by_permission(&group, &permissions, &all_groups(cx).await?)?,
            (true, true) => return Err(Failure::missing("IpPermissions")),
        };
        let revoked = doomed.iter().map(|rule| RevokedSecurityGroupRule::ingress(&group, rule)).collect();
        let mut write = cx.commit_point()?;
        let group_id = group.group_id.clone();
        write.ingress_remove(group, &doomed).await?;
        RefreshInstance::enqueue_for_group(&mut write, &group_id).await?;
        Ok(Response { ok: true, unknown: Vec::new(), revoked })
    }
}

fn by_id(group: &SecurityGroup, ids: &[SecurityGroupRuleId]) -> Result<Vec<SecurityGroupRule>, Failure> {
    let missing = ids.iter().find(|id| group.ingress.iter().all(|rule| rule.rule_id != **id));
    match missing {
        Some(id) => Err(Failure::security_group_rule_not_found(id)),
        None => Ok(group.ingress.iter().filter(|rule| ids.contains(&rule.rule_id)).cloned().collect()),
    }
}

fn by_permission(
    group: &SecurityGroup,
    permissions: &[IpPermission],
    groups: &[SecurityGroup],
) -> Result<Vec<SecurityGroupRule>, Failure> {
    let specs = resolve(permissions, group, groups)?;
    let found = |spec: &RuleSpec| group.ingress.iter().find(|rule| spec.is(rule)).cloned();
    specs.iter().map(|spec| found(spec).ok_or_else(Failure::permission_not_found)).collect()
}

#[cfg(test)]
mod tests {
    use testkit::{REGION, Reply, World};

    const ACTION: &str = "RevokeSecurityGroupIngress";
    const SSH: [(&str, &str); 4] =
        [("IpProtocol", "tcp"), ("FromPort", "22"), ("ToPort", "22"), ("CidrIp", "0.0.0.0/0")];
    const TWO: [(&str, &str); 8] = [
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "22"),
        ("IpPermissions.1.ToPort", "22"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
        ("IpPermissions.2.IpProtocol", "udp"),
        ("IpPermissions.2.FromPort", "53"),
        ("IpPermissions.2.ToPort", "53"),
        ("IpPermissions.2.Groups.1.GroupName", "default"),
    ];

    /// A group with two rules, and their ids.
    async fn world() -> (World, String, Vec<String>) {
        let world = World::new().await;
        let params = [("GroupName", "web"), ("GroupDescription", "d")];
        let id = world.call("CreateSecurityGroup", &params).await.ok().value("groupId");
        let tags = [
            ("TagSpecification.1.ResourceType", "security-group-rule"),
            ("TagSpecification.1.Tag.1.Key", "k"),
        ];
        let params = [vec![("GroupId", id.as_str())], TWO.to_vec(), tags.to_vec()].concat();
        let made = world.call("AuthorizeSecurityGroupIngress", &params).await.ok();
        let rules = made.values("securityGroupRuleId");
        (world, id, rules)
    }

    async fn revoke(world: &World, id: &str, more: &[(&str, &str)]) -> Reply {
        world.call(ACTION, &[&[("GroupId", id)], more].concat()).await
    }

    async fn rules_left(world: &World) -> usize {
        let reply = world.call("DescribeSecurityGroups", &[("GroupName.1", "web")]).await.ok();
        reply.insides("ipPermissions")[0].matches("<ipProtocol>").count()
    }

    #[tokio::test]
    async fn rules_go_by_permission_with_their_tags() {
        let (world, id, rules) = world().await;
        let reply = revoke(&world, &id, &SSH).await.ok();
        assert_eq!(reply.value("return"), "true");
        assert_eq!(reply.values("securityGroupRuleId"), rules[..1]);
        assert_eq!(reply.insides("unknownIpPermissionSet"), [""]);
        assert_eq!(world.call("DescribeTags", &[]).await.ok().values("resourceId"), rules[1..]);
        let reply = revoke(&world, &id, &TWO[4..]).await.ok();
        assert!(reply.value("referencedGroupId").starts_with("sg-"));
        assert_eq!(rules_left(&world).await, 0);
    }

    #[tokio::test]
    async fn rules_go_by_id() {
        let (world, id, rules) = world().await;
        let reply = revoke(&world, &id, &[("SecurityGroupRuleId.1", &rules[1])]).await.ok();
        assert_eq!(reply.value("ipProtocol"), "udp");
        let both =
            [("SecurityGroupRuleId.1", rules[0].as_str()), ("SecurityGroupRuleId.2", rules[1].as_str())];
        assert_eq!(revoke(&world, &id, &both).await.error_code(), "InvalidSecurityGroupRuleId.NotFound");
        assert_eq!(rules_left(&world).await, 1);
    }

    #[tokio::test]
    async fn one_unknown_permission_leaves_all_rules() {
        let (world, id, _) = world().await;
        let before = world.dump().await;
        let other_port = [TWO[..6].to_vec(), vec![("IpPermissions.2.ToPort", "54"), TWO[7]]].concat();
        let reply = revoke(&world, &id, &other_port).await;
        assert_eq!(reply.error_code(), "InvalidPermission.NotFound");
        assert_eq!(reply.error_message(), "The specified rule does not exist in this security group.");
        for (params, code) in [
            (vec![], "MissingParameter"),
            (vec![("SecurityGroupRuleId.1", "sgr-12345678")], "InvalidSecurityGroupRuleId.NotFound"),
            (vec![("SecurityGroupRuleId.1", "sg-12345678")], "InvalidSecurityGroupRuleId.Malformed"),
            (
                [SSH.to_vec(), vec![("SecurityGroupRuleId.1", "sgr-12345678")]].concat(),
                "InvalidParameterCombination",
            ),
            (vec![("IpPermissions.1.IpProtocol", "tcpp")], "InvalidParameterValue"),
            (vec![("IpPermissions.1.IpProtocol", "-1")], "InvalidPermission.Malformed"),
            ([SSH.to_vec(), vec![("DryRun", "true")]].concat(), "DryRunOperation"),
        ] {
            assert_eq!(revoke(&world, &id, &params).await.error_code(), code, "{params:?}");
        }
        assert_eq!(world.dump().await, before);
    }

    #[tokio::test]
    async fn anothers_group_is_missing() {
        let (world, id, _) = world().await;
        let other = world.account("other").await;
        let params = [vec![("GroupId", id.as_str())], SSH.to_vec()].concat();
        let reply = world.call_as(&other, REGION, ACTION, &params).await;
        assert_eq!(reply.error_code(), "InvalidGroup.NotFound");
        assert_eq!(rules_left(&world).await, 2);
    }
}
