//! From a file to a snapshot, through the EBS direct API.

mod format;
mod progress;
mod source;
mod upload;

pub(crate) use progress::{Progress, Show};
pub(crate) use source::Source;
pub(crate) use upload::{Upload, wait_for_snapshot};

pub(crate) const BLOCK_BYTES: usize = 512 << 10;
