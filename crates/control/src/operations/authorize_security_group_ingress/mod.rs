//! `AuthorizeSecurityGroupIngress`: adds rules; running instances get them at once.

use model::limits::RULES_PER_SECURITY_GROUP_MAX;
use model::{Code, ResourceType, SecurityGroup, SecurityGroupId, SecurityGroupRule, SecurityGroupRuleId};
use wire::shapes::{self, IngressPermissions, TagSpecification};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::jobs::refresh_instance::RefreshInstance;
use crate::rules::security_group_rules::{RuleSpec, asked, resolve};
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::tags_for;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    group_id: Option<SecurityGroupId>,
    group_name: Option<String>,
    #[query(flatten)]
    permissions: IngressPermissions,
    #[query("TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
    #[xml("securityGroupRuleSet")]
    rules: Vec<shapes::SecurityGroupRule>,
}

/// Parts of a permission that this service has nothing for.
pub(super) const UNSUPPORTED: &[&str] = &[
    "IpPermissions.Groups.PeeringStatus",
    "IpPermissions.Groups.VpcPeeringConnectionId",
    "IpPermissions.PrefixListIds",
];

pub(super) struct AuthorizeSecurityGroupIngress;
impl Operation for AuthorizeSecurityGroupIngress {
    const ACTION: &'static str = "AuthorizeSecurityGroupIngress";
    const ACCESS: Access = Access::Write("ec2:AuthorizeSecurityGroupIngress");
    const ERRORS: &'static [Code] = &[
        Code::InvalidGroupNotFound,
        Code::InvalidParameterCombination,
        Code::InvalidParameterValue,
        Code::InvalidPermissionDuplicate,
        Code::InvalidPermissionMalformed,
        Code::MissingParameter,
        Code::RulesPerSecurityGroupLimitExceeded,
    ];
    const UNSUPPORTED: &'static [&'static str] = UNSUPPORTED;
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let group = cx.security_group_named(req.group_id.as_ref(), req.group_name.as_deref()).await?;
        let permissions = asked(&req.permissions)?;
        if permissions.is_empty() {
            return Err(Failure::missing("IpPermissions"));
        }
        let specs = resolve(&permissions, &group, &all_groups(cx).await?)?;
        check_new(&group, &specs)?;
        let tags = tags_for(&req.tag_specifications, ResourceType::SecurityGroupRule)?;
        let creation = cx.may_create(ResourceType::SecurityGroupRule, &tags)?;
        let mut write = cx.commit_point()?;
        let with_id = |spec: RuleSpec| spec.with_id(SecurityGroupRuleId::generate(write.ids()));
        let rules: Vec<SecurityGroupRule> = specs.into_iter().map(with_id).collect();
        let shape = |rule: &SecurityGroupRule| shapes::SecurityGroupRule::ingress(&group, rule, &tags);
        let shown = rules.iter().map(shape).collect();
        let group_id = group.group_id.clone();
        write.ingress_add(&creation, group, &rules).await?;
        RefreshInstance::enqueue_for_group(&mut write, &group_id).await?;
        Ok(Response { ok: true, rules: shown })
    }
}

/// The groups that rules may name.
pub(super) async fn all_groups(cx: &mut Cx<'_>) -> Result<Vec<SecurityGroup>, Failure> {
    Ok(cx.security_groups().await?.into_iter().map(Granted::into_inner).collect())
}

fn check_new(group: &SecurityGroup, specs: &[RuleSpec]) -> Result<(), Failure> {
    if let Some(known) = specs.iter().find(|spec| group.ingress.iter().any(|rule| spec.is(rule))) {
        return Err(Failure::permission_exists(known));
    }
    if group.ingress.len() + specs.len() > RULES_PER_SECURITY_GROUP_MAX {
        return Err(Failure::group_rule_limit(RULES_PER_SECURITY_GROUP_MAX));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
