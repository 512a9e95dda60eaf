//! `TerminateInstances`: the machine goes, and with it the volumes that say so. All or none of the ids.

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
    /// Pulls the plug where the guest would be asked first.
    force: Option<bool>,
    skip_os_shutdown: Option<bool>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("instancesSet")]
    instances: Vec<InstanceStateChange>,
}

pub(super) struct TerminateInstances;
impl Operation for TerminateInstances {
    const ACTION: &'static str = "TerminateInstances";
    const ACCESS: Access = Access::Write("ec2:TerminateInstances");
    const ERRORS: &'static [Code] =
        &[Code::InvalidInstanceIdNotFound, Code::MissingParameter, Code::OperationNotPermitted];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let found = cx.instances_by_id_required(&req.instance_ids).await?;
        if let Some(protected) = found.iter().find(|instance| instance.disable_api_termination) {
            return Err(Failure::termination_protected(&protected.instance_id));
        }
        let force = req.force == Some(true) || req.skip_os_shutdown == Some(true);
        let mut write = cx.commit_point()?;
        let mut instances = Vec::new();
        for instance in found {
            let (id, before) = (instance.instance_id.clone(), instance.state);
            let mut after = before;
            if let Change::To(state) = power::terminate(&instance) {
                after = state;
                let now = write.now();
                let terminating = instance.with(|instance| {
                    power::by_user(instance, now);
                    instance.state = state;
                    instance.shutdown_forced = force;
                });
                write.instance_update(terminating).await?;
                write.enqueue(&DriveInstance::of(&id)).await?;
            }
            instances.push(InstanceStateChange::new(id, before, after));
        }
        Ok(Response { instances })
    }
}

#[cfg(test)]
mod tests {
    use testkit::{Reply, World};

    async fn run(world: &World, image: &str, more: &[(&str, &str)]) -> String {
        let mut params =
            vec![("ImageId", image), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        params.extend_from_slice(more);
        let id = world.call("RunInstances", &params).await.ok().value("instanceId");
        world.settle().await;
        id
    }

    async fn terminate(world: &World, ids: &[&str]) -> Reply {
        let names: Vec<String> = (1..=ids.len()).map(|n| format!("InstanceId.{n}")).collect();
        let params: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(ids.iter().copied()).collect();
        world.call("TerminateInstances", &params).await
    }

    #[tokio::test]
    async fn volumes_go_or_stay_as_their_mapping_says() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let data =
            [("BlockDeviceMapping.1.DeviceName", "/dev/sdf"), ("BlockDeviceMapping.1.Ebs.VolumeSize", "2")];
        let id = run(&world, &image, &data).await;
        let described = world.call("DescribeInstances", &[("InstanceId.1", &id)]).await.ok();
        let volumes = described.values("volumeId");
        assert_eq!(described.values("deleteOnTermination").get(..2).unwrap(), ["true", "false"]);
        terminate(&world, &[&id]).await.ok();
        world.settle().await;
        assert_eq!(world.host.volume_keys(), volumes[1..]);
        let left = world.call("DescribeVolumes", &[]).await.ok();
        assert_eq!(
            (left.values("volumeId"), left.value("status")),
            (volumes[1..].to_vec(), "available".into())
        );
    }

    #[tokio::test]
    async fn one_protected_or_unknown_instance_leaves_all_running() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let plain = run(&world, &image, &[]).await;
        let protected = run(&world, &image, &[("DisableApiTermination", "true")]).await;
        let refused = terminate(&world, &[&plain, &protected]).await;
        assert_eq!(refused.error_code(), "OperationNotPermitted");
        assert!(refused.error_message().contains(&protected));
        let unknown = terminate(&world, &[&plain, "i-12345678"]).await;
        assert_eq!(unknown.error_code(), "InvalidInstanceID.NotFound");
        world.settle().await;
        assert!(world.host.is_running(&plain.parse().unwrap()));
    }

    #[tokio::test]
    async fn a_second_request_changes_nothing_and_the_instance_is_shown_for_an_hour() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let id = run(&world, &image, &[]).await;
        assert_eq!(terminate(&world, &[&id]).await.ok().values("name"), ["shutting-down", "running"]);
        assert_eq!(terminate(&world, &[&id]).await.ok().values("name"), ["shutting-down", "shutting-down"]);
        world.settle().await;
        assert_eq!(terminate(&world, &[&id]).await.ok().values("name"), ["terminated", "terminated"]);
        world.clock.advance(std::time::Duration::from_secs(3599));
        world.settle().await;
        world.call("DescribeInstances", &[("InstanceId.1", &id)]).await.ok();
        world.clock.advance(std::time::Duration::from_secs(2));
        world.settle().await;
        let gone = world.call("DescribeInstances", &[("InstanceId.1", &id)]).await;
        assert_eq!(gone.error_code(), "InvalidInstanceID.NotFound");
    }

    #[tokio::test]
    async fn a_stopped_or_pending_instance_can_go() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let stopped = run(&world, &image, &[]).await;
        world.call("StopInstances", &[("InstanceId.1", &stopped)]).await.ok();
        world.settle().await;
        assert_eq!(terminate(&world, &[&stopped]).await.ok().values("name"), ["shutting-down", "stopped"]);
        let params =
            [("ImageId", image.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        let pending = world.call("RunInstances", &params).await.ok().value("instanceId");
        assert_eq!(terminate(&world, &[&pending]).await.ok().values("name"), ["shutting-down", "pending"]);
        world.settle().await;
        let described = world.call("DescribeInstances", &[]).await.ok();
        assert_eq!(described.values("code").iter().filter(|code| *code == "48").count(), 2);
        assert!(world.host.machine_ids().is_empty() && world.host.volume_keys().is_empty());
    }
}
