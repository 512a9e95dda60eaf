//! `PutSnapshotBlock`: PUT /snapshots/{id}/blocks/{index}, 201.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::SnapshotId;
use model::limits::EBS_BLOCK_BYTES;

use super::input::{Input, block_index, snapshot_id};
use super::{Reason, RestFault, RestReply};

/// The body is the block: exactly [`EBS_BLOCK_BYTES`]. That the checksum is its own is for the
/// operation to find out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutSnapshotBlockRequest {
    pub snapshot_id: SnapshotId,
    pub block_index: u32,
    /// SHA-256 of the block.
    pub checksum: [u8; 32],
    /// In percent.
    pub progress: Option<u32>,
}

impl PutSnapshotBlockRequest {
    pub fn reply(&self) -> RestReply {
        let headers = block_headers(&self.checksum).to_vec();
        RestReply { status: 201, headers, body: Vec::new() }
    }
}

/// The headers that say what a block's checksum is, for replies of Put and Get.
pub fn block_headers(checksum: &[u8; 32]) -> [(&'static str, String); 2] {
    [("x-amz-Checksum", STANDARD.encode(checksum)), ("x-amz-Checksum-Algorithm", "SHA256".to_owned())]
}

pub(super) fn parse(
    id: &str,
    index: &str,
    input: &Input<'_>,
    body: &[u8],
) -> Result<PutSnapshotBlockRequest, RestFault> {
    let length = input.number_header("x-amz-Data-Length")?;
    let length = length.ok_or_else(|| RestFault::value("x-amz-Data-Length is required"))?;
    if usize::try_from(length).ok() != Some(body.len()) || body.len() != EBS_BLOCK_BYTES {
        let message = format!("A block must be {EBS_BLOCK_BYTES} bytes, as x-amz-Data-Length says");
        return Err(RestFault::validation(Reason::InvalidBlock, message));
    }
    let progress = input.number_header("x-amz-Progress")?;
    if progress.is_some_and(|percent| percent > 100) {
        return Err(RestFault::value("x-amz-Progress must be from 0 to 100"));
    }
    Ok(PutSnapshotBlockRequest {
        snapshot_id: snapshot_id(id)?,
        block_index: block_index(index)?,
        checksum: input.checksum()?.ok_or_else(|| RestFault::value("x-amz-Checksum is required"))?,
        progress,
    })
}
