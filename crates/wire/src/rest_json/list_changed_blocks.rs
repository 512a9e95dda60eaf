//! `ListChangedBlocks`: GET /snapshots/{second}/changedblocks.

use model::SnapshotId;
use serde::Serialize;

use super::input::{Input, snapshot_id};
use super::{EpochSeconds, RestFault, RestReply};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListChangedBlocksRequest {
    /// Without it, every block of the second snapshot has changed.
    pub first_snapshot_id: Option<SnapshotId>,
    pub second_snapshot_id: SnapshotId,
    pub page_token: Option<String>,
    /// From 100 to 10,000.
    pub max_results: Option<u32>,
    pub starting_block_index: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListChangedBlocksResponse {
    pub changed_blocks: Vec<ChangedBlock>,
    pub expiry_time: EpochSeconds,
    #[serde(rename = "VolumeSize")]
    pub volume_size_gib: u32,
    #[serde(rename = "BlockSize")]
    pub block_size_bytes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

/// A token for each snapshot that has the block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ChangedBlock {
    pub block_index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_block_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_block_token: Option<String>,
}

impl ListChangedBlocksResponse {
    pub fn reply(&self) -> RestReply {
        RestReply::json(200, self)
    }
}

pub(super) fn parse(id: &str, input: &Input<'_>) -> Result<ListChangedBlocksRequest, RestFault> {
    Ok(ListChangedBlocksRequest {
        first_snapshot_id: input.snapshot_query("firstSnapshotId")?,
        second_snapshot_id: snapshot_id(id)?,
        page_token: input.page_token()?,
        max_results: input.max_results()?,
        starting_block_index: input.starting_block_index()?,
    })
}
