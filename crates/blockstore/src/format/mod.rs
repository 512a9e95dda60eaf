//! Bytes on disk, version 1. The layouts and their reasons are in docs/formats/.
//!
//! Pure: no IO, no clock. Everything here either builds bytes or checks and reads them.

pub(crate) mod collection;
pub(crate) mod cursor;
pub(crate) mod node;
pub(crate) mod pack;
pub(crate) mod record;
pub(crate) mod relocation;
pub(crate) mod seal;
pub(crate) mod snapshot;
pub(crate) mod store;
pub(crate) mod trace;
pub(crate) mod trailer;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{self, CParameter};

use crate::error::{Error, Result};

/// The version that this code writes and the newest that it reads.
pub(crate) const VERSION: u16 = 1;

pub(crate) const BLOCK_BYTES: usize = 4096;
pub(crate) const BLOCK_BYTES_U64: u64 = 4096;
pub(crate) const BLOCK_LOG2: u8 = 12;
/// Blocks of a leaf: 4 MiB of addresses.
pub(crate) const LEAF_BLOCKS: usize = 1024;
pub(crate) const LEAF_BYTES: u64 = 4 << 20;
pub(crate) const LEAF_LOG2: u8 = 10;
/// Children of an inner node, as a power of two.
pub(crate) const FANOUT_LOG2: u32 = 8;
/// Blocks of a frame that this code writes: 256 KiB.
pub(crate) const FRAME_SLOTS: usize = 64;
pub(crate) const FRAME_SLOTS_LOG2: u8 = 6;
/// Blocks of the largest frame that this code reads, and of those that are packed densely: 1 MiB.
pub(crate) const FRAME_SLOTS_LOG2_MAX: u8 = 8;
/// Level of the highest node: three inner levels over the leaves span 64 TiB.
pub(crate) const HEIGHT_MAX: u8 = 3;
/// The largest volume.
pub(crate) const SIZE_BYTES_MAX: u64 = 64 << 40;

/// Level 3, but for tables that stay in a processor's own cache and matches of at least five bytes: in
/// frames of this size its own choice saves 0.6 % more and takes a sixth more time.
const ZSTD_LEVEL: i32 = 3;
const ZSTD_PARAMETERS: [CParameter; 4] = [
    CParameter::ChainLog(16),
    CParameter::HashLog(16),
    CParameter::MinMatch(5),
    CParameter::Strategy(zstd_safe::Strategy::ZSTD_dfast),
];

/// Of frames that are packed densely: the cheapest kind of parsing that weighs matches against each other. A higher
/// level saves 5 % more and takes five times as long.
const ZSTD_LEVEL_GREAT: i32 = 16;
const ZSTD_PARAMETERS_GREAT: [CParameter; 6] = [
    CParameter::ChainLog(19),
    CParameter::HashLog(18),
    CParameter::SearchLog(2),
    CParameter::MinMatch(4),
    CParameter::TargetLength(24),
    CParameter::Strategy(zstd_safe::Strategy::ZSTD_btopt),
];

/// A BLAKE3-256 value.
pub(crate) type Hash = [u8; 32];

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) Hash);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

hash_type!(
    /// Keyed hash of a block's plaintext.
    BlockId
);
hash_type!(
    /// Name of a data pack: commits to its frame table and through it to every block id.
    PackId
);
hash_type!(
    /// Name of a node pack: commits to its directory and through it to every node.
    NodePackId
);

impl BlockId {
    /// The part that the dedup index keeps.
    pub(crate) const fn prefix(&self) -> u64 {
        match self.0.first_chunk() {
            Some(head) => u64::from_le_bytes(*head),
            None => 0,
        }
    }
}

/// A map whose keys are ids or begin with one.
pub(crate) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Takes an id's first bytes for its hash: ids are keyed hashes, which nobody outside the domain can
/// choose or foresee.
#[derive(Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(head) = bytes.first_chunk() {
            self.0 ^= u64::from_le_bytes(*head);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }

    /// The length before a slice, the same for all ids.
    fn write_usize(&mut self, _: usize) {}
}

/// How the bytes inside a seal were encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Raw,
    Zstd,
}

impl Encoding {
    pub(crate) const fn bit(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
        }
    }

    pub(crate) const fn from_bit(bit: bool) -> Self {
        if bit { Self::Zstd } else { Self::Raw }
    }
}

/// How much time is given to making something small.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    Usual,
    /// For what is written once and kept for long.
    Great,
}

thread_local! {
    // A context is about a mebibyte: made once a thread, not once a frame.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static GREAT_COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn new_compressor(effort: Effort) -> std::io::Result<Compressor<'static>> {
    let (level, parameters) = match effort {
        Effort::Usual => (ZSTD_LEVEL, ZSTD_PARAMETERS.as_slice()),
        Effort::Great => (ZSTD_LEVEL_GREAT, ZSTD_PARAMETERS_GREAT.as_slice()),
    };
    let mut compressor = Compressor::new(level)?;
    for parameter in parameters {
        compressor.set_parameter(*parameter)?;
    }
    Ok(compressor)
}

pub(crate) fn compress(plain: &[u8]) -> (Encoding, Vec<u8>) {
    compress_with(Effort::Usual, plain)
}

/// Compresses `plain`, or keeps it raw where that gains less than 1/32.
pub(crate) fn compress_with(effort: Effort, plain: &[u8]) -> (Encoding, Vec<u8>) {
    let compressor = match effort {
        Effort::Usual => &COMPRESSOR,
        Effort::Great => &GREAT_COMPRESSOR,
    };
    let compressed = compressor.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(new_compressor(effort).ok()?),
        };
        compressor.compress(plain).ok()
    });
    match compressed {
        Some(small) if small.len() + plain.len() / 32 <= plain.len() => (Encoding::Zstd, small),
        _ => (Encoding::Raw, plain.to_vec()),
    }
}

/// Undoes [`compress`]; never yields more than `len_max` bytes.
pub(crate) fn decompress(encoding: Encoding, stored: Vec<u8>, len_max: usize) -> Result<Vec<u8>> {
    match encoding {
        Encoding::Raw if stored.len() <= len_max => Ok(stored),
        Encoding::Raw => Err(Error::corrupt("read raw bytes above their limit")),
        Encoding::Zstd => DECOMPRESSOR.with_borrow_mut(|slot| {
            let failed = |e: std::io::Error| Error::corrupt("decompress").with_source(e);
            let decompressor = match slot {
                Some(decompressor) => decompressor,
                None => slot.insert(Decompressor::new().map_err(failed)?),
            };
            decompressor.decompress(&stored, len_max).map_err(failed)
        }),
    }
}
