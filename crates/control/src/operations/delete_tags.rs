//! `DeleteTags`: removes tags from any number of resources; what is not there is removed already.

use model::Code;
use model::tag::is_reserved;
use wire::shapes::TagKey;
use wire::{FromQuery, ToXml};

use super::create_tags::check_resource_ids;
use crate::failure::Failure;
use crate::jobs::refresh_instance::RefreshInstance;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;
use crate::spine::write::Write;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("ResourceId")]
    resource_ids: Vec<String>,
    /// None at all: every tag of the user's goes.
    #[query("Tag")]
    tags: Vec<TagKey>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
}

pub(super) struct DeleteTags;
impl Operation for DeleteTags {
    const ACTION: &'static str = "DeleteTags";
    const ACCESS: Access = Access::Write("ec2:DeleteTags");
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
        Code::UnsupportedOperation,
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        check_resource_ids(&req.resource_ids)?;
        if req.tags.iter().any(|tag| is_reserved(&tag.key)) {
            return Err(Failure::tag_reserved());
        }
        let resources = cx.taggables(&req.resource_ids).await?;
        let mut write = cx.commit_point()?;
        for resource in &resources {
            for (key, value) in doomed(&mut write, req, &resource.id).await? {
                write.tag_unset(resource, &key, value.as_deref()).await?;
            }
            RefreshInstance::enqueue_for_tags(&mut write, resource).await?;
        }
        Ok(Response { ok: true })
    }
}

/// Keys, and the value that a tag must have to go.
async fn doomed(
    write: &mut Write<'_, '_>,
    req: &Request,
    id: &str,
) -> Result<Vec<(String, Option<String>)>, Failure> {
    if !req.tags.is_empty() {
        return Ok(req.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect());
    }
    let present = write.cx().tags_of(id).await?;
    Ok(present.into_iter().filter(|tag| !is_reserved(&tag.key)).map(|tag| (tag.key, None)).collect())
}

#[cfg(test)]
mod tests {
    use testkit::{REGION, World};

    async fn tagged_vpc() -> (World, String) {
        let world = World::new().await;
        let id = world.call("DescribeVpcs", &[]).await.ok().value("vpcId");
        let mut params = vec![("ResourceId.1", id.as_str())];
        params.extend([("Tag.1.Key", "a"), ("Tag.1.Value", "1"), ("Tag.2.Key", "b"), ("Tag.2.Value", "2")]);
        params.extend([("Tag.3.Key", "c")]);
        world.call("CreateTags", &params).await.ok();
        (world, id)
    }

    async fn keys(world: &World) -> Vec<String> {
        world.call("DescribeTags", &[]).await.ok().values("key")
    }

    #[tokio::test]
    async fn a_given_value_must_match_and_no_value_means_any() {
        let (world, id) = tagged_vpc().await;
        let id = ("ResourceId.1", id.as_str());
        let not_that =
            [id, ("Tag.1.Key", "a"), ("Tag.1.Value", "2"), ("Tag.2.Key", "b"), ("Tag.2.Value", "")];
        world.call("DeleteTags", &not_that).await.ok();
        assert_eq!(keys(&world).await, ["a", "b", "c"]);
        let these =
            [id, ("Tag.1.Key", "a"), ("Tag.1.Value", "1"), ("Tag.2.Key", "b"), ("Tag.3.Key", "never")];
        assert_eq!(world.call("DeleteTags", &these).await.ok().value("return"), "true");
        assert_eq!(keys(&world).await, ["c"]);
        world.call("DeleteTags", &[id, ("Tag.1.Key", "c"), ("Tag.1.Value", "")]).await.ok();
        assert!(keys(&world).await.is_empty());
    }

    #[tokio::test]
    async fn without_keys_every_tag_goes() {
        let (world, id) = tagged_vpc().await;
        let id = ("ResourceId.1", id.as_str());
        assert_eq!(world.call("DeleteTags", &[id, ("DryRun", "true")]).await.error_code(), "DryRunOperation");
        assert_eq!(keys(&world).await.len(), 3);
        world.call("DeleteTags", &[id]).await.ok();
        assert!(keys(&world).await.is_empty());
    }

    #[tokio::test]
    async fn strangers_and_reserved_keys_are_refused() {
        let (world, id) = tagged_vpc().await;
        let id = ("ResourceId.1", id.as_str());
        let other = world.account("other").await;
        let reply = world.call_as(&other, REGION, "DeleteTags", &[id]).await;
        assert_eq!(reply.error_code(), "InvalidVpcID.NotFound");
        let reply = world.call("DeleteTags", &[id, ("Tag.1.Key", "AWS:x")]).await;
        assert_eq!(reply.error_code(), "InvalidParameterValue");
        assert_eq!(world.call("DeleteTags", &[]).await.error_code(), "MissingParameter");
        let both = [id, ("ResourceId.2", "vol-12345678")];
        assert_eq!(world.call("DeleteTags", &both).await.error_code(), "InvalidVolume.NotFound");
        assert_eq!(keys(&world).await.len(), 3);
    }
}
