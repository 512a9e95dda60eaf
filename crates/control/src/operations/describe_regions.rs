//! `DescribeRegions`: the regions that this installation serves, all of them enabled.

use model::{Code, Region};
use wire::filter::{Filters, Table, one};
use wire::shapes::Filter;
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("RegionName")]
    region_names: Vec<Region>,
    /// Regions that an account has not enabled: here there are none.
    #[expect(dead_code, reason = "with and without it the answer is the same")]
    all_regions: Option<bool>,
    #[query("Filter")]
    filters: Vec<Filter>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("regionInfo")]
    regions: Vec<RegionInfo>,
}

#[derive(Debug, ToXml)]
struct RegionInfo {
    opt_in_status: &'static str,
    region_name: Region,
    region_endpoint: String,
}

const NO_OPT_IN: &str = "opt-in-not-required";

const FILTERS: Table<RegionInfo> = Table {
    names: &[
        ("endpoint", |region| one(&region.region_endpoint)),
        ("opt-in-status", |region| one(region.opt_in_status)),
        ("region-name", |region| one(region.region_name)),
    ],
    tags: None,
};

pub(super) struct DescribeRegions;
impl Operation for DescribeRegions {
    const ACTION: &'static str = "DescribeRegions";
    const ACCESS: Access = Access::Read("ec2:DescribeRegions");
    const ERRORS: &'static [Code] = &[];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let mut regions = Vec::new();
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        for region_name in
            Region::all().filter(|r| req.region_names.is_empty() || req.region_names.contains(r))
        {
            let region_endpoint = cx.env().endpoint.clone();
            regions.push(RegionInfo { opt_in_status: NO_OPT_IN, region_name, region_endpoint });
        }
        regions.retain(|region| filters.matches(region));
        Ok(Response { regions })
    }
}

#[cfg(test)]
mod tests {
    use testkit::World;

    #[tokio::test]
    async fn every_region_is_listed_with_this_endpoint() {
        let world = World::new().await;
        let reply = world.call("DescribeRegions", &[]).await.ok();
        assert_eq!(reply.values("regionName").len(), model::Region::all().count());
        assert_eq!(reply.value("regionEndpoint"), world.env.endpoint);
    }

    #[tokio::test]
    async fn names_and_filters_narrow_the_list() {
        let world = World::new().await;
        let reply = world.call("DescribeRegions", &[("RegionName.1", "eu-west-1")]).await.ok();
        assert_eq!(reply.values("regionName"), ["eu-west-1"]);
        let params = [("Filter.1.Name", "region-name"), ("Filter.1.Value.1", "us-west-?")];
        let reply = world.call("DescribeRegions", &params).await.ok();
        assert_eq!(reply.values("regionName"), ["us-west-1", "us-west-2"]);
        let reply = world.call("DescribeRegions", &[("RegionName.1", "mars-1")]).await;
        assert_eq!(reply.error_code(), "InvalidRegion");
    }
}
