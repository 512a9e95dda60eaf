//! `CopyImage`: called where the copy shall be; brings an own image and its snapshots from a region.

#[cfg(test)]
mod tests;

use std::str::FromStr;

use model::{
    BlockDeviceMapping, Code, DeviceSource, Image, ImageId, ImageState, Region, ResourceType, Snapshot,
    SnapshotId, SnapshotOrigin, SnapshotState, Tag,
};
use wire::shapes::TagSpecification;
use wire::{FromQuery, ToXml};

use super::create_snapshot::check_description;
use crate::failure::Failure;
use crate::jobs::copy_snapshot::CopySnapshot;
use crate::jobs::publish_image::PublishImage;
use crate::rules::names::check_image_name;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::tags_for_each;
use crate::spine::write::Write;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    name: String,
    source_image_id: ImageId,
    source_region: String,
    description: Option<String>,
    encrypted: Option<bool>,
    /// Whether the copy carries the tags of the source; its snapshots carry those of theirs.
    copy_image_tags: Option<bool>,
    #[expect(dead_code, reason = "the dispatcher acts on it")]
    client_token: Option<String>,
    #[query("TagSpecification")]
    tag_specifications: Vec<TagSpecification>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    image_id: ImageId,
}

pub(super) struct CopyImage;
impl Operation for CopyImage {
    const ACTION: &'static str = "CopyImage";
    const ACCESS: Access = Access::Write("ec2:CopyImage");
    const ERRORS: &'static [Code] = &[
        Code::InvalidAmiIdNotFound,
        Code::InvalidAmiIdUnavailable,
        Code::InvalidAmiNameDuplicate,
        Code::InvalidAmiNameMalformed,
        Code::InvalidParameterValue,
        Code::InvalidRegion,
        Code::InvalidRequest,
        Code::ResourceLimitExceeded,
        Code::UnsupportedOperation,
    ];
    const UNSUPPORTED: &'static [&'static str] = &[
        "DestinationAvailabilityZone",
        "DestinationAvailabilityZoneId",
        "DestinationOutpostArn",
        "KmsKeyId",
        "SnapshotCopyCompletionDurationMinutes",
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        check_image_name(&req.name)?;
        check_description(req.description.as_deref())?;
        if req.encrypted == Some(true) {
            return Err(Failure::unsupported("Encrypted"));
        }
        let source_region = Region::from_str(&req.source_region)?;
        let source = source(cx, source_region, &req.source_image_id).await?;
        cx.may_name_image(&req.name).await?;
        let mut tags =
            tags_for_each(&req.tag_specifications, &[ResourceType::Image, ResourceType::Snapshot])?;
        let mut image_tags = tags.remove(&ResourceType::Image).unwrap_or_default();
        let snapshot_tags = tags.remove(&ResourceType::Snapshot).unwrap_or_default();
        if req.copy_image_tags == Some(true) {
            inherit(&mut image_tags, cx.tags_of(source.image_id.as_str()).await?);
        }
        let sources = source_snapshots(cx, &source).await?;
        let mut snapshots = Vec::new();
        for snapshot in sources {
            let mut own_tags = snapshot_tags.clone();
            if req.copy_image_tags == Some(true) {
                inherit(&mut own_tags, cx.tags_of(snapshot.snapshot_id.as_str()).await?);
            }
            snapshots.push((cx.may_create(ResourceType::Snapshot, &own_tags)?, snapshot));
        }
        let creation = cx.may_create(ResourceType::Image, &image_tags)?;
        let mut write = cx.commit_point()?;
        let mut copies = Vec::new();
        for (creation, snapshot) in snapshots {
            let copy = pending_copy(&mut write, &snapshot, &source).await?;
            write.snapshot_insert(creation, &copy).await?;
            write.enqueue(&CopySnapshot::to(&copy.snapshot_id)).await?;
            copies.push((snapshot.snapshot_id.clone(), copy.snapshot_id));
        }
        let image = image(&mut write, req, &source, &copies);
        write.image_insert(creation, &image).await?;
        write.enqueue(&PublishImage::of(&image.image_id)).await?;
        Ok(Response { image_id: image.image_id })
    }
}

