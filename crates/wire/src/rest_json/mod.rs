//! The EBS direct API: six operations over paths, headers, JSON and raw blocks.
//!
//! [`Call::parse`] reads any of them; each operation's file has its request and its reply.

mod complete_snapshot;
mod fault;
mod get_snapshot_block;
mod input;
mod list_changed_blocks;
mod list_snapshot_blocks;
mod put_snapshot_block;
mod reply;
mod start_snapshot;

pub use complete_snapshot::{CompleteSnapshotRequest, CompleteSnapshotResponse};
pub use fault::{ErrorType, Reason, RestFault};
pub use get_snapshot_block::GetSnapshotBlockRequest;
pub use list_changed_blocks::{ChangedBlock, ListChangedBlocksRequest, ListChangedBlocksResponse};
pub use list_snapshot_blocks::{Block, ListSnapshotBlocksRequest, ListSnapshotBlocksResponse};
pub use put_snapshot_block::{PutSnapshotBlockRequest, block_headers};
pub use reply::{EpochSeconds, RestReply};
pub use start_snapshot::{RestTag, StartSnapshotRequest, StartSnapshotResponse};

use input::Input;

use crate::percent;
use crate::sigv4::{RequestParts, Rules};

/// A parsed call of any operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    StartSnapshot(StartSnapshotRequest),
    PutSnapshotBlock(PutSnapshotBlockRequest),
    CompleteSnapshot(CompleteSnapshotRequest),
    ListSnapshotBlocks(ListSnapshotBlocksRequest),
    ListChangedBlocks(ListChangedBlocksRequest),
    GetSnapshotBlock(GetSnapshotBlockRequest),
}

impl Call {
    /// Reads a call. `body` is JSON or empty, or the block of `PutSnapshotBlock`, of which only the
    /// length is looked at here.
    pub fn parse(parts: &RequestParts<'_>, body: &[u8]) -> Result<Self, RestFault> {
        let input = Input::read(parts)?;
        let segments = segments(parts.path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (parts.method, segments.as_slice()) {
            ("POST", ["snapshots"]) => start_snapshot::parse(body).map(Self::StartSnapshot),
            ("POST", ["snapshots", "completion", id]) => {
                complete_snapshot::parse(id, &input).map(Self::CompleteSnapshot)
            }
            ("PUT", ["snapshots", id, "blocks", index]) => {
                put_snapshot_block::parse(id, index, &input, body).map(Self::PutSnapshotBlock)
            }
            ("GET", ["snapshots", id, "blocks", index]) => {
                get_snapshot_block::parse(id, index, &input).map(Self::GetSnapshotBlock)
            }
            ("GET", ["snapshots", id, "blocks"]) => {
                list_snapshot_blocks::parse(id, &input).map(Self::ListSnapshotBlocks)
            }
            ("GET", ["snapshots", id, "changedblocks"]) => {
                list_changed_blocks::parse(id, &input).map(Self::ListChangedBlocks)
            }
            _ => Err(RestFault::unknown_operation()),
        }
    }

    pub const fn action(&self) -> &'static str {
        match self {
            Self::StartSnapshot(_) => "StartSnapshot",
            Self::PutSnapshotBlock(_) => "PutSnapshotBlock",
            Self::CompleteSnapshot(_) => "CompleteSnapshot",
            Self::ListSnapshotBlocks(_) => "ListSnapshotBlocks",
            Self::ListChangedBlocks(_) => "ListChangedBlocks",
            Self::GetSnapshotBlock(_) => "GetSnapshotBlock",
        }
    }
}

/// The signature rules of a call: the body of `PutSnapshotBlock` may go unsigned, because the
/// signed headers carry its checksum.
pub fn signature_rules(method: &str) -> Rules {
    if method == "PUT" { Rules::UNSIGNED_BODY } else { Rules::SIGNED_BODY }
}

/// The decoded segments of a path. Empty and dot segments are refused: the signature covers a
/// normalised path, and what is acted on must be what was signed.
fn segments(path: &str) -> Result<Vec<String>, RestFault> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let decoded = path.split('/').map(|segment| {
        let segment = percent::decode_path(segment.as_bytes()).ok_or_else(RestFault::unknown_operation)?;
        let plain = !["", ".", ".."].contains(&segment.as_str()) && !segment.contains('/');
        plain.then_some(segment).ok_or_else(RestFault::unknown_operation)
    });
    decoded.collect()
}

#[cfg(test)]
mod tests;
