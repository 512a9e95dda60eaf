//! `DeleteSnapshot`: refused while an image is made of it. The space of blocks that nothing else needs is freed a day later.

use model::{Code, SnapshotId};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    snapshot_id: SnapshotId,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
}

pub(super) struct DeleteSnapshot;
impl Operation for DeleteSnapshot {
    const ACTION: &'static str = "DeleteSnapshot";
    const ACCESS: Access = Access::Write("ec2:DeleteSnapshot");
    const ERRORS: &'static [Code] = &[Code::InvalidSnapshotNotFound, Code::InvalidSnapshotInUse];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let snapshot = cx.snapshot(&req.snapshot_id).await?;
        if let Some(image) = cx.images_using_snapshot(&snapshot.snapshot_id).await?.first() {
            return Err(Failure::snapshot_in_use(&snapshot.snapshot_id, &image.image_id));
        }
        let mut write = cx.commit_point()?;
        write.snapshot_delete(snapshot).await?;
        Ok(Response { ok: true })
    }
}

#[cfg(test)]
mod tests {
    use testkit::World;

    #[tokio::test]
    async fn a_deleted_snapshot_is_gone_with_its_tags_and_its_object() {
        let world = World::new().await;
        let id = world.seed_snapshot(1, b"x").await;
        let tags = [("ResourceId.1", id.as_str()), ("Tag.1.Key", "k"), ("Tag.1.Value", "v")];
        world.call("CreateTags", &tags).await.ok();
        assert!(world.is_published(&id).await);
        let params = [("SnapshotId", id.as_str())];
        assert_eq!(world.call("DeleteSnapshot", &params).await.ok().value("return"), "true");
        assert!(!world.dump().await.contains("tag_key"));
        assert_eq!(world.call("DeleteSnapshot", &params).await.error_code(), "InvalidSnapshot.NotFound");
        world.settle().await;
        assert!(!world.is_published(&id).await);
    }

    #[tokio::test]
    async fn a_snapshot_of_an_image_stays() {
        let world = World::new().await;
        let image = world.seed_image("image", b"x").await;
        let id = world.call("DescribeSnapshots", &[]).await.ok().value("snapshotId");
        let refused = world.call("DeleteSnapshot", &[("SnapshotId", &id)]).await;
        assert_eq!(refused.error_code(), "InvalidSnapshot.InUse");
        assert_eq!(refused.error_message(), format!("The snapshot {id} is currently in use by {image}"));
        world.call("DeregisterImage", &[("ImageId", &image)]).await.ok();
        world.call("DeleteSnapshot", &[("SnapshotId", &id)]).await.ok();
    }

    #[tokio::test]
    async fn anothers_snapshot_is_not_there() {
        let world = World::new().await;
        let other = world.account("other").await;
        let id = world.seed_snapshot_of(&other, 1, b"x").await;
        let before = world.dump().await;
        let refused = world.call("DeleteSnapshot", &[("SnapshotId", id.as_str())]).await;
        assert_eq!(refused.error_code(), "InvalidSnapshot.NotFound");
        let params = [("SnapshotId", id.as_str()), ("DryRun", "true")];
        let dry = world.call_as(&other, testkit::REGION, "DeleteSnapshot", &params).await;
        assert_eq!(dry.error_code(), "DryRunOperation");
        assert_eq!(world.dump().await, before);
    }

    #[tokio::test]
    async fn every_fault_of_the_cleaning_up_ends_as_the_clean_run() {
        let scene = async || {
            let world = World::new().await;
            let volume = world.seed_volume(1, None).await;
            world.host.guest_write(volume.as_str(), 0, &[7; 4096]);
            let reply = world.call("CreateSnapshot", &[("VolumeId", volume.as_str())]).await.ok();
            let id = reply.value("snapshotId");
            // Frozen and stored, not published yet.
            for _ in 0..2 {
                world.runner.turn().await.unwrap();
            }
            world.call("DeleteSnapshot", &[("SnapshotId", &id)]).await.ok();
            (world, (volume, id.parse().unwrap()))
        };
        testkit::torture(scene, async |world, (volume, id)| {
            format!("{:?} {}", world.host.held_freezes(volume.as_str()), world.is_published(id).await)
        })
        .await;
    }
}
