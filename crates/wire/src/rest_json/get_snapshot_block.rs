//! `GetSnapshotBlock`: GET /snapshots/{id}/blocks/{index}; the reply is the block itself.

use model::SnapshotId;

use super::input::{Input, block_index, snapshot_id};
use super::put_snapshot_block::block_headers;
use super::{RestFault, RestReply};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetSnapshotBlockRequest {
    pub snapshot_id: SnapshotId,
    pub block_index: u32,
    pub block_token: String,
}

impl GetSnapshotBlockRequest {
    /// The block with its SHA-256.
    pub fn reply(block: Vec<u8>, checksum: &[u8; 32]) -> RestReply {
        let mut headers = vec![
            ("content-type", "application/octet-stream".to_owned()),
            ("x-amz-Data-Length", block.len().to_string()),
        ];
        headers.extend(block_headers(checksum));
        RestReply { status: 200, headers, body: block }
    }
}

pub(super) fn parse(id: &str, index: &str, input: &Input<'_>) -> Result<GetSnapshotBlockRequest, RestFault> {
    Ok(GetSnapshotBlockRequest {
        snapshot_id: snapshot_id(id)?,
        block_index: block_index(index)?,
        block_token: input.block_token()?,
    })
}
