//! `DescribeInstances`: the account's instances, grouped by the launch that made them.

mod filters;
#[cfg(test)]
mod tests;

use model::{Code, Instance, InstanceId, SecurityGroup};
use wire::filter::Filters;
use wire::page::Paging;
use wire::shapes::{self, Filter};
use wire::{FromQuery, ToXml};

use self::filters::{FILTERS, Item};
use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("InstanceId")]
    instance_ids: Vec<InstanceId>,
    #[query("Filter")]
    filters: Vec<Filter>,
    /// Instances of other services: there are none.
    #[expect(dead_code, reason = "there is nothing that it could include")]
    include_managed_resources: Option<bool>,
    #[query(flatten)]
    paging: Paging,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("reservationSet")]
    reservations: Vec<shapes::Reservation>,
    next_token: Option<String>,
}

pub(super) struct DescribeInstances;
impl Operation for DescribeInstances {
    const ACTION: &'static str = "DescribeInstances";
    const ACCESS: Access = Access::Read("ec2:DescribeInstances");
    const ERRORS: &'static [Code] = &[Code::InvalidInstanceIdNotFound];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        req.paging.refuse_with_ids("instancesSet", !req.instance_ids.is_empty())?;
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        let instances = if req.instance_ids.is_empty() {
            cx.instances().await?
        } else {
            let found = cx.instances_by_id(&req.instance_ids).await?;
            found.into_iter().map(Granted::into_inner).collect()
        };
        let groups: Vec<SecurityGroup> =
            cx.security_groups().await?.into_iter().map(Granted::into_inner).collect();
        let tagged = cx.tagged(instances, |instance| instance.instance_id.as_str()).await?;
        let mut items: Vec<Item> = tagged.into_iter().map(|tagged| Item::new(tagged, &groups)).collect();
        items.retain(|item| filters.matches(item));
        let page = cx.page(items, &req.paging, |item| sort_key(&item.instance))?;
        Ok(Response { reservations: reservations(&page.items, &groups), next_token: page.next_token })
    }
}

/// Instances of one launch stay together.
fn sort_key(instance: &Instance) -> String {
    format!(
        "{:020}/{}/{:06}/{}",
        instance.launch_time.as_millis(),
        instance.reservation_id,
        instance.ami_launch_index,
        instance.instance_id
    )
}

fn reservations(items: &[Item], groups: &[SecurityGroup]) -> Vec<shapes::Reservation> {
    let mut reservations: Vec<shapes::Reservation> = Vec::new();
    for item in items {
        let shape = shapes::Instance::of(&item.instance, groups, &item.tags);
        match reservations.iter_mut().find(|r| r.reservation_id == item.instance.reservation_id) {
            Some(reservation) => reservation.instances.push(shape),
            None => reservations.push(shapes::Reservation {
                reservation_id: item.instance.reservation_id.clone(),
                owner_id: item.instance.owner_id.clone(),
                groups: Vec::new(),
                instances: vec![shape],
            }),
        }
    }
    reservations
}
