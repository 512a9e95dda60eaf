//! `GetSnapshotBlock`: one block, opened by the token that a listing gave for it.

use model::limits::EBS_BLOCK_BYTES;
use sha2::{Digest, Sha256};
use wire::rest_json::{Call, GetSnapshotBlockRequest, RestReply};

use crate::failure::BlockFailure;
use crate::spine::block::BlockOperation;
use crate::spine::block::content::BLOCK_BYTES;
use crate::spine::block::cx::BlockCx;

pub(super) struct GetSnapshotBlock;
impl BlockOperation for GetSnapshotBlock {
    const ACTION: &'static str = "GetSnapshotBlock";
    type Request = GetSnapshotBlockRequest;

    fn request(call: &Call) -> Option<&Self::Request> {
        if let Call::GetSnapshotBlock(request) = call { Some(request) } else { None }
    }

    async fn run(cx: &BlockCx<'_>, req: &Self::Request) -> Result<RestReply, BlockFailure> {
        let content = cx.content(&req.snapshot_id).await?;
        cx.check_block_token(&content, req.block_index, &req.block_token)?;
        let mut block = vec![0; EBS_BLOCK_BYTES];
        content.reader().await?.read_at(u64::from(req.block_index) * BLOCK_BYTES, &mut block).await?;
        let checksum = Sha256::digest(&block).into();
        Ok(GetSnapshotBlockRequest::reply(block, &checksum))
    }
}
