//! `CreateSnapshot`: a point in time of a volume; its bytes follow in the background.

use model::limits::DESCRIPTION_CHARS_MAX;
use model::{
    Code, ResourceType, Snapshot, SnapshotId, SnapshotOrigin, SnapshotState, Volume, VolumeId, VolumeState,
};
use wire::shapes::{self, TagSpecification};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::jobs::upload_snapshot::UploadSnapshot;
use crate::ports::Host;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::tags_for;
use crate::spine::write::Write;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    volume_id: VolumeId,
    description: Option<String>,
    location: Option<String>,
    #[query("TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml(flatten)]
    snapshot: shapes::Snapshot,
}

pub(super) struct CreateSnapshot;
impl Operation for CreateSnapshot {
    const ACTION: &'static str = "CreateSnapshot";
    const ACCESS: Access = Access::Write("ec2:CreateSnapshot");
    const ERRORS: &'static [Code] = &[
        Code::IncorrectState,
        Code::InvalidParameterValue,
        Code::InvalidVolumeNotFound,
        Code::UnsupportedOperation,
    ];
    const UNSUPPORTED: &'static [&'static str] = &["OutpostArn"];
    const ASKS_HOST: bool = true;
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        check(req)?;
        let tags = tags_for(&req.tag_specifications, ResourceType::Snapshot)?;
        let volume = cx.volume(&req.volume_id).await?;
        if !matches!(volume.state, VolumeState::Available | VolumeState::InUse) {
            return Err(Failure::volume_not_ready(&volume));
        }
        let creation = cx.may_create(ResourceType::Snapshot, &tags)?;
        let mut write = cx.commit_point()?;
        let description = req.description.clone().unwrap_or_default();
        let snapshot = pending_snapshot(&mut write, &volume, description).await?;
        write.snapshot_insert(creation, &snapshot).await?;
        write.enqueue(&UploadSnapshot::of(&snapshot.snapshot_id)).await?;
        Ok(Response { snapshot: shapes::Snapshot::of(&snapshot, &tags) })
    }

    /// What is written once the caller has the answer is no part of the snapshot.
    async fn complete(host: &dyn Host, response: Response) -> Result<Response, Failure> {
        let Response { snapshot } = &response;
        host.volume_freeze(snapshot.volume_id.as_str(), snapshot.snapshot_id.as_str()).await?;
        Ok(response)
    }
}

fn check(req: &Request) -> Result<(), Failure> {
    if req.location.as_deref().is_some_and(|location| location != "regional") {
        return Err(Failure::unsupported("A Location other than regional"));
    }
    check_description(req.description.as_deref())
}

pub(super) fn check_description(description: Option<&str>) -> Result<(), Failure> {
    match description {
        Some(text) if text.chars().count() > DESCRIPTION_CHARS_MAX => {
            Err(Failure::value(format!("The description is longer than {DESCRIPTION_CHARS_MAX} characters.")))
        }
        Some(_) | None => Ok(()),
    }
}

/// A snapshot of the volume as it is about to be frozen.
pub(super) async fn pending_snapshot(
    write: &mut Write<'_, '_>,
    volume: &Granted<Volume>,
    description: String,
) -> Result<Snapshot, Failure> {
    Ok(Snapshot {
        snapshot_id: SnapshotId::generate(write.ids()),
        owner_id: volume.owner_id.clone(),
        region: volume.availability_zone.region,
        volume_id: volume.volume_id.clone(),
        state: SnapshotState::Pending,
        state_message: None,
        start_time: write.now(),
        completion_time: None,
        progress_percent: 0,
        description,
        volume_size_gib: volume.size_gib,
        full_snapshot_size_bytes: None,
        origin: SnapshotOrigin::Volume { checkpoint: volume.checkpoint.clone() },
        domain: write.own_domain().await?,
        root: None,
    })
}

#[cfg(test)]
mod tests {
    use testkit::{Fault, World};

