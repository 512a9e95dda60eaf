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
