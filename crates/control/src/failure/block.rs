//! Texts of the EBS direct API, which has its own words for what is wrong.

use model::SnapshotId;
use model::limits::EBS_BLOCK_BYTES;
use wire::rest_json::{ErrorType, Reason, RestFault};

use super::Failure;

/// A refused or failed block operation: said in this API's words, or in EC2's, which are translated.
#[derive(Debug)]
pub(crate) enum BlockFailure {
    Fault(RestFault),
    Failure(Failure),
}

impl BlockFailure {
    fn validation(reason: Reason, message: impl Into<String>) -> Self {
        Self::Fault(RestFault::validation(reason, message))
    }

    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self::validation(Reason::InvalidParameterValue, message)
    }

    /// A parameter of the API that cannot act here yet: named, never ignored.
    pub(crate) fn unsupported(what: &str) -> Self {
        Self::value(format!("{what} is not supported by this service yet"))
    }

    pub(crate) fn not_completed(id: &SnapshotId) -> Self {
        Self::validation(Reason::InvalidSnapshotId, format!("The snapshot '{id}' is not completed"))
    }

    pub(crate) fn not_an_upload(id: &SnapshotId) -> Self {
        Self::validation(
            Reason::InvalidSnapshotId,
            format!("The snapshot '{id}' was not started with StartSnapshot"),
        )
    }

    pub(crate) fn upload_failed(id: &SnapshotId, why: &str) -> Self {
        Self::validation(Reason::InvalidSnapshotId, format!("The snapshot '{id}' has failed: {why}"))
    }

    pub(crate) fn upload_sealed(id: &SnapshotId) -> Self {
        let message = format!("The snapshot '{id}' was completed and takes no more blocks");
        Self::Fault(RestFault::new(ErrorType::Conflict, None, message))
    }

    pub(crate) fn smaller_than_parent(parent_gib: u32) -> Self {
        Self::validation(
            Reason::InvalidVolumeSize,
            format!("VolumeSize must be at least the parent snapshot's, {parent_gib} GiB"),
        )
    }

    pub(crate) fn block_outside(block_index: u32, volume_size_gib: u32) -> Self {
        Self::validation(
            Reason::InvalidBlock,
            format!(
                "The block {block_index} of {EBS_BLOCK_BYTES} bytes lies outside of a volume of {volume_size_gib} GiB"
            ),
        )
    }

    pub(crate) fn block_checksum() -> Self {
        Self::validation(Reason::InvalidBlock, "x-amz-Checksum is not the SHA-256 of the block that came")
    }

    pub(crate) fn changed_blocks_count(put: u64) -> Self {
        Self::value(format!("x-amz-ChangedBlocksCount is not the number of blocks that were put, {put}"))
    }

    pub(crate) fn changed_blocks_checksum() -> Self {
        Self::value("x-amz-Checksum is not the SHA-256 over the checksums of the blocks that were put")
    }

    pub(crate) fn block_token() -> Self {
        Self::validation(Reason::InvalidBlockToken, "The block token is not one of this snapshot and block")
    }

    pub(crate) fn block_token_expired() -> Self {
        Self::validation(Reason::InvalidBlockToken, "The block token has expired")
    }

    pub(crate) fn page_token() -> Self {
        Self::validation(Reason::InvalidPageToken, "The page token is not valid for this request")
    }

    pub(crate) fn unrelated_snapshots(first: &SnapshotId, second: &SnapshotId) -> Self {
        Self::validation(
            Reason::UnrelatedSnapshots,
            format!("The snapshots '{first}' and '{second}' do not come from the same volume"),
        )
    }
}

impl From<RestFault> for BlockFailure {
    fn from(fault: RestFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Failure> for BlockFailure {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<metastore::Error> for BlockFailure {
    fn from(error: metastore::Error) -> Self {
        Self::Failure(error.into())
    }
}

impl From<blockstore::Error> for BlockFailure {
    fn from(error: blockstore::Error) -> Self {
        Self::Failure(error.into())
    }
}

impl From<crate::ports::HostError> for BlockFailure {
    fn from(error: crate::ports::HostError) -> Self {
        Self::Failure(error.into())
    }
}
