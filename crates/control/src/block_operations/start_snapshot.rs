//! `StartSnapshot`: an empty upload, or one that begins as another snapshot.

use std::time::Duration;

use model::{ResourceType, Snapshot, SnapshotId, SnapshotOrigin, SnapshotState, VolumeId};
use serde::Deserialize;
use wire::rest_json::{Call, EpochSeconds, RestReply, RestTag, StartSnapshotRequest, StartSnapshotResponse};

use crate::failure::{BlockFailure, Failure};
use crate::ports::{VolumeBase, VolumeSpec};
use crate::spine::block::BlockOperation;
use crate::spine::block::content::BLOCK_BYTES_U32;
use crate::spine::block::cx::BlockCx;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;
use crate::spine::idempotency::ClientToken;
use crate::spine::write::Write;

const TIMEOUT_MINUTES_DEFAULT: u32 = 60;

/// Stands where a snapshot has no volume.
const NO_VOLUME: &str = "vol-ffffffff";

pub(super) struct StartSnapshot;
impl BlockOperation for StartSnapshot {
    const ACTION: &'static str = "StartSnapshot";
    type Request = StartSnapshotRequest;

    fn request(call: &Call) -> Option<&Self::Request> {
        if let Call::StartSnapshot(request) = call { Some(request) } else { None }
    }

    async fn run(cx: &BlockCx<'_>, req: &Self::Request) -> Result<RestReply, BlockFailure> {
        refuse_encryption(req)?;
        let token = req.client_token.as_deref();
        let token = token.map(|token| ClientToken::of_body(Self::ACTION, token, cx.body()));
        let (snapshot_id, reply) = start(cx, req, token.as_ref()).await?;
        stage(cx, &snapshot_id).await?;
        Ok(reply)
    }
}

fn refuse_encryption(req: &StartSnapshotRequest) -> Result<(), BlockFailure> {
    if req.encrypted == Some(true) {
        return Err(BlockFailure::unsupported("Encrypted"));
    }
    if req.kms_key_arn.is_some() {
        return Err(BlockFailure::unsupported("KmsKeyArn"));
    }
    Ok(())
}

/// The row comes first: what happens to be staged without it would never be found again.
async fn start(
    cx: &BlockCx<'_>,
    req: &StartSnapshotRequest,
    token: Option<&ClientToken>,
) -> Result<(SnapshotId, RestReply), BlockFailure> {
    let mut tx = cx.write().await?;
    if let Some(token) = token
        && let Some(stored) = token.replay(&mut tx, cx.caller()).await?
    {
        return replayed(stored);
    }
    let mut rows = cx.rows(&mut tx);
    let parent = parent(&mut rows, req).await?;
    let creation = rows.may_create(ResourceType::Snapshot, &req.tags)?;
    let mut write = rows.commit_point()?;
    let snapshot = pending_upload(&mut write, req, parent.as_ref()).await?;
    write.snapshot_insert(creation, &snapshot).await?;
    let reply = response(&snapshot, req).reply();
    if let Some(token) = token {
        let text = String::from_utf8_lossy(&reply.body);
        token.remember(&mut tx, cx.caller(), cx.now(), &text).await?;
    }
    cx.commit(tx).await?;
    Ok((snapshot.snapshot_id, reply))
}

/// The reply that the first call with this token got.
fn replayed(stored: String) -> Result<(SnapshotId, RestReply), BlockFailure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Stored {
        snapshot_id: SnapshotId,
    }
    let Stored { snapshot_id } = serde_json::from_str(&stored).map_err(Failure::internal)?;
    let headers = vec![("content-type", "application/json".to_owned())];
    Ok((snapshot_id, RestReply { status: 201, headers, body: stored.into_bytes() }))
}