/// A launch permission is not enough: the snapshots must be the caller's to read.
async fn source(cx: &mut Cx<'_>, region: Region, id: &ImageId) -> Result<Granted<Image>, Failure> {
    let image = cx.image_of_region(region, id).await?;
    if image.owner_id != *cx.account() {
        return Err(Failure::image_storage_denied());
    }
    match image.state {
        ImageState::Available => Ok(image),
        ImageState::Pending => Err(Failure::image_pending(id)),
        ImageState::Failed | ImageState::Disabled | ImageState::Deregistered => Err(Failure::image_gone(id)),
    }
}

async fn source_snapshots(
    cx: &mut Cx<'_>,
    image: &Granted<Image>,
) -> Result<Vec<Granted<Snapshot>>, Failure> {
    let mut ids: Vec<SnapshotId> = image.snapshot_ids().cloned().collect();
    ids.sort();
    ids.dedup();
    let mut snapshots = Vec::new();
    for id in ids {
        snapshots.push(cx.snapshot_of_image(image, &id).await?);
    }
    Ok(snapshots)
}

/// Tags that the request gives itself win.
fn inherit(tags: &mut Vec<Tag>, inherited: Vec<Tag>) {
    for tag in inherited {
        if tags.iter().all(|own| own.key != tag.key) {
            tags.push(tag);
        }
    }
}

async fn pending_copy(
    write: &mut Write<'_, '_>,
    source: &Snapshot,
    image: &Image,
) -> Result<Snapshot, Failure> {
    let (owner_id, region) = (write.cx().account().clone(), write.cx().region());
    Ok(Snapshot {
        snapshot_id: SnapshotId::generate(write.ids()),
        owner_id,
        region,
        volume_id: Snapshot::no_volume(),
        state: SnapshotState::Pending,
        state_message: None,
        start_time: write.now(),
        completion_time: None,
        progress_percent: 0,
        description: format!(
            "Copied for DestinationAmi from SourceAmi {} for SourceSnapshot {}.",
            image.image_id, source.snapshot_id
        ),
        volume_size_gib: source.volume_size_gib,
        full_snapshot_size_bytes: None,
        origin: SnapshotOrigin::Copy {
            source_snapshot_id: source.snapshot_id.clone(),
            source_region: source.region,
        },
        domain: write.own_domain().await?,
        root: None,
    })
}

/// The source's twin in this region. Permissions are never copied.
fn image(
    write: &mut Write<'_, '_>,
    req: &Request,
    source: &Image,
    copies: &[(SnapshotId, SnapshotId)],
) -> Image {
    let (owner_id, region) = (write.cx().account().clone(), write.cx().region());
    Image {
        image_id: ImageId::generate(write.ids()),
        image_location: format!("{owner_id}/{}", req.name),
        owner_id,
        region,
        name: req.name.clone(),
        description: req.description.clone(),
        state: ImageState::Pending,
        state_reason: None,
        creation_date: write.now(),
        block_device_mappings: source.block_device_mappings.iter().map(|m| mapping(m, copies)).collect(),
        source_instance_id: None,
        source_image_id: Some(source.image_id.clone()),
        source_image_region: Some(source.region),
        launch_permissions: Vec::new(),
        last_launched_time: None,
        ..source.clone()
    }
}

fn mapping(mapping: &BlockDeviceMapping, copies: &[(SnapshotId, SnapshotId)]) -> BlockDeviceMapping {
    let mut mapping = mapping.clone();
    if let DeviceSource::Ebs(ebs) = &mut mapping.source {
        let copy_of =
            |id: &SnapshotId| copies.iter().find(|(source, _)| source == id).map(|(_, copy)| copy.clone());
        ebs.snapshot_id = ebs.snapshot_id.as_ref().and_then(copy_of);
    }
    mapping
}
