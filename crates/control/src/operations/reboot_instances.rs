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
