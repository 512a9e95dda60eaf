//! `RebootInstances`: queued; the machine resets soon after.

use model::{Code, InstanceId, InstanceState};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::jobs::reboot_instance::RebootInstance;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("InstanceId")]
    instance_ids: Vec<InstanceId>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
}

pub(super) struct RebootInstances;
impl Operation for RebootInstances {
    const ACTION: &'static str = "RebootInstances";
    const ACCESS: Access = Access::Write("ec2:RebootInstances");
    const ERRORS: &'static [Code] =
        &[Code::IncorrectInstanceState, Code::InvalidInstanceIdNotFound, Code::MissingParameter];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let found = cx.instances_by_id_required(&req.instance_ids).await?;
        let not_running = found.iter().find(|instance| instance.state != InstanceState::Running);
        if let Some(instance) = not_running {
            return Err(Failure::instance_state(&instance.instance_id, instance.state, "running"));
        }
        let mut write = cx.commit_point()?;
        for instance in found {
            write.enqueue(&RebootInstance::of(&instance.instance_id)).await?;
        }
        Ok(Response { ok: true })
    }
}

#[cfg(test)]
mod tests {
    use testkit::World;

    #[tokio::test]
    async fn running_instances_are_reset_and_stay_what_they_are() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let (first, second) = (world.seed_instance(&image).await, world.seed_instance(&image).await);
        let both = [("InstanceId.1", first.as_str()), ("InstanceId.2", second.as_str())];
        let before = world.call("DescribeInstances", &[]).await.ok().values("ipAddress");
        assert_eq!(world.call("RebootInstances", &both).await.ok().value("return"), "true");
        world.settle().await;
        for id in [&first, &second] {
            assert_eq!(world.host.reboots(&id.parse().unwrap()), 1);
        }
        let after = world.call("DescribeInstances", &[]).await.ok();
        assert_eq!(
            (after.values("ipAddress"), after.values("name").contains(&"running".into())),
            (before, true)
        );
    }

    #[tokio::test]
    async fn one_instance_that_is_not_running_leaves_all_untouched() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let (up, down) = (world.seed_instance(&image).await, world.seed_instance(&image).await);
        world.call("StopInstances", &[("InstanceId.1", &down)]).await.ok();
        world.settle().await;
        let both = [("InstanceId.1", up.as_str()), ("InstanceId.2", down.as_str())];
        let refused = world.call("RebootInstances", &both).await;
        assert_eq!(refused.error_code(), "IncorrectInstanceState");
        assert!(refused.error_message().contains(&down));
        world.settle().await;
        assert_eq!(world.host.reboots(&up.parse().unwrap()), 0);
    }

    #[tokio::test]
    async fn a_machine_that_has_gone_down_meanwhile_is_not_reset() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let id = world.seed_instance(&image).await;
        world.call("RebootInstances", &[("InstanceId.1", &id)]).await.ok();
        world.call("TerminateInstances", &[("InstanceId.1", &id)]).await.ok();
        world.settle().await;
        let described = world.call("DescribeInstances", &[("InstanceId.1", &id)]).await.ok();
        assert_eq!(described.value("name"), "terminated");
    }
}
