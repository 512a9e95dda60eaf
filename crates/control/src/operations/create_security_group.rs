//! `CreateSecurityGroup`: a new group that lets nothing in and everything out.

use model::limits::SECURITY_GROUPS_PER_VPC_MAX;
use model::{
    CidrV4, Code, ResourceType, RulePeer, SecurityGroup, SecurityGroupId, SecurityGroupRule,
    SecurityGroupRuleId, Vpc, VpcId,
};
use wire::shapes::{Tag, TagSpecification, security_group_arn};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::rules::security_group_rules::check_group_text;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::tags_for;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    group_name: String,
    #[query("GroupDescription")]
    description: String,
    vpc_id: Option<VpcId>,
    #[query("TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    group_id: SecurityGroupId,
    #[xml("tagSet", skip_empty)]
    tags: Vec<Tag>,
    security_group_arn: String,
}

pub(super) struct CreateSecurityGroup;
impl Operation for CreateSecurityGroup {
    const ACTION: &'static str = "CreateSecurityGroup";
    const ACCESS: Access = Access::Write("ec2:CreateSecurityGroup");
    const ERRORS: &'static [Code] = &[
        Code::InvalidGroupDuplicate,
        Code::InvalidGroupReserved,
        Code::InvalidParameterValue,
        Code::InvalidVpcIdNotFound,
        Code::SecurityGroupLimitExceeded,
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let name = req.group_name.trim_end();
        check_name(name)?;
        check_group_text("GroupDescription", &req.description)?;
        let tags = tags_for(&req.tag_specifications, ResourceType::SecurityGroup)?;
        let vpc = match &req.vpc_id {
            Some(id) => cx.vpc(id).await?,
            None => cx.default_vpc().await?,
        };
        check_free(cx, &vpc, name).await?;
        let creation = cx.may_create(ResourceType::SecurityGroup, &tags)?;
        let mut write = cx.commit_point()?;
        let group = SecurityGroup {
            group_id: SecurityGroupId::generate(write.ids()),
            group_name: name.to_owned(),
            description: req.description.clone(),
            owner_id: vpc.owner_id.clone(),
            region: vpc.region,
            vpc_id: vpc.vpc_id.clone(),
            ingress: Vec::new(),
            egress: vec![everything_out(SecurityGroupRuleId::generate(write.ids()))],
        };
        write.security_group_insert(&creation, &group).await?;
        Ok(Response {
            security_group_arn: security_group_arn(&group),
            group_id: group.group_id,
            tags: tags.iter().map(Tag::from).collect(),
        })
    }
}

fn check_name(name: &str) -> Result<(), Failure> {
    check_group_text("GroupName", name)?;
    let lower = name.to_ascii_lowercase();
    if lower == "default" {
        return Err(Failure::group_name_reserved(name));
    }
    if lower.starts_with("sg-") {
        return Err(Failure::group_text("GroupName", model::limits::SECURITY_GROUP_NAME_CHARS_MAX));
    }
    Ok(())
}

/// Names are one whatever their case.
async fn check_free(cx: &mut Cx<'_>, vpc: &Vpc, name: &str) -> Result<(), Failure> {
    let mut groups = cx.security_groups().await?;
    groups.retain(|group| group.vpc_id == vpc.vpc_id);
    if groups.iter().any(|group| group.group_name.eq_ignore_ascii_case(name)) {
        return Err(Failure::group_exists(name, &vpc.vpc_id));
    }
    if groups.len() >= SECURITY_GROUPS_PER_VPC_MAX {
        return Err(Failure::group_limit(SECURITY_GROUPS_PER_VPC_MAX));
    }
    Ok(())
}

fn everything_out(rule_id: SecurityGroupRuleId) -> SecurityGroupRule {
    SecurityGroupRule {
        rule_id,
        protocol: "-1".to_owned(),
        from_port: None,
        to_port: None,
        peer: RulePeer::CidrV4(CidrV4::new([0, 0, 0, 0].into(), 0)),
        description: None,
    }
}

#[cfg(test)]
mod tests {
    use testkit::{REGION, World};

