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
