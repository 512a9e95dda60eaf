//! `ListChangedBlocks`: where two snapshots of one lineage differ, with a token for each side that
//! has the block.

use wire::rest_json::{
    Call, ChangedBlock, EpochSeconds, ListChangedBlocksRequest, ListChangedBlocksResponse, RestReply,
};

use crate::failure::BlockFailure;
use crate::spine::block::BlockOperation;
use crate::spine::block::content::{self, BLOCK_BYTES, Content};
use crate::spine::block::cx::BlockCx;

pub(super) struct ListChangedBlocks;
impl BlockOperation for ListChangedBlocks {
    const ACTION: &'static str = "ListChangedBlocks";
    type Request = ListChangedBlocksRequest;

    fn request(call: &Call) -> Option<&Self::Request> {
        if let Call::ListChangedBlocks(request) = call { Some(request) } else { None }
    }

    async fn run(cx: &BlockCx<'_>, req: &Self::Request) -> Result<RestReply, BlockFailure> {
        let second = cx.content(&req.second_snapshot_id).await?;
        let first = match &req.first_snapshot_id {
            None => None,
            Some(id) => Some(cx.content(id).await?),
        };
        if let Some(first) = &first {
            check_related(cx, first, &second).await?;
        }
        let both: Vec<&Content> = first.iter().chain([&second]).collect();
        let start = cx.page_start(&both, req.page_token.as_deref(), req.starting_block_index)?;
        let size = content::page_size(req.max_results);
        let mut changed = changed(first.as_ref(), &second, start, size + 1).await?;
        let next = changed.get(size).copied().map(content::block_index).transpose()?;
        changed.truncate(size);
        let expiry = cx.block_token_expiry();
        let first_tokens = tokens(cx, first.as_ref(), &changed).await?;
        let second_tokens = tokens(cx, Some(&second), &changed).await?;
        let sides = first_tokens.into_iter().zip(second_tokens);
        let changed_blocks =
            changed.into_iter().zip(sides).map(|(block, (first_block_token, second_block_token))| {
                Ok(ChangedBlock {
                    block_index: content::block_index(block)?,
                    first_block_token,
                    second_block_token,
                })
            });
        let response = ListChangedBlocksResponse {
            changed_blocks: changed_blocks.collect::<Result<_, BlockFailure>>()?,
            expiry_time: EpochSeconds(expiry),
            volume_size_gib: second.snapshot.volume_size_gib,
            block_size_bytes: content::BLOCK_BYTES_U32,
            next_token: next.map(|next| cx.page_token(&both, next)),
        };
        Ok(response.reply())
    }
}

/// Without a first snapshot every block of the second has changed.
async fn changed(
    first: Option<&Content>,
    second: &Content,
    start: u32,
    limit: usize,
) -> Result<Vec<u64>, BlockFailure> {
    match first {
        None => Ok(second.reader().await?.present(BLOCK_BYTES, start.into(), limit).await?),
        Some(first) => {
            Ok(second.domain.diff(&first.root, &second.root, BLOCK_BYTES, start.into(), limit).await?)
        }
    }
}

/// A token for each of the blocks that the content has.
async fn tokens(
    cx: &BlockCx<'_>,
    content: Option<&Content>,
    blocks: &[u64],
) -> Result<Vec<Option<String>>, BlockFailure> {
    let Some(content) = content else { return Ok(vec![None; blocks.len()]) };
    let expiry = cx.block_token_expiry();
    let mut presence = content.presence().await?;
    let mut tokens = Vec::with_capacity(blocks.len());
    for block in blocks {
        let has = presence.has(*block).await?;
        let index = content::block_index(*block)?;
        tokens.push(has.then(|| cx.block_token(content, index, expiry)));
    }
    Ok(tokens)
}

/// Differences are told only within one lineage, and one domain's keys.
async fn check_related(cx: &BlockCx<'_>, first: &Content, second: &Content) -> Result<(), BlockFailure> {
    let mut tx = cx.read().await?;
    let mut rows = cx.rows(&mut tx);
    let (a, b) = (rows.lineage(&first.snapshot).await?, rows.lineage(&second.snapshot).await?);
    if a.is_disjoint(&b) || first.root.domain() != second.root.domain() {
        return Err(BlockFailure::unrelated_snapshots(
            &first.snapshot.snapshot_id,
            &second.snapshot.snapshot_id,
        ));
    }
    Ok(())
}
