//! `CreateTags`: adds or overwrites tags on any number of resources, on all of them or on none.

use model::limits::{TAGGED_PER_REQUEST_MAX, TAGS_PER_RESOURCE_MAX};
use model::{Code, Tag};
use wire::shapes;
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::jobs::refresh_instance::RefreshInstance;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::check_new_tags;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("ResourceId")]
    resource_ids: Vec<String>,
    #[query("Tag")]
    tags: Vec<shapes::Tag>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
}

pub(super) struct CreateTags;
impl Operation for CreateTags {
    const ACTION: &'static str = "CreateTags";
    const ACCESS: Access = Access::Write("ec2:CreateTags");
    const ERRORS: &'static [Code] = &[
        Code::InvalidAmiIdNotFound,
        Code::InvalidGroupNotFound,
        Code::InvalidId,
        Code::InvalidInstanceIdNotFound,
        Code::InvalidKeyPairNotFound,
        Code::InvalidParameterValue,
        Code::InvalidSecurityGroupRuleIdNotFound,
        Code::InvalidSnapshotNotFound,
        Code::InvalidSubnetIdNotFound,
        Code::InvalidVolumeNotFound,
        Code::InvalidVpcIdNotFound,
        Code::MissingParameter,
        Code::TagLimitExceeded,
        Code::UnsupportedOperation,
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        check_resource_ids(&req.resource_ids)?;
        if req.tags.is_empty() {
            return Err(Failure::missing("Tag"));
        }
        let tags: Vec<Tag> = req.tags.iter().cloned().map(Tag::from).collect();
        check_new_tags(&tags)?;
        let resources = cx.taggables(&req.resource_ids).await?;
        for resource in &resources {
            check_count(&cx.tags_of(&resource.id).await?, &tags)?;
        }
        let mut write = cx.commit_point()?;
        for resource in &resources {
            write.tags_set(resource, &tags).await?;
            RefreshInstance::enqueue_for_tags(&mut write, resource).await?;
        }
        Ok(Response { ok: true })
    }
}

pub(super) fn check_resource_ids(ids: &[String]) -> Result<(), Failure> {
    if ids.is_empty() {
        return Err(Failure::missing("ResourceId"));
    }
    if ids.len() > TAGGED_PER_REQUEST_MAX {
        return Err(Failure::too_many_to_tag(TAGGED_PER_REQUEST_MAX));
    }
    Ok(())
}

