//! `DescribeTags`: the tags of all kinds of resources in one flat list.

use metastore::TagRow;
use model::{Code, ResourceType};
use wire::filter::{Filters, Table, one};
use wire::page::Paging;
use wire::shapes::Filter;
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("Filter")]
    filters: Vec<Filter>,
    #[query(flatten)]
    paging: Paging,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    next_token: Option<String>,
    #[xml("tagSet")]
    tags: Vec<TagDescription>,
}

#[derive(Debug, ToXml)]
struct TagDescription {
    key: String,
    resource_id: String,
    resource_type: ResourceType,
    value: String,
}

const FILTERS: Table<TagRow> = Table {
    names: &[
        ("key", |row| one(&row.tag.key)),
        ("resource-id", |row| one(&row.resource_id)),
        ("resource-type", |row| one(row.resource_type)),
        ("value", |row| one(&row.tag.value)),
    ],
    tags: Some(|row| vec![(row.tag.key.as_str(), row.tag.value.as_str())]),
};

pub(super) struct DescribeTags;
impl Operation for DescribeTags {
    const ACTION: &'static str = "DescribeTags";
    const ACCESS: Access = Access::Read("ec2:DescribeTags");
    const ERRORS: &'static [Code] = &[];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        let mut rows = cx.all_tags().await?;
        rows.retain(|row| filters.matches(row));
        let page = cx.page(rows, &req.paging, |row| format!("{} {}", row.resource_id, row.tag.key))?;
        let description = |row: TagRow| TagDescription {
            key: row.tag.key,
            resource_id: row.resource_id,
            resource_type: row.resource_type,
            value: row.tag.value,
        };
        Ok(Response { next_token: page.next_token, tags: page.items.into_iter().map(description).collect() })
    }
}

#[cfg(test)]
mod tests {
    use testkit::{REGION, World};

    /// Two subnets and the VPC, each with the tags `n` and `kind`.
    async fn world() -> World {
        let world = World::new().await;
        let subnets = world.call("DescribeSubnets", &[]).await.ok().values("subnetId");
        let vpc = world.call("DescribeVpcs", &[]).await.ok().value("vpcId");
        for (n, (id, kind)) in
            [(&subnets[0], "subnet"), (&subnets[1], "subnet"), (&vpc, "vpc")].into_iter().enumerate()
        {
            let n = n.to_string();
            let params = [
                ("ResourceId.1", id.as_str()),
                ("Tag.1.Key", "n"),
                ("Tag.1.Value", n.as_str()),
                ("Tag.2.Key", "kind"),
                ("Tag.2.Value", kind),
            ];
            world.call("CreateTags", &params).await.ok();
        }
        world
    }

    #[tokio::test]
    async fn filters_narrow_the_list() {
        let world = world().await;
        let all = world.call("DescribeTags", &[]).await.ok();
        assert_eq!(all.values("key").len(), 6);
        let id = all.values("resourceId").remove(0);
        for (name, value, count) in [
            ("key", "kind", 3),
            ("value", "subnet", 2),
            ("value", "[012]", 0),
            ("value", "?", 3),
            ("resource-type", "vpc", 2),
            ("resource-id", id.as_str(), 2),
            ("tag:n", "2", 1),
        ] {
            let params = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
            let reply = world.call("DescribeTags", &params).await.ok();
            assert_eq!(reply.values("key").len(), count, "{name} {value}");
        }
        let params = [("Filter.1.Name", "colour"), ("Filter.1.Value.1", "x")];
        assert_eq!(world.call("DescribeTags", &params).await.error_code(), "InvalidParameterValue");
    }

    #[tokio::test]
    async fn pages_hold_every_tag_once() {
        let world = world().await;
        let first = world.call("DescribeTags", &[("MaxResults", "5")]).await.ok();
        let token = first.value("nextToken");
        let second = world.call("DescribeTags", &[("MaxResults", "5"), ("NextToken", &token)]).await.ok();
        assert_eq!((first.values("key").len(), second.values("key").len()), (5, 1));
        assert!(!second.has("nextToken"));
        assert_eq!(
            world.call("DescribeTags", &[("MaxResults", "4")]).await.error_code(),
            "InvalidMaxResults"
        );
    }

    #[tokio::test]
    async fn tags_are_the_accounts_own_and_the_regions() {
        let world = world().await;
        let other = world.account("other").await;
        assert!(!world.call_as(&other, REGION, "DescribeTags", &[]).await.ok().has("key"));
        assert!(!world.call_as(&world.owner, "eu-west-1", "DescribeTags", &[]).await.ok().has("key"));
    }
}
