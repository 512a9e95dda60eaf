//! `PutSnapshotBlock`: one block of an upload, durable when the reply is sent.

use model::{Snapshot, SnapshotId};
use sha2::{Digest, Sha256};
use wire::rest_json::{Call, PutSnapshotBlockRequest, RestReply};

use crate::failure::BlockFailure;
use crate::ports::HostErrorKind;
use crate::spine::block::BlockOperation;
use crate::spine::block::content::BLOCK_BYTES;
use crate::spine::block::cx::BlockCx;

pub(super) struct PutSnapshotBlock;
impl BlockOperation for PutSnapshotBlock {
    const ACTION: &'static str = "PutSnapshotBlock";
    type Request = PutSnapshotBlockRequest;

    fn request(call: &Call) -> Option<&Self::Request> {
        if let Call::PutSnapshotBlock(request) = call { Some(request) } else { None }
    }

    async fn run(cx: &BlockCx<'_>, req: &Self::Request) -> Result<RestReply, BlockFailure> {
        // Signers may leave the body out of the signature: this is what it is held against.
        if <[u8; 32]>::from(Sha256::digest(cx.body())) != req.checksum {
            return Err(BlockFailure::block_checksum());
        }
        let account = &cx.caller().account;
        let writing = cx.uploads().writing(account, &req.snapshot_id, req.block_index).await;
        if !make_room(cx, req).await? {
            write(cx, req).await?;
            cx.record_block(writing, &req.snapshot_id, req.block_index, req.checksum).await?;
        }
        Ok(req.reply())
    }
}

/// Checks the upload, and forgets a block that is about to be replaced: were its bytes replaced
/// first, a crash would leave the old checksum with the new bytes. True where the very same block
/// is there already.
async fn make_room(cx: &BlockCx<'_>, req: &PutSnapshotBlockRequest) -> Result<bool, BlockFailure> {
    let mut tx = cx.read().await?;
    let mut rows = cx.rows(&mut tx);
    let upload = rows.open_upload(&req.snapshot_id).await?;
    check_index(req.block_index, &upload)?;
    match rows.upload_block(&upload, req.block_index).await? {
        None => return Ok(false),
        Some(checksum) if checksum == req.checksum => return Ok(true),
        Some(_) => {}
    }
    tx.rollback().await;
    let mut tx = cx.write().await?;
    let mut rows = cx.rows(&mut tx);
    let upload = rows.open_upload(&req.snapshot_id).await?;
    rows.commit_point()?.upload_block_delete(&upload, req.block_index).await?;
    tx.commit().await?;
    Ok(false)
}

fn check_index(block_index: u32, upload: &Snapshot) -> Result<(), BlockFailure> {
    let blocks = (u64::from(upload.volume_size_gib) << 30) / BLOCK_BYTES;
    if u64::from(block_index) < blocks {
        Ok(())
    } else {
        Err(BlockFailure::block_outside(block_index, upload.volume_size_gib))
    }
}

async fn write(cx: &BlockCx<'_>, req: &PutSnapshotBlockRequest) -> Result<(), BlockFailure> {
    let offset_bytes = u64::from(req.block_index) * BLOCK_BYTES;
    let written = cx.host().volume_write(req.snapshot_id.as_str(), offset_bytes, cx.body().clone()).await;
    match written {
        // The upload was given up meanwhile: say that instead.
        Err(error) if error.kind == HostErrorKind::NotFound => {
            check_open(cx, &req.snapshot_id).await?;
            Err(error.into())
        }
        written => Ok(written?),
    }
}

async fn check_open(cx: &BlockCx<'_>, id: &SnapshotId) -> Result<(), BlockFailure> {
    let mut tx = cx.read().await?;
    cx.rows(&mut tx).open_upload(id).await?;
    Ok(())
}
