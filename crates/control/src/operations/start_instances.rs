//! `StartInstances`: a stopped instance boots again from its volumes, perhaps at another public address.

use model::{Code, InstanceId, InstanceState, StateReason};
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
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("instancesSet")]
    instances: Vec<InstanceStateChange>,
}

pub(super) struct StartInstances;
impl Operation for StartInstances {
    const ACTION: &'static str = "StartInstances";
    const ACCESS: Access = Access::Write("ec2:StartInstances");
    const ERRORS: &'static [Code] = &[
        Code::AddressLimitExceeded,
        Code::IncorrectInstanceState,
        Code::InvalidInstanceIdNotFound,
        Code::MissingParameter,
    ];
    const UNSUPPORTED: &'static [&'static str] = &["AdditionalInfo"];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let mut starting = Vec::new();
        let found = cx.instances_by_id_required(&req.instance_ids).await?;
        let mut addresses = cx.free_public_ips(found.len()).await?.into_iter();
        for instance in found {
            starting.push((power::start(&instance)?, instance));
        }
        let mut write = cx.commit_point()?;
        let mut instances = Vec::new();
        for (change, instance) in starting {
            let (id, before) = (instance.instance_id.clone(), instance.state);
            if let Change::To(state) = change {
                let (now, public_ip) = (write.now(), addresses.next());
                let started = instance.with(|instance| {
                    instance.state = state;
                    instance.state_reason = Some(StateReason::new("pending", "pending"));
                    instance.state_transition_reason = String::new();
                    instance.generation += 1;
                    instance.launch_time = now;
                    instance.network.public_ip = public_ip;
                });
                write.instance_update(started).await?;
                write.enqueue(&DriveInstance::of(&id)).await?;
            }
            let after = if change == Change::None { before } else { InstanceState::Pending };
            instances.push(InstanceStateChange::new(id, before, after));
        }
        Ok(Response { instances })
    }
}

#[cfg(test)]
mod tests {
    use testkit::{Reply, World};

    async fn stopped(world: &World) -> String {
        let image = world.seed_image("base", b"x").await;
        let id = world.seed_instance(&image).await;
        world.call("StopInstances", &[("InstanceId.1", &id)]).await.ok();
        world.settle().await;
        id
    }

    async fn describe(world: &World, id: &str) -> Reply {
        world.call("DescribeInstances", &[("InstanceId.1", id)]).await.ok()
    }

    #[tokio::test]
    async fn a_start_gives_a_public_address_and_a_launch_time_and_keeps_the_private_ones() {
        let world = World::new().await;
        let id = stopped(&world).await;
        let before = describe(&world, &id).await;
        world.clock.advance(std::time::Duration::from_mins(1));
        world.call("StartInstances", &[("InstanceId.1", &id)]).await.ok();
        world.settle().await;
        let after = describe(&world, &id).await;
        assert_eq!(after.value("ipAddress"), "127.64.0.1");
        assert_eq!(after.value("launchTime"), "2026-11-21T08:01:00.000Z");
        for kept in ["privateIpAddress", "networkInterfaceId", "volumeId", "reservationId"] {
            assert_eq!(after.value(kept), before.value(kept), "{kept}");
        }
        assert!(!after.has("stateReason") && after.value("reason").is_empty());
    }

    #[tokio::test]
    async fn an_instance_that_is_up_stays_as_it_is() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let id = world.seed_instance(&image).await;
        let before = describe(&world, &id).await;
        let reply = world.call("StartInstances", &[("InstanceId.1", &id)]).await.ok();
        assert_eq!(reply.values("name"), ["running", "running"]);
        world.settle().await;
        assert_eq!(describe(&world, &id).await.value("launchTime"), before.value("launchTime"));
    }

    #[tokio::test]
    async fn one_instance_that_cannot_start_leaves_all_stopped() {
        let world = World::new().await;
        let id = stopped(&world).await;
        let image = world.seed_image("other", b"x").await;
        let gone = world.seed_instance(&image).await;
        world.call("TerminateInstances", &[("InstanceId.1", &gone)]).await.ok();
        for other in [gone.as_str(), "i-12345678"] {
            let reply = world.call("StartInstances", &[("InstanceId.1", &id), ("InstanceId.2", other)]).await;
            assert!(reply.error_message().contains(other));
            assert_eq!(describe(&world, &id).await.value("name"), "stopped");
        }
    }
}
