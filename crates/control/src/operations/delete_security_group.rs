//! `DeleteSecurityGroup`: refused while an instance or another group's rule needs the group.

use model::{Code, RulePeer, SecurityGroup, SecurityGroupId};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    group_id: Option<SecurityGroupId>,
    group_name: Option<String>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
    group_id: SecurityGroupId,
}

pub(super) struct DeleteSecurityGroup;
impl Operation for DeleteSecurityGroup {
    const ACTION: &'static str = "DeleteSecurityGroup";
    const ACCESS: Access = Access::Write("ec2:DeleteSecurityGroup");
    const ERRORS: &'static [Code] = &[
        Code::CannotDelete,
        Code::DependencyViolation,
        Code::InvalidGroupNotFound,
        Code::InvalidParameterCombination,
        Code::MissingParameter,
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let group = cx.security_group_named(req.group_id.as_ref(), req.group_name.as_deref()).await?;
        if group.group_name == "default" {
            return Err(Failure::group_is_default(&group.group_id, &group.group_name));
        }
        let is_used = !cx.instances_using_group(&group.group_id).await?.is_empty();
        let others = cx.security_groups().await?;
        if is_used || others.iter().any(|other| names_as_peer(other, &group.group_id)) {
            return Err(Failure::group_in_use(&group.group_id));
        }
        let group_id = group.group_id.clone();
        let mut write = cx.commit_point()?;
        write.security_group_delete(group).await?;
        Ok(Response { ok: true, group_id })
    }
}

/// A group's rules about itself go with it.
fn names_as_peer(other: &SecurityGroup, id: &SecurityGroupId) -> bool {
    let mut rules = other.ingress.iter().chain(&other.egress);
    other.group_id != *id
        && rules.any(|rule| matches!(&rule.peer, RulePeer::Group { group_id, .. } if group_id == id))
}

#[cfg(test)]
mod tests {
    use testkit::{REGION, World};

    const ACTION: &str = "DeleteSecurityGroup";

    async fn create(world: &World, name: &str) -> String {
        let params = [("GroupName", name), ("GroupDescription", "d")];
        world.call("CreateSecurityGroup", &params).await.ok().value("groupId")
    }

    async fn names(world: &World) -> Vec<String> {
        let mut names = world.call("DescribeSecurityGroups", &[]).await.ok().values("groupName");
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_group_goes_by_id_or_by_name() {
        let world = World::new().await;
        let id = create(&world, "a").await;
        create(&world, "b").await;
        let reply = world.call(ACTION, &[("GroupId", &id)]).await.ok();
        assert_eq!((reply.value("return"), reply.value("groupId")), ("true".into(), id.clone()));
        world.call(ACTION, &[("GroupName", "b")]).await.ok();
        assert_eq!(names(&world).await, ["default"]);
        assert_eq!(world.call(ACTION, &[("GroupId", &id)]).await.error_code(), "InvalidGroup.NotFound");
        assert_eq!(world.call(ACTION, &[]).await.error_code(), "MissingParameter");
        let both = [("GroupId", id.as_str()), ("GroupName", "b")];
        assert_eq!(world.call(ACTION, &both).await.error_code(), "InvalidParameterCombination");
    }

    #[tokio::test]
    async fn the_default_group_stays() {
        let world = World::new().await;
        let reply = world.call(ACTION, &[("GroupName", "default")]).await;
        assert_eq!(reply.error_code(), "CannotDelete");
        assert!(reply.error_message().ends_with("name: \"default\" cannot be deleted by a user"));
    }

    #[tokio::test]
    async fn a_group_in_use_stays() {
        let world = World::new().await;
        let (peer, web) = (create(&world, "peer").await, create(&world, "web").await);
        for group in [&peer, &web] {
            let rule = [
                ("GroupId", group.as_str()),
                ("IpPermissions.1.IpProtocol", "-1"),
                ("IpPermissions.1.Groups.1.GroupId", peer.as_str()),
            ];
            world.call("AuthorizeSecurityGroupIngress", &rule).await.ok();
        }
        let reply = world.call(ACTION, &[("GroupId", &peer)]).await;
        assert_eq!(reply.error_code(), "DependencyViolation");
        assert_eq!(reply.error_message(), format!("resource {peer} has a dependent object"));
        let image = world.seed_image("base", b"boot me").await;
        let launch = [
            ("ImageId", image.as_str()),
            ("InstanceType", "t3.micro"),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("SecurityGroupId.1", web.as_str()),
        ];
        let id = world.call("RunInstances", &launch).await.ok().value("instanceId");
        assert_eq!(world.call(ACTION, &[("GroupId", &web)]).await.error_code(), "DependencyViolation");
        world.call("TerminateInstances", &[("InstanceId.1", &id)]).await.ok();
        world.settle().await;
        world.call(ACTION, &[("GroupId", &web)]).await.ok();
        world.call(ACTION, &[("GroupId", &peer)]).await.ok();
    }

    #[tokio::test]
    async fn anothers_group_is_missing_and_a_dry_run_deletes_nothing() {
        let world = World::new().await;
        let id = create(&world, "a").await;
        let other = world.account("other").await;
        let reply = world.call_as(&other, REGION, ACTION, &[("GroupId", &id)]).await;
        assert_eq!(reply.error_code(), "InvalidGroup.NotFound");
        let reply = world.call(ACTION, &[("GroupId", &id), ("DryRun", "true")]).await;
        assert_eq!(reply.error_code(), "DryRunOperation");
        assert_eq!(names(&world).await, ["a", "default"]);
    }
}