async fn parent(
    rows: &mut Cx<'_>,
    req: &StartSnapshotRequest,
) -> Result<Option<Granted<Snapshot>>, BlockFailure> {
    let Some(id) = &req.parent_snapshot_id else { return Ok(None) };
    let parent = rows.snapshot(id).await?;
    if parent.state != SnapshotState::Completed {
        return Err(BlockFailure::not_completed(id));
    }
    if parent.volume_size_gib > req.volume_size_gib {
        return Err(BlockFailure::smaller_than_parent(parent.volume_size_gib));
    }
    Ok(Some(parent))
}

async fn pending_upload(
    write: &mut Write<'_, '_>,
    req: &StartSnapshotRequest,
    parent: Option<&Granted<Snapshot>>,
) -> Result<Snapshot, BlockFailure> {
    let timeout_minutes = req.timeout_minutes.unwrap_or(TIMEOUT_MINUTES_DEFAULT);
    let domain = match parent {
        Some(parent) => parent.domain.clone(),
        None => write.own_domain().await?,
    };
    Ok(Snapshot {
        snapshot_id: SnapshotId::generate(write.ids()),
        owner_id: write.cx().account().clone(),
        region: write.cx().region(),
        volume_id: NO_VOLUME.parse::<VolumeId>().map_err(Failure::from)?,
        state: SnapshotState::Pending,
        state_message: None,
        start_time: write.now(),
        completion_time: None,
        progress_percent: 0,
        description: req.description.clone().unwrap_or_default(),
        volume_size_gib: req.volume_size_gib,
        full_snapshot_size_bytes: None,
        origin: SnapshotOrigin::Upload {
            parent_snapshot_id: req.parent_snapshot_id.clone(),
            parent_root: parent.and_then(|parent| parent.root.clone()),
            timeout_minutes,
            expires: write.now().plus(Duration::from_mins(u64::from(timeout_minutes))),
            sealed: false,
        },
        domain,
        root: None,
    })
}

fn response(snapshot: &Snapshot, req: &StartSnapshotRequest) -> StartSnapshotResponse {
    StartSnapshotResponse {
        snapshot_id: snapshot.snapshot_id.clone(),
        owner_id: snapshot.owner_id.to_string(),
        status: snapshot.state.to_string(),
        start_time: EpochSeconds(snapshot.start_time),
        volume_size_gib: snapshot.volume_size_gib,
        block_size_bytes: BLOCK_BYTES_U32,
        description: req.description.clone(),
        tags: req.tags.iter().map(RestTag::from).collect(),
        parent_snapshot_id: req.parent_snapshot_id.clone(),
        kms_key_arn: None,
        sse_type: Some("none".to_owned()),
    }
}

/// Makes the volume that takes the blocks, before the caller can send any. A repeated call makes
/// up for one that was cut short here.
async fn stage(cx: &BlockCx<'_>, id: &SnapshotId) -> Result<(), BlockFailure> {
    let Some(spec) = staging_volume(cx, id).await? else { return Ok(()) };
    cx.host().volume_create(spec).await?;
    // The upload may have been given up while the volume was made, and cleaned up before it was there.
    if staging_volume(cx, id).await?.is_none() {
        cx.host().volume_delete(id.as_str()).await?;
    }
    Ok(())
}

/// None when the upload takes no blocks any more.
async fn staging_volume(cx: &BlockCx<'_>, id: &SnapshotId) -> Result<Option<VolumeSpec>, BlockFailure> {
    let mut tx = cx.read().await?;
    let Some(snapshot) = cx.rows(&mut tx).upload_if_open(id).await? else { return Ok(None) };
    let base = match &snapshot.origin {
        SnapshotOrigin::Upload { parent_root: Some(root), .. } => {
            let (_, secret) = cx.domain(&mut tx, &snapshot.domain).await?;
            Some(VolumeBase { root: root.clone(), domain: snapshot.domain.clone(), secret: *secret.expose() })
        }
        SnapshotOrigin::Upload { .. } | SnapshotOrigin::Volume { .. } | SnapshotOrigin::Copy { .. } => None,
    };
    let size_bytes = u64::from(snapshot.volume_size_gib) << 30;
    Ok(Some(VolumeSpec { key: id.to_string(), size_bytes, base }))
}
