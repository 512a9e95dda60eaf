//! `CompleteSnapshot`: POST /snapshots/completion/{id}, 202.

use model::SnapshotId;
use serde::Serialize;

use super::input::{Input, snapshot_id};
use super::{RestFault, RestReply};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompleteSnapshotRequest {
    pub snapshot_id: SnapshotId,
    pub changed_blocks_count: u32,
    /// SHA-256 over the raw digests of the blocks that were put, in the order of their indexes.
    pub checksum: Option<[u8; 32]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CompleteSnapshotResponse {
    pub status: String,
}

impl CompleteSnapshotResponse {
    pub fn reply(&self) -> RestReply {
        RestReply::json(202, self)
    }
}

pub(super) fn parse(id: &str, input: &Input<'_>) -> Result<CompleteSnapshotRequest, RestFault> {
    let count = input.number_header("x-amz-ChangedBlocksCount")?;
    let checksum = input.checksum()?;
    let aggregation = input.header("x-amz-Checksum-Aggregation-Method")?;
    if checksum.is_some() && aggregation != Some("LINEAR") {
        return Err(RestFault::value("x-amz-Checksum-Aggregation-Method must be LINEAR"));
    }
    Ok(CompleteSnapshotRequest {
        snapshot_id: snapshot_id(id)?,
        changed_blocks_count: count
            .ok_or_else(|| RestFault::value("x-amz-ChangedBlocksCount is required"))?,
        checksum,
    })
}
