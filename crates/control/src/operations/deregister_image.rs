//! `DeregisterImage`: no new launches from now on; instances stay, snapshots too unless asked.

use model::{Code, ImageId, SnapshotId};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    image_id: ImageId,
    delete_associated_snapshots: Option<bool>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
    #[xml("deleteSnapshotResultSet", skip_empty)]
    results: Vec<DeleteSnapshotResult>,
}

#[derive(Debug, ToXml)]
struct DeleteSnapshotResult {
    snapshot_id: SnapshotId,
    /// `success`, or `skipped` when another image is made of it.
    return_code: &'static str,
}

pub(super) struct DeregisterImage;
impl Operation for DeregisterImage {
    const ACTION: &'static str = "DeregisterImage";
    const ACCESS: Access = Access::Write("ec2:DeregisterImage");
    const ERRORS: &'static [Code] =
        &[Code::AuthFailure, Code::InvalidAmiIdNotFound, Code::InvalidAmiIdUnavailable];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let image = cx.own_image(&req.image_id).await?;
        let mut results = Vec::new();
        let mut deleted = Vec::new();
        if req.delete_associated_snapshots == Some(true) {
            let mut ids: Vec<SnapshotId> = image.snapshot_ids().cloned().collect();
            ids.sort();
            ids.dedup();
            for id in ids {
                let users = cx.images_using_snapshot(&id).await?;
                let is_free = users.iter().all(|user| user.image_id == image.image_id);
                let snapshot = if is_free { Some(cx.snapshot(&id).await?) } else { None };
                let return_code = if is_free { "success" } else { "skipped" };
                deleted.extend(snapshot);
                results.push(DeleteSnapshotResult { snapshot_id: id, return_code });
            }
        }
        let mut write = cx.commit_point()?;
        write.image_delete(image).await?;
        for snapshot in deleted {
            let snapshot: Granted<model::Snapshot> = snapshot;
            write.snapshot_delete(snapshot).await?;
        }
        Ok(Response { ok: true, results })
    }
}

#[cfg(test)]
mod tests {
    use testkit::World;

    #[tokio::test]
    async fn a_deregistered_image_is_gone_for_launches_and_its_snapshot_is_free() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let instance = world.seed_instance(&image).await;
        let described = world.call("DescribeImages", &[("ImageId.1", &image)]).await.ok();
        let snapshot = described.value("snapshotId");
        let refused = world.call("DeleteSnapshot", &[("SnapshotId", &snapshot)]).await;
        assert_eq!(refused.error_code(), "InvalidSnapshot.InUse");
        assert!(refused.error_message().contains(&image));
        world.call("DeregisterImage", &[("ImageId", &image)]).await.ok();
        let launch =
            [("ImageId", image.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        let refused = world.call("RunInstances", &launch).await;
        assert_eq!(refused.error_code(), "InvalidAMIID.Unavailable");
        assert!(world.host.is_running(&instance.parse().unwrap()));
        world.call("DeleteSnapshot", &[("SnapshotId", &snapshot)]).await.ok();
        let again = world.call("DeregisterImage", &[("ImageId", &image)]).await;
        assert_eq!(again.error_code(), "InvalidAMIID.Unavailable");
    }

    #[tokio::test]
    async fn snapshots_go_along_when_asked_unless_another_image_needs_them() {
        let world = World::new().await;
        let first = world.seed_image("first", b"x").await;
        let described = world.call("DescribeImages", &[("ImageId.1", &first)]).await.ok();
        let snapshot = described.value("snapshotId");
        let second = [
            ("Name", "second"),
            ("VirtualizationType", "hvm"),
            ("RootDeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot.as_str()),
        ];
        let second = world.call("RegisterImage", &second).await.ok().value("imageId");
        let with_snapshots = |id| [("ImageId", id), ("DeleteAssociatedSnapshots", "true")];
        let reply = world.call("DeregisterImage", &with_snapshots(first.as_str())).await.ok();
        assert_eq!(reply.value("returnCode"), "skipped");
        let reply = world.call("DeregisterImage", &with_snapshots(second.as_str())).await.ok();
        assert_eq!(reply.value("returnCode"), "success");
        let gone = world.call("DescribeSnapshots", &[("SnapshotId.1", &snapshot)]).await;
        assert_eq!(gone.error_code(), "InvalidSnapshot.NotFound");
    }
}
