//! The snapshot store: deduplicated, compressed, encrypted, immutable disks on an object store.
//!
//! A [`Root`] names one immutable disk inside a [`Domain`]. A [`Writer`] makes a new root, all
//! from scratch or as a change of an older one; a [`Reader`] reads any part of one at once.
//! Blocks of 4 KiB are the unit of deduplication, frames of 256 KiB the unit of fetching; packs
//! hold frames, and a persistent radix tree says which block lies where. Nothing that is stored
//! ever changes. The bytes are described in docs/formats/.
//!
//! Refuses to know: whose disks these are, what the keys of snapshots mean, wall time.

mod bulk;
mod cache;
mod copy;
mod domain;
pub mod durable;
mod error;
mod fetch;
mod format;
mod gc;
mod index;
mod keys;
mod launch;
mod objects;
mod offload;
mod reader;
mod record;
mod relocation;
mod remote;
mod root;
mod s3;
mod store;
mod tree;
mod verify;
mod workers;
mod writer;

pub use bulk::Contents;
pub use copy::CopyStats;
pub use domain::Domain;
pub use error::{Error, ErrorKind, Result};
pub use gc::{Collected, Policy, Repack, Repacked};
pub use keys::DomainSecret;
pub use offload::offload;
pub use reader::Reader;
pub use remote::{CacheOptions, RemoteOptions};
pub use root::Root;
pub use s3::{S3Credentials, S3Options};
pub use store::{Options, Store};
pub use verify::{
    BadObject, BadRange, Defect, PackFinding, PackKey, Verification, VerifyReport, VerifyStats,
};
pub use writer::{WriteStats, Writer};

/// Writes and zeroes are in units of this many bytes.
pub const BLOCK_BYTES: u64 = format::BLOCK_BYTES_U64;
