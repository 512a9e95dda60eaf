//! `CompleteSnapshot`: no more blocks; the content moves into the snapshot store in the background.

use model::{Snapshot, SnapshotOrigin};
use wire::rest_json::{Call, CompleteSnapshotRequest, CompleteSnapshotResponse, RestReply};

use crate::failure::BlockFailure;
use crate::jobs::upload_snapshot::UploadSnapshot;
use crate::spine::block::BlockOperation;
use crate::spine::block::cx::BlockCx;
use crate::spine::granted::Granted;

pub(super) struct CompleteSnapshot;
impl BlockOperation for CompleteSnapshot {
    const ACTION: &'static str = "CompleteSnapshot";
    type Request = CompleteSnapshotRequest;

    fn request(call: &Call) -> Option<&Self::Request> {
        if let Call::CompleteSnapshot(request) = call { Some(request) } else { None }
    }

    async fn run(cx: &BlockCx<'_>, req: &Self::Request) -> Result<RestReply, BlockFailure> {
        let _completing = cx.uploads().completing(&cx.caller().account, &req.snapshot_id).await;
        let snapshot = checked(cx, req).await?;
        if !is_sealed(&snapshot) {
            seal(cx, req).await?;
        }
        Ok(CompleteSnapshotResponse { status: snapshot.state.to_string() }.reply())
    }
}

fn is_sealed(snapshot: &Snapshot) -> bool {
    matches!(snapshot.origin, SnapshotOrigin::Upload { sealed: true, .. })
}

/// Holds what the client says it has put against what is there. Once sealed there is nothing to
/// hold it against, and a repeated call is told how far the snapshot is.
async fn checked(cx: &BlockCx<'_>, req: &CompleteSnapshotRequest) -> Result<Granted<Snapshot>, BlockFailure> {
    let mut tx = cx.read().await?;
    let mut rows = cx.rows(&mut tx);
    let snapshot = rows.upload(&req.snapshot_id).await?;
    if is_sealed(&snapshot) {
        return Ok(snapshot);
    }
    let put = rows.upload_blocks_count(&snapshot).await?;
    if put != u64::from(req.changed_blocks_count) {
        return Err(BlockFailure::changed_blocks_count(put));
    }
    if let Some(checksum) = req.checksum
        && checksum != rows.upload_blocks_digest(&snapshot).await?
    {
        return Err(BlockFailure::changed_blocks_checksum());
    }
    Ok(snapshot)
}

/// What was checked still holds: while an upload is being completed no block of it is written.
async fn seal(cx: &BlockCx<'_>, req: &CompleteSnapshotRequest) -> Result<(), BlockFailure> {
    let mut tx = cx.write().await?;
    let mut rows = cx.rows(&mut tx);
    let upload = rows.open_upload(&req.snapshot_id).await?;
    let mut write = rows.commit_point()?;
    write.upload_seal(upload).await?;
    write.enqueue(&UploadSnapshot::of(&req.snapshot_id)).await?;
    cx.commit(tx).await
}