fn check_count(present: &[Tag], new: &[Tag]) -> Result<(), Failure> {
    let kept = present.iter().filter(|tag| new.iter().all(|other| other.key != tag.key)).count();
    if kept + new.len() > TAGS_PER_RESOURCE_MAX {
        return Err(Failure::tag_limit(TAGS_PER_RESOURCE_MAX));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use testkit::{REGION, World};

    /// One resource of each kind that a new account has, and a key pair.
    async fn ids(world: &World) -> Vec<String> {
        let first = |reply: testkit::Reply, element: &str| reply.ok().value(element);
        let params = [("KeyName", "k"), ("KeyType", "ed25519")];
        vec![
            first(world.call("CreateKeyPair", &params).await, "keyPairId"),
            first(world.call("DescribeVpcs", &[]).await, "vpcId"),
            first(world.call("DescribeSubnets", &[]).await, "subnetId"),
            first(world.call("DescribeSecurityGroups", &[]).await, "groupId"),
        ]
    }

    #[tokio::test]
    async fn tags_go_on_every_resource_and_later_values_win() {
        let world = World::new().await;
        let ids = ids(&world).await;
        let names: Vec<String> = (1..=ids.len()).map(|n| format!("ResourceId.{n}")).collect();
        let mut params: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(ids.iter().map(String::as_str)).collect();
        params.extend([("Tag.1.Key", "team"), ("Tag.1.Value", "a"), ("Tag.2.Key", "empty")]);
        assert_eq!(world.call("CreateTags", &params).await.ok().value("return"), "true");
        world
            .call("CreateTags", &[("ResourceId.1", &ids[0]), ("Tag.1.Key", "team"), ("Tag.1.Value", "b")])
            .await
            .ok();
        let tags =
            world.call("DescribeTags", &[("Filter.1.Name", "key"), ("Filter.1.Value.1", "team")]).await.ok();
        assert_eq!(tags.values("resourceId").len(), 4);
        assert_eq!(tags.values("value").iter().filter(|value| *value == "a").count(), 3);
        for (action, element) in [("DescribeKeyPairs", "keySet"), ("DescribeVpcs", "vpcSet")] {
            assert!(
                world.call(action, &[]).await.ok().insides(element)[0].contains("<key>team</key>"),
                "{action}"
            );
        }
    }

    #[tokio::test]
    async fn one_missing_resource_leaves_all_untouched() {
        let world = World::new().await;
        let ids = ids(&world).await;
        let before = world.dump().await;
        for (missing, code) in [
            ("ami-12345678", "InvalidAMIID.NotFound"),
            ("ami-1234567Z", "InvalidAMIID.Malformed"),
            ("i-12345678", "InvalidInstanceID.NotFound"),
            ("snap-12345678", "InvalidSnapshot.NotFound"),
            ("vol-12345678", "InvalidVolume.NotFound"),
            ("key-12345678", "InvalidKeyPair.NotFound"),
            ("sg-12345678", "InvalidGroup.NotFound"),
            ("sgr-12345678", "InvalidSecurityGroupRuleId.NotFound"),
            ("subnet-12345678", "InvalidSubnetID.NotFound"),
            ("vpc-12345678", "InvalidVpcID.NotFound"),
            ("eni-12345678", "UnsupportedOperation"),
            ("igw-12345678", "InvalidID"),
            ("nonsense", "InvalidID"),
        ] {
            let params = [("ResourceId.1", ids[0].as_str()), ("ResourceId.2", missing), ("Tag.1.Key", "k")];
            assert_eq!(world.call("CreateTags", &params).await.error_code(), code, "{missing}");
        }
        assert_eq!(world.dump().await, before);
    }

    #[tokio::test]
    async fn anothers_resource_cannot_be_tagged() {
        let world = World::new().await;
        let ids = ids(&world).await;
        let other = world.account("other").await;
        for id in &ids {
            let params = [("ResourceId.1", id.as_str()), ("Tag.1.Key", "k")];
            let reply = world.call_as(&other, REGION, "CreateTags", &params).await;
            assert!(reply.error_code().ends_with(".NotFound"), "{id}");
            let reply = world.call_as(&world.owner, "eu-west-1", "CreateTags", &params).await;
            assert!(reply.error_code().ends_with(".NotFound"), "{id}");
        }
    }

    #[tokio::test]
    async fn images_volumes_snapshots_and_instances_are_tagged_too() {
        let world = World::new().await;
        let image = world.seed_image("base", b"boot me").await;
        let instance = world.seed_instance(&image).await;
        let volume = world.seed_volume(1, None).await;
        let snapshot =
            world.call("CreateSnapshot", &[("VolumeId", volume.as_str())]).await.ok().value("snapshotId");
        let params = [
            ("ResourceId.1", image.as_str()),
            ("ResourceId.2", instance.as_str()),
            ("ResourceId.3", volume.as_str()),
            ("ResourceId.4", snapshot.as_str()),
            ("Tag.1.Key", "k"),
        ];
        world.call("CreateTags", &params).await.ok();
        let tags = world.call("DescribeTags", &[]).await.ok();
        let mut types = tags.values("resourceType");
        types.sort();
        assert_eq!(types, ["image", "instance", "snapshot", "volume"]);
        let public = [("ImageId", image.as_str()), ("LaunchPermission.Add.1.Group", "all")];
        world.call("ModifyImageAttribute", &public).await.ok();
        let other = world.account("other").await;
        let params = [("ResourceId.1", image.as_str()), ("Tag.1.Key", "theirs")];
        let reply = world.call_as(&other, REGION, "CreateTags", &params).await;
        assert_eq!(reply.error_code(), "InvalidAMIID.NotFound");
    }

    #[tokio::test]
    async fn tags_that_break_the_rules_are_refused() {
        let world = World::new().await;
        let id = ids(&world).await.remove(1);
        let long = "x".repeat(129);
        for (more, code) in [
            (vec![("Tag.1.Key", "aws:x")], "InvalidParameterValue"),
            (vec![("Tag.1.Key", long.as_str())], "InvalidParameterValue"),
            (vec![("Tag.1.Key", "a"), ("Tag.2.Key", "a")], "InvalidParameterValue"),
            (vec![], "MissingParameter"),
            (vec![("Tag.1.Value", "x")], "MissingParameter"),
            (vec![("Tag.1.Key", "a"), ("DryRun", "true")], "DryRunOperation"),
        ] {
            let params = [vec![("ResourceId.1", id.as_str())], more].concat();
            assert_eq!(world.call("CreateTags", &params).await.error_code(), code, "{params:?}");
        }
        assert_eq!(world.call("CreateTags", &[("Tag.1.Key", "a")]).await.error_code(), "MissingParameter");
        let names: Vec<String> = (1..=1001).map(|n| format!("ResourceId.{n}")).collect();
        let mut many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), id.as_str())).collect();
        many.push(("Tag.1.Key", "a"));
        assert_eq!(world.call("CreateTags", &many).await.error_code(), "InvalidParameterValue");
    }

    #[tokio::test]
    async fn a_resource_has_at_most_fifty_tags() {
        let world = World::new().await;
        let id = ids(&world).await.remove(1);
        for range in [0..30, 30..50] {
            let keys: Vec<String> = range.map(|n| format!("k{n}")).collect();
            let names: Vec<String> = (1..=keys.len()).map(|n| format!("Tag.{n}.Key")).collect();
            let mut params: Vec<(&str, &str)> =
                names.iter().map(String::as_str).zip(keys.iter().map(String::as_str)).collect();
            params.push(("ResourceId.1", &id));
            world.call("CreateTags", &params).await.ok();
        }
        let one_more = [("ResourceId.1", id.as_str()), ("Tag.1.Key", "k50")];
        assert_eq!(world.call("CreateTags", &one_more).await.error_code(), "TagLimitExceeded");
        let overwrite = [("ResourceId.1", id.as_str()), ("Tag.1.Key", "k0"), ("Tag.1.Value", "new")];
        world.call("CreateTags", &overwrite).await.ok();
    }
}
