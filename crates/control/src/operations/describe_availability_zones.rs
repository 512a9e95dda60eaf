//! `DescribeAvailabilityZones`: the zones of the caller's region, by name and by id.

use model::{AvailabilityZone, Code, Region};
use wire::filter::{Filters, Table, many, one};
use wire::shapes::Filter;
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("ZoneName")]
    zone_names: Vec<String>,
    #[query("ZoneId")]
    zone_ids: Vec<String>,
    /// Zones that an account has not enabled: here there are none.
    #[expect(dead_code, reason = "with and without it the answer is the same")]
    all_availability_zones: Option<bool>,
    #[query("Filter")]
    filters: Vec<Filter>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("availabilityZoneInfo")]
    zones: Vec<Zone>,
}

#[derive(Debug, ToXml)]
struct Zone {
    opt_in_status: &'static str,
    #[xml("messageSet")]
    messages: Vec<ZoneMessage>,
    region_name: Region,
    #[xml("zoneName")]
    name: AvailabilityZone,
    #[xml("zoneId")]
    id: String,
    group_name: String,
    network_border_group: Region,
    #[xml("zoneType")]
    kind: &'static str,
    #[xml("zoneState")]
    state: &'static str,
}

#[derive(Debug, ToXml)]
struct ZoneMessage {
    message: String,
}

const FILTERS: Table<Zone> = Table {
    names: &[
        ("group-long-name", |_| Vec::new()),
        ("group-name", |zone| one(&zone.group_name)),
        ("message", |zone| many(zone.messages.iter().map(|m| &m.message))),
        ("opt-in-status", |zone| one(zone.opt_in_status)),
        ("parent-zone-id", |_| Vec::new()),
        ("parent-zone-name", |_| Vec::new()),
        ("region-name", |zone| one(zone.region_name)),
        ("state", |zone| one(zone.state)),
        ("zone-id", |zone| one(&zone.id)),
        ("zone-name", |zone| one(zone.name)),
        ("zone-type", |zone| one(zone.kind)),
    ],
    tags: None,
};

pub(super) struct DescribeAvailabilityZones;
impl Operation for DescribeAvailabilityZones {
    const ACTION: &'static str = "DescribeAvailabilityZones";
    const ACCESS: Access = Access::Read("ec2:DescribeAvailabilityZones");
    const ERRORS: &'static [Code] = &[Code::InvalidParameterValue];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        let mut zones: Vec<Zone> = cx.region().zones().map(zone).collect();
        let unknown_name = req.zone_names.iter().find(|name| zones.iter().all(|z| !has_name(z, name)));
        let unknown_id = req.zone_ids.iter().find(|id| zones.iter().all(|z| z.id != **id));
        if let Some(unknown) = unknown_name.or(unknown_id) {
            return Err(Failure::zone_invalid(unknown));
        }
        let names_all = req.zone_names.is_empty() && req.zone_ids.is_empty();
        zones.retain(|z| {
            let is_named = req.zone_names.iter().any(|name| has_name(z, name));
            (names_all || is_named || req.zone_ids.contains(&z.id)) && filters.matches(z)
        });
        Ok(Response { zones })
    }
}

fn has_name(zone: &Zone, name: &str) -> bool {
    zone.name.to_string() == name
}

fn zone(zone: AvailabilityZone) -> Zone {
    Zone {
        opt_in_status: "opt-in-not-required",
        messages: Vec::new(),
        region_name: zone.region,
        name: zone,
        id: zone.zone_id(),
        group_name: zone.region.to_string(),
        network_border_group: zone.region,
        kind: "availability-zone",
        state: "available",
    }
}

#[cfg(test)]
mod tests {
    use testkit::World;

    const ACTION: &str = "DescribeAvailabilityZones";

    #[tokio::test]
    async fn the_zones_of_the_region_are_listed() {
        let world = World::new().await;
        let reply =
            world.call_as(&world.owner, "eu-west-1", ACTION, &[("AllAvailabilityZones", "true")]).await.ok();
        assert_eq!(reply.values("zoneName"), ["eu-west-1a", "eu-west-1b", "eu-west-1c"]);
        assert_eq!(reply.values("zoneId"), ["euw1-az1", "euw1-az2", "euw1-az3"]);
        assert_eq!(reply.value("zoneState"), "available");
    }

    #[tokio::test]
    async fn names_ids_and_filters_narrow_the_list() {
        let world = World::new().await;
        for (params, names) in [
            (vec![("ZoneName.1", "us-east-1b")], vec!["us-east-1b"]),
            (vec![("ZoneId.1", "use1-az3"), ("ZoneName.1", "us-east-1a")], vec!["us-east-1a", "us-east-1c"]),
            (vec![("Filter.1.Name", "zone-id"), ("Filter.1.Value.1", "*2")], vec!["us-east-1b"]),
            (vec![("Filter.1.Name", "state"), ("Filter.1.Value.1", "impaired")], vec![]),
            (vec![("Filter.1.Name", "parent-zone-id"), ("Filter.1.Value.1", "*")], vec![]),
        ] {
            assert_eq!(world.call(ACTION, &params).await.ok().values("zoneName"), names, "{params:?}");
        }
    }

    #[tokio::test]
    async fn a_zone_of_nowhere_is_named() {
        let world = World::new().await;
        for name in ["us-east-1z", "eu-west-1a"] {
            let reply = world.call(ACTION, &[("ZoneName.1", name)]).await;
            assert_eq!(reply.error_code(), "InvalidParameterValue");
            assert!(reply.error_message().contains(name));
        }
        assert_eq!(world.call(ACTION, &[("ZoneId.1", "use1")]).await.error_code(), "InvalidParameterValue");
    }
}
