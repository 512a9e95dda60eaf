//! `DescribeVolumes`: the account's volumes and what each is attached to.

use model::{Code, Volume, VolumeId};
use wire::filter::{Filters, Table, one, opt};
use wire::page::Paging;
use wire::shapes::{self, Filter};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::rules::once::each_once;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::{Tagged, tag_pairs};

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("VolumeId")]
    volume_ids: Vec<VolumeId>,
    /// Volumes that a service of the provider manages: here there are none.
    #[expect(dead_code, reason = "with and without it the answer is the same")]
    include_managed_resources: Option<bool>,
    #[query("Filter")]
    filters: Vec<Filter>,
    #[query(flatten)]
    paging: Paging,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("volumeSet")]
    volumes: Vec<shapes::Volume>,
    next_token: Option<String>,
}

const FILTERS: Table<Tagged<Volume>> = Table {
    names: &[
        ("attachment.attach-time", |v| opt(v.item.attachment.as_ref().map(|held| held.attach_time))),
        ("attachment.delete-on-termination", |v| {
            opt(v.item.attachment.as_ref().map(|held| held.delete_on_termination))
        }),
        ("attachment.device", |v| opt(v.item.attachment.as_ref().map(|held| &held.device))),
        ("attachment.instance-id", |v| opt(v.item.attachment.as_ref().map(|held| &held.instance_id))),
        ("attachment.status", |v| opt(v.item.attachment.as_ref().map(|held| held.state))),
        ("availability-zone", |v| one(v.item.availability_zone)),
        ("availability-zone-id", |v| one(v.item.availability_zone.zone_id())),
        ("create-time", |v| one(v.item.create_time)),
        ("encrypted", |_| one(false)),
        ("fast-restored", |_| one(false)),
        ("multi-attach-enabled", |_| one(false)),
        ("operator.managed", |_| one(false)),
        ("operator.principal", |_| Vec::new()),
        ("size", |v| one(v.item.size_gib)),
        ("snapshot-id", |v| opt(v.item.snapshot_id.as_ref())),
        ("status", |v| one(v.item.state)),
        ("volume-id", |v| one(&v.item.volume_id)),
        ("volume-type", |v| one(v.item.volume_type)),
    ],
    tags: Some(|v| tag_pairs(&v.tags)),
};

pub(super) struct DescribeVolumes;
impl Operation for DescribeVolumes {
    const ACTION: &'static str = "DescribeVolumes";
    const ACCESS: Access = Access::Read("ec2:DescribeVolumes");
    const ERRORS: &'static [Code] = &[Code::InvalidVolumeNotFound];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        req.paging.refuse_with_ids("volumeSet", !req.volume_ids.is_empty())?;
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        let mut volumes = Vec::new();
        for id in each_once(&req.volume_ids) {
            volumes.push(cx.volume(id).await?.into_inner());
        }
        if req.volume_ids.is_empty() {
            volumes = cx.volumes().await?;
        }
        let mut tagged = cx.tagged(volumes, |v| v.volume_id.as_str()).await?;
        tagged.retain(|v| filters.matches(v));
        let page = cx.page(tagged, &req.paging, |v| v.item.volume_id.to_string())?;
        Ok(Response {
            volumes: page.items.iter().map(|v| shapes::Volume::of(&v.item, &v.tags)).collect(),
            next_token: page.next_token,
        })
    }
}

#[cfg(test)]
mod tests {
    use testkit::World;

    async fn listed(world: &World, filters: &[(&str, &str)]) -> usize {
        let pairs: Vec<(String, String)> = (1..)
            .zip(filters)
            .flat_map(|(n, (name, value))| {
                [
                    (format!("Filter.{n}.Name"), (*name).to_owned()),
                    (format!("Filter.{n}.Value.1"), (*value).to_owned()),
                ]
            })
            .collect();
        let params: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        world.call("DescribeVolumes", &params).await.ok().values("size").len()
    }

