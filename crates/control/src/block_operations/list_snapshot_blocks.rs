//! `ListSnapshotBlocks`: which blocks a snapshot has, with a token to read each.

use wire::rest_json::{
    Block, Call, EpochSeconds, ListSnapshotBlocksRequest, ListSnapshotBlocksResponse, RestReply,
};

use crate::failure::BlockFailure;
use crate::spine::block::BlockOperation;
use crate::spine::block::content::{self, BLOCK_BYTES};
use crate::spine::block::cx::BlockCx;

pub(super) struct ListSnapshotBlocks;
impl BlockOperation for ListSnapshotBlocks {
    const ACTION: &'static str = "ListSnapshotBlocks";
    type Request = ListSnapshotBlocksRequest;

    fn request(call: &Call) -> Option<&Self::Request> {
        if let Call::ListSnapshotBlocks(request) = call { Some(request) } else { None }
    }

    async fn run(cx: &BlockCx<'_>, req: &Self::Request) -> Result<RestReply, BlockFailure> {
        let content = cx.content(&req.snapshot_id).await?;
        let start = cx.page_start(&[&content], req.page_token.as_deref(), req.starting_block_index)?;
        let size = content::page_size(req.max_results);
        let mut present = content.reader().await?.present(BLOCK_BYTES, start.into(), size + 1).await?;
        let next = present.get(size).copied().map(content::block_index).transpose()?;
        present.truncate(size);
        let expiry = cx.block_token_expiry();
        let blocks = present.into_iter().map(|block| {
            let block_index = content::block_index(block)?;
            Ok(Block { block_index, block_token: cx.block_token(&content, block_index, expiry) })
        });
        let response = ListSnapshotBlocksResponse {
            blocks: blocks.collect::<Result<_, BlockFailure>>()?,
            expiry_time: EpochSeconds(expiry),
            volume_size_gib: content.snapshot.volume_size_gib,
            block_size_bytes: content::BLOCK_BYTES_U32,
            next_token: next.map(|next| cx.page_token(&[&content], next)),
        };
        Ok(response.reply())
    }
}