    const ACTION: &str = "CreateSecurityGroup";

    #[tokio::test]
    async fn a_new_group_lets_nothing_in_and_everything_out() {
        let world = World::new().await;
        let params = [
            ("GroupName", "packer builder"),
            ("GroupDescription", "Temporary group"),
            ("VpcId", ""),
            ("TagSpecification.1.ResourceType", "security-group"),
            ("TagSpecification.1.Tag.1.Key", "for"),
            ("TagSpecification.1.Tag.1.Value", "packer"),
        ];
        let made = world.call(ACTION, &params).await.ok();
        let id = made.value("groupId");
        assert!(made.value("securityGroupArn").ends_with(&format!(":security-group/{id}")));
        assert_eq!(made.value("key"), "for");
        let listed = world.call("DescribeSecurityGroups", &[("GroupId.1", &id)]).await.ok();
        assert_eq!(listed.value("groupDescription"), "Temporary group");
        assert_eq!(listed.insides("ipPermissions"), [""]);
        assert_eq!(listed.values("cidrIp"), ["0.0.0.0/0"]);
        assert_eq!(listed.value("vpcId"), world.call("DescribeVpcs", &[]).await.ok().value("vpcId"));
    }

    #[tokio::test]
    async fn a_name_is_taken_once_in_a_vpc_whatever_its_case() {
        let world = World::new().await;
        world.call(ACTION, &[("GroupName", "web"), ("GroupDescription", "d")]).await.ok();
        let again = world.call(ACTION, &[("GroupName", "Web"), ("GroupDescription", "d")]).await;
        assert_eq!(again.error_code(), "InvalidGroup.Duplicate");
        assert!(again.error_message().starts_with("The security group 'Web' already exists for VPC 'vpc-"));
        let other = world.account("other").await;
        let params = [("GroupName", "web"), ("GroupDescription", "d")];
        world.call_as(&other, REGION, ACTION, &params).await.ok();
    }

    #[tokio::test]
    async fn what_breaks_the_rules_is_refused() {
        let world = World::new().await;
        let before = world.dump().await;
        let d = ("GroupDescription", "d");
        for (params, code) in [
            (vec![("GroupName", "default"), d], "InvalidGroup.Reserved"),
            (vec![("GroupName", "sg-web"), d], "InvalidParameterValue"),
            (vec![("GroupName", "wéb"), d], "InvalidParameterValue"),
            (vec![("GroupName", "  "), d], "InvalidParameterValue"),
            (vec![("GroupName", "web"), ("GroupDescription", "a<b")], "InvalidParameterValue"),
            (vec![("GroupName", "web")], "MissingParameter"),
            (vec![("GroupName", "web"), d, ("VpcId", "vpc-12345678")], "InvalidVpcID.NotFound"),
            (vec![("GroupName", "web"), d, ("DryRun", "true")], "DryRunOperation"),
            (
                vec![("GroupName", "web"), d, ("TagSpecification.1.ResourceType", "instance")],
                "InvalidParameterValue",
            ),
        ] {
            assert_eq!(world.call(ACTION, &params).await.error_code(), code, "{params:?}");
        }
        assert_eq!(world.dump().await, before);
    }

    #[tokio::test]
    async fn a_vpc_has_a_limited_number_of_groups() {
        let world = World::new().await;
        let params = [("GroupName", "web"), ("GroupDescription", "d")];
        let id = world.call(ACTION, &params).await.ok().value("groupId");
        let mut tx = world.metastore.write().await.unwrap();
        let mut group = tx.security_group_get(&id.parse().unwrap()).await.unwrap().unwrap();
        for n in 2..model::limits::SECURITY_GROUPS_PER_VPC_MAX {
            group.group_id = model::SecurityGroupId::generate(world.ids());
            group.group_name = format!("group {n}");
            tx.security_group_insert(&group).await.unwrap();
        }
        tx.commit().await.unwrap();
        let reply = world.call(ACTION, &[("GroupName", "more"), ("GroupDescription", "d")]).await;
        assert_eq!(reply.error_code(), "SecurityGroupLimitExceeded");
    }
}
