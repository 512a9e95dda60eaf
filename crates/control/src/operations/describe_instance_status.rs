//! `DescribeInstanceStatus`: whether machines are up and their guests have shown life.

use model::{AvailabilityZone, Code, Instance, InstanceId, InstanceState, Timestamp};
use wire::filter::{Filters, Table, one};
use wire::page::Paging;
use wire::shapes::{self, Filter};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("InstanceId")]
    instance_ids: Vec<InstanceId>,
    /// Otherwise only running ones.
    include_all_instances: Option<bool>,
    #[expect(dead_code, reason = "there is nothing that it could include")]
    include_managed_resources: Option<bool>,
    #[query("Filter")]
    filters: Vec<Filter>,
    #[query(flatten)]
    paging: Paging,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("instanceStatusSet")]
    statuses: Vec<InstanceStatus>,
    next_token: Option<String>,
}

#[derive(Debug, ToXml)]
struct InstanceStatus {
    instance_id: InstanceId,
    availability_zone: AvailabilityZone,
    availability_zone_id: String,
    instance_state: shapes::InstanceState,
    /// The guest's network answers.
    #[xml("instanceStatus")]
    guest: Summary,
    /// The machine runs.
    #[xml("systemStatus")]
    system: Summary,
    #[xml("attachedEbsStatus")]
    volumes: Summary,
}

#[derive(Debug, ToXml)]
struct Summary {
    status: &'static str,
    details: Vec<Detail>,
}

#[derive(Debug, ToXml)]
struct Detail {
    name: &'static str,
    status: &'static str,
    impaired_since: Option<Timestamp>,
}

/// The outcome of one kind of check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Ok,
    Initializing,
    NotApplicable,
}

impl Check {
    const fn summary(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Initializing => "initializing",
            Self::NotApplicable => "not-applicable",
        }
    }

    const fn detail(self) -> &'static str {
        match self {
            Self::Ok => "passed",
            Self::Initializing => "initializing",
            Self::NotApplicable => "not-applicable",
        }
    }
}

fn system_check(instance: &Instance) -> Check {
    if instance.state == InstanceState::Running { Check::Ok } else { Check::NotApplicable }
}

fn instance_check(instance: &Instance) -> Check {
    match (instance.state, instance.health.reachable_since) {
        (InstanceState::Running, Some(_)) => Check::Ok,
        (InstanceState::Running, None) => Check::Initializing,
        _ => Check::NotApplicable,
    }
}

const fn never(_: &Instance) -> Vec<String> {
    Vec::new()
}

const FILTERS: Table<Instance> = Table {
    names: &[
        ("application-status.status", never),
        ("attached-ebs-status.status", |i| one(system_check(i).summary())),
        ("availability-zone", |i| one(i.availability_zone)),
        ("availability-zone-id", |i| one(i.availability_zone.zone_id())),
        ("event.code", never),
        ("event.description", never),
        ("event.instance-event-id", never),
        ("event.not-after", never),
        ("event.not-before", never),
        ("event.not-before-deadline", never),
        ("instance-state-code", |i| one(i.state.code())),
        ("instance-state-name", |i| one(i.state)),
        ("instance-status.reachability", |i| one(instance_check(i).detail())),
        ("instance-status.status", |i| one(instance_check(i).summary())),
        ("operator.managed", |_| one(false)),
        ("operator.principal", never),
        ("system-status.reachability", |i| one(system_check(i).detail())),
        ("system-status.status", |i| one(system_check(i).summary())),
    ],
    tags: None,
};

pub(super) struct DescribeInstanceStatus;
impl Operation for DescribeInstanceStatus {
    const ACTION: &'static str = "DescribeInstanceStatus";
    const ACCESS: Access = Access::Read("ec2:DescribeInstanceStatus");
    const ERRORS: &'static [Code] = &[Code::InvalidInstanceIdNotFound];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        req.paging.refuse_with_ids("instancesSet", !req.instance_ids.is_empty())?;
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        let mut instances: Vec<Instance> = if req.instance_ids.is_empty() {
            cx.instances().await?
        } else {
            let found = cx.instances_by_id(&req.instance_ids).await?;
            found.into_iter().map(Granted::into_inner).collect()
        };
        let all = req.include_all_instances == Some(true);
        instances.retain(|i| (all || i.state == InstanceState::Running) && filters.matches(i));
        let page = cx.page(instances, &req.paging, |i| i.instance_id.to_string())?;
        Ok(Response { statuses: page.items.iter().map(status).collect(), next_token: page.next_token })
    }
}

fn status(instance: &Instance) -> InstanceStatus {
    let summary = |check: Check| Summary {
        status: check.summary(),
        details: match check {
            Check::NotApplicable => Vec::new(),
            Check::Ok | Check::Initializing => {
                vec![Detail { name: "reachability", status: check.detail(), impaired_since: None }]
            }
        },
    };
    InstanceStatus {
        instance_id: instance.instance_id.clone(),
        availability_zone: instance.availability_zone,
        availability_zone_id: instance.availability_zone.zone_id(),
        instance_state: instance.state.into(),
        guest: summary(instance_check(instance)),
        system: summary(system_check(instance)),
        volumes: summary(system_check(instance)),
    }
}
