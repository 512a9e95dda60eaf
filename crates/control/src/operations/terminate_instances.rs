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