    #[tokio::test]
    async fn the_answer_shows_the_snapshot_as_it_begins() {
        let world = World::new().await;
        let volume = world.seed_volume(3, None).await;
        let params = [
            ("VolumeId", volume.as_str()),
            ("Description", "before the change"),
            ("Location", "regional"),
            ("TagSpecification.1.ResourceType", "snapshot"),
            ("TagSpecification.1.Tag.1.Key", "Name"),
            ("TagSpecification.1.Tag.1.Value", "first"),
        ];
        let reply = world.call("CreateSnapshot", &params).await.ok();
        assert_eq!((reply.value("status"), reply.value("progress")), ("pending".into(), "0%".into()));
        assert_eq!((reply.value("volumeId"), reply.value("volumeSize")), (volume.to_string(), "3".into()));
        assert_eq!(reply.value("ownerId"), world.owner.id.as_str());
        assert_eq!(
            (reply.value("description"), reply.value("key")),
            ("before the change".into(), "Name".into())
        );
        let id = reply.value("snapshotId");
        assert_eq!(world.host.held_freezes(volume.as_str()), [id.as_str()], "frozen before the answer");
    }

    #[tokio::test]
    async fn a_host_that_does_not_answer_leaves_the_freezing_to_the_job() {
        let world = World::new().await;
        let volume = world.seed_volume(1, None).await;
        world.host.guest_write(volume.as_str(), 0, &[7; 512]);
        world.gate.plan(Some((0, Fault::Fail)));
        let reply = world.call("CreateSnapshot", &[("VolumeId", volume.as_str())]).await.ok();
        assert_eq!(world.host.held_freezes(volume.as_str()), Vec::<String>::new());
        world.settle().await;
        let id = reply.value("snapshotId").parse().unwrap();
        assert_eq!(world.snapshot_content(&id, 512).await, [7; 512]);
    }

    #[tokio::test]
    async fn what_cannot_be_snapshotted_is_refused() {
        let world = World::new().await;
        let volume = world.seed_volume(1, None).await;
        let id = ("VolumeId", volume.as_str());
        let long = "x".repeat(256);
        for (params, code) in [
            (vec![("VolumeId", "vol-0123456789abcdef0")], "InvalidVolume.NotFound"),
            (vec![("VolumeId", "volume")], "InvalidVolumeID.Malformed"),
            (vec![id, ("Description", &long)], "InvalidParameterValue"),
            (vec![id, ("Location", "local")], "UnsupportedOperation"),
            (vec![id, ("OutpostArn", "arn")], "UnsupportedOperation"),
            (vec![id, ("DryRun", "true")], "DryRunOperation"),
            (
                vec![
                    id,
                    ("TagSpecification.1.ResourceType", "volume"),
                    ("TagSpecification.1.Tag.1.Key", "Name"),
                ],
                "InvalidParameterValue",
            ),
        ] {
            let before = world.dump().await;
            assert_eq!(world.call("CreateSnapshot", &params).await.error_code(), code, "{params:?}");
            assert_eq!(world.dump().await, before, "{params:?}");
        }
        let other = world.account("other").await;
        let refused = world.call_as(&other, testkit::REGION, "CreateSnapshot", &[id]).await;
        assert_eq!(refused.error_code(), "InvalidVolume.NotFound");
        let refused = world.call_as(&world.owner, "eu-west-1", "CreateSnapshot", &[id]).await;
        assert_eq!(refused.error_code(), "InvalidVolume.NotFound", "of another region");
    }

    #[tokio::test]
    async fn a_volume_on_its_way_out_is_not_snapshotted() {
        let world = World::new().await;
        let id = world.seed_volume(1, None).await;
        let mut tx = world.metastore.write().await.unwrap();
        let mut volume = tx.volume_get(&id).await.unwrap().unwrap();
        volume.state = model::VolumeState::Deleting;
        tx.volume_update(&volume).await.unwrap();
        tx.commit().await.unwrap();
        let refused = world.call("CreateSnapshot", &[("VolumeId", id.as_str())]).await;
        assert_eq!(refused.error_code(), "IncorrectState");
        assert_eq!(refused.error_message(), format!("The volume '{id}' is 'deleting'."));
    }
}