    #[tokio::test]
    async fn a_volume_of_an_instance_shows_its_attachment() {
        let world = World::new().await;
        let image = world.seed_image("image", b"x").await;
        let instance = world.seed_instance(&image).await;
        let reply = world.call("DescribeVolumes", &[]).await.ok();
        let attachment = reply.insides("attachmentSet").pop().unwrap();
        assert!(attachment.contains(&format!("<instanceId>{instance}</instanceId>")), "{attachment}");
        assert!(attachment.contains("<device>/dev/xvda</device><status>attached</status>"), "{attachment}");
        assert_eq!(reply.value("size"), "1");
        assert_eq!(reply.value("availabilityZoneId"), "use1-az1");
        assert!(reply.value("snapshotId").starts_with("snap-"));
        let volume = reply.value("volumeId");
        for (name, value) in [
            ("attachment.attach-time", "2026-*"),
            ("attachment.delete-on-termination", "true"),
            ("attachment.device", "/dev/xvda"),
            ("attachment.instance-id", instance.as_str()),
            ("attachment.status", "attached"),
            ("availability-zone", "us-east-1a"),
            ("availability-zone-id", "use1-az1"),
            ("create-time", "2026-*"),
            ("encrypted", "false"),
            ("fast-restored", "false"),
            ("multi-attach-enabled", "false"),
            ("operator.managed", "false"),
            ("size", "1"),
            ("snapshot-id", "snap-*"),
            ("status", "in-use"),
            ("volume-id", volume.as_str()),
            ("volume-type", "gp*"),
        ] {
            assert_eq!(listed(&world, &[(name, value)]).await, 1, "{name} {value}");
            assert_eq!(listed(&world, &[(name, "other")]).await, 0, "{name}");
        }
        assert_eq!(listed(&world, &[("operator.principal", "*")]).await, 0);
        let unknown = [("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")];
        assert_eq!(world.call("DescribeVolumes", &unknown).await.error_code(), "InvalidParameterValue");
    }

    #[tokio::test]
    async fn volumes_are_found_by_their_tags() {
        let world = World::new().await;
        let volume = world.seed_volume(3, None).await;
        world.seed_volume(4, None).await;
        let tags = [("ResourceId.1", volume.as_str()), ("Tag.1.Key", "role"), ("Tag.1.Value", "data")];
        world.call("CreateTags", &tags).await.ok();
        assert_eq!(listed(&world, &[("tag:role", "data")]).await, 1);
        assert_eq!(listed(&world, &[("tag-key", "role"), ("size", "4")]).await, 0);
        let reply = world.call("DescribeVolumes", &[("VolumeId.1", volume.as_str())]).await.ok();
        assert_eq!((reply.value("key"), reply.value("value")), ("role".into(), "data".into()));
        assert_eq!((reply.value("status"), reply.value("snapshotId")), ("available".into(), String::new()));
        assert_eq!(reply.value("attachmentSet"), "");
    }

    #[tokio::test]
    async fn anothers_volume_is_not_there_and_pages_hold_what_was_asked_for() {
        let world = World::new().await;
        let mut ids = Vec::new();
        for _ in 0..7 {
            ids.push(world.seed_volume(1, None).await.to_string());
        }
        ids.sort();
        let other = world.account("other").await;
        let missing = world
            .call_as(&other, testkit::REGION, "DescribeVolumes", &[("VolumeId.1", ids[0].as_str())])
            .await;
        assert_eq!(missing.error_code(), "InvalidVolume.NotFound");
        assert_eq!(missing.error_message(), format!("The volume '{}' does not exist.", ids[0]));
        let first = world.call("DescribeVolumes", &[("MaxResults", "5")]).await.ok();
        let token = first.value("nextToken");
        let rest = world.call("DescribeVolumes", &[("MaxResults", "5"), ("NextToken", &token)]).await.ok();
        assert!(!rest.has("nextToken"));
        assert_eq!([first.values("volumeId"), rest.values("volumeId")].concat(), ids);
        let both = [("MaxResults", "5"), ("VolumeId.1", ids[0].as_str())];
        assert_eq!(world.call("DescribeVolumes", &both).await.error_code(), "InvalidParameterCombination");
    }
}
