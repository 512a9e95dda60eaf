//! `StopInstances`: the guest is asked to shut down; its volumes stay.

use model::{Code, InstanceId};
use wire::shapes::InstanceStateChange;
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::jobs::drive_instance::DriveInstance;
use crate::rules::power::{self, Change};
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("InstanceId")]
    instance_ids: Vec<InstanceId>,
    /// Pulls the plug instead of asking the guest.
    force: Option<bool>,
    /// The same, under its newer name.
    skip_os_shutdown: Option<bool>,
    hibernate: Option<bool>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("instancesSet")]
    instances: Vec<InstanceStateChange>,
}

pub(super) struct StopInstances;
impl Operation for StopInstances {
    const ACTION: &'static str = "StopInstances";
    const ACCESS: Access = Access::Write("ec2:StopInstances");
    const ERRORS: &'static [Code] = &[
        Code::IncorrectInstanceState,
        Code::InvalidInstanceIdNotFound,
        Code::MissingParameter,
        Code::OperationNotPermitted,
        Code::UnsupportedOperation,
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        if req.hibernate == Some(true) {
            return Err(Failure::unsupported("Hibernate"));
        }
        let mut stopping = Vec::new();
        for instance in cx.instances_by_id_required(&req.instance_ids).await? {
            if instance.disable_api_stop {
                return Err(Failure::stop_protected(&instance.instance_id));
            }
            stopping.push((power::stop(&instance)?, instance));
        }
        let force = req.force == Some(true) || req.skip_os_shutdown == Some(true);
        let mut write = cx.commit_point()?;
        let mut instances = Vec::new();
        for (change, instance) in stopping {
            let (id, before) = (instance.instance_id.clone(), instance.state);
            let mut after = before;
            if let Change::To(state) = change {
                after = state;
                let now = write.now();
                let stopped = instance.with(|instance| {
                    power::by_user(instance, now);
                    instance.state = state;
                    instance.shutdown_forced = force;
                });
                write.instance_update(stopped).await?;
                write.enqueue(&DriveInstance::of(&id)).await?;
            } else if force {
                // A guest that does not come down may be helped.
                write.instance_update(instance.with(|instance| instance.shutdown_forced = true)).await?;
            }
            instances.push(InstanceStateChange::new(id, before, after));
        }
        Ok(Response { instances })
    }
}

#[cfg(test)]
mod tests {
    use testkit::World;

    async fn state(world: &World, id: &str) -> String {
        world.call("DescribeInstances", &[("InstanceId.1", id)]).await.ok().value("name")
    }

    #[tokio::test]
    async fn a_stop_says_who_wanted_it_and_takes_the_public_address() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let id = world.seed_instance(&image).await;
        world.call("StopInstances", &[("InstanceId.1", &id)]).await.ok();
        world.settle().await;
        let stopped = world.call("DescribeInstances", &[("InstanceId.1", &id)]).await.ok();
        assert_eq!(stopped.value("reason"), "User initiated (2026-11-21 08:00:00 GMT)");
        let text = "Client.UserInitiatedShutdown: User initiated shutdown";
        assert!(stopped.values("message").contains(&text.to_owned()));
        assert!(!stopped.has("ipAddress") && stopped.has("privateIpAddress"));
        let again = world.call("StopInstances", &[("InstanceId.1", &id)]).await.ok();
        assert_eq!(again.values("name"), ["stopped", "stopped"]);
    }

    #[tokio::test]
    async fn a_deaf_guest_is_helped_by_force_given_at_once_or_later() {
        for later in [false, true] {
            let world = World::new().await;
            let image = world.seed_image("base", b"x").await;
            let id = world.seed_instance(&image).await;
            world.host.set_deaf(true);
            let force = [("InstanceId.1", id.as_str()), ("Force", "true")];
            if later {
                world.call("StopInstances", &force[..1]).await.ok();
                for _ in 0..20 {
                    world.runner.turn().await.unwrap();
                    world.clock.advance(std::time::Duration::from_secs(1));
                }
                assert_eq!(state(&world, &id).await, "stopping");
            }
            world.call("StopInstances", &force).await.ok();
            world.settle().await;
            assert_eq!(state(&world, &id).await, "stopped");
        }
    }

    #[tokio::test]
    async fn one_protected_instance_leaves_all_running() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let plain = world.seed_instance(&image).await;
        let params = [
            ("ImageId", image.as_str()),
            ("InstanceType", "t3.micro"),
            ("MinCount", "1"),
            ("MaxCount", "1"),
            ("DisableApiStop", "true"),
        ];
        let protected = world.call("RunInstances", &params).await.ok().value("instanceId");
        world.settle().await;
        let both = [("InstanceId.1", plain.as_str()), ("InstanceId.2", protected.as_str())];
        let refused = world.call("StopInstances", &both).await;
        assert_eq!(refused.error_code(), "OperationNotPermitted");
        assert!(refused.error_message().contains("disableApiStop"));
        assert_eq!(state(&world, &plain).await, "running");
    }

    #[tokio::test]
    async fn unknown_ids_are_all_named() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let id = world.seed_instance(&image).await;
        let params =
            [("InstanceId.1", "i-12345678"), ("InstanceId.2", id.as_str()), ("InstanceId.3", "i-87654321")];
        let refused = world.call("StopInstances", &params).await;
        assert_eq!(refused.error_message(), "The instance IDs 'i-12345678, i-87654321' do not exist");
        assert_eq!(state(&world, &id).await, "running");
        let hibernate = [("InstanceId.1", id.as_str()), ("Hibernate", "true")];
        assert_eq!(world.call("StopInstances", &hibernate).await.error_code(), "UnsupportedOperation");
    }
}
