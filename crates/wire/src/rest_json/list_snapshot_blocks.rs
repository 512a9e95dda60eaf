//! `ListSnapshotBlocks`: GET /snapshots/{id}/blocks.

use model::SnapshotId;
use serde::Serialize;

use super::input::{Input, snapshot_id};
use super::{EpochSeconds, RestFault, RestReply};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSnapshotBlocksRequest {
    pub snapshot_id: SnapshotId,
    pub page_token: Option<String>,
    /// From 100 to 10,000.
    pub max_results: Option<u32>,
    pub starting_block_index: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListSnapshotBlocksResponse {
    pub blocks: Vec<Block>,
    pub expiry_time: EpochSeconds,
    #[serde(rename = "VolumeSize")]
    pub volume_size_gib: u32,
    #[serde(rename = "BlockSize")]
    pub block_size_bytes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Block {
    pub block_index: u32,
    pub block_token: String,
}

impl ListSnapshotBlocksResponse {
    pub fn reply(&self) -> RestReply {
        RestReply::json(200, self)
    }
}

pub(super) fn parse(id: &str, input: &Input<'_>) -> Result<ListSnapshotBlocksRequest, RestFault> {
    Ok(ListSnapshotBlocksRequest {
        snapshot_id: snapshot_id(id)?,
        page_token: input.page_token()?,
        max_results: input.max_results()?,
        starting_block_index: input.starting_block_index()?,
    })
}
