//! The last 64 bytes of data packs and node packs. See docs/formats/pack.md.

use super::cursor::Cursor;
use super::{BLOCK_LOG2, FRAME_SLOTS_LOG2_MAX, LEAF_LOG2, VERSION};
use crate::error::{Error, ErrorKind, Result};

pub(crate) const TRAILER_BYTES: usize = 64;
pub(crate) const TRAILER_BYTES_U64: u64 = 64;

const CIPHER_AES_256_GCM: u8 = 1;
const COMPRESSION_ZSTD: u8 = 1;

/// Which kind of object a trailer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pack,
    NodePack,
}

impl Kind {
    pub(crate) const fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Pack => b"KTGMPACK",
            Self::NodePack => b"KTGMNODE",
        }
    }
}

/// What a trailer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) kind: Kind,
    pub(crate) salt: [u8; 32],
    /// The collection epoch that the writer knew.
    pub(crate) epoch: u64,
    /// Sealed bytes of the section just before the trailer.
    pub(crate) directory_bytes: u32,
    /// Pack: slots. Node pack: bytes of the directory after decompression.
    pub(crate) count: u32,
    /// Pack: blocks of the largest frame. Node pack: blocks of a leaf. As powers of two.
    pub(crate) unit_log2: u8,
    /// Whether the directory is compressed.
    pub(crate) directory_is_compressed: bool,
}

impl Trailer {
    pub(crate) fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = Vec::with_capacity(TRAILER_BYTES);
        out.extend(self.salt);
        out.extend(self.epoch.to_le_bytes());
        out.extend(self.directory_bytes.to_le_bytes());
        out.extend(self.count.to_le_bytes());
        out.extend([BLOCK_LOG2, self.unit_log2, CIPHER_AES_256_GCM, COMPRESSION_ZSTD]);
        out.extend(u16::from(self.directory_is_compressed).to_le_bytes());
        out.extend(VERSION.to_le_bytes());
        out.extend(self.kind.magic());
        out.try_into().expect("the fields above are 64 bytes")
    }

    pub(crate) fn parse(kind: Kind, bytes: &[u8; TRAILER_BYTES]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes);
        let salt = cursor.array()?;
        let (epoch, directory_bytes, count) = (cursor.u64()?, cursor.u32()?, cursor.u32()?);
        let [block_log2, unit_log2, cipher, compression] = cursor.array()?;
        let (flags, version) = (cursor.u16()?, cursor.u16()?);
        if cursor.take(8)? != kind.magic() {
            return Err(Error::corrupt("read trailer: unknown magic"));
        }
        if version != VERSION {
            // A flipped bit looks the same as a newer writer; neither may be read on.
            return Err(Error::new(ErrorKind::Corrupt, format!("read trailer: unknown version {version}")));
        }
        let unit_is_known = match kind {
            Kind::Pack => unit_log2 <= FRAME_SLOTS_LOG2_MAX,
            Kind::NodePack => unit_log2 == LEAF_LOG2,
        };
        let is_known = block_log2 == BLOCK_LOG2
            && unit_is_known
            && cipher == CIPHER_AES_256_GCM
            && compression == COMPRESSION_ZSTD
            && flags <= 1;
        if !is_known {
            return Err(Error::corrupt("read trailer: unknown parameters"));
        }
        Ok(Self { kind, salt, epoch, directory_bytes, count, unit_log2, directory_is_compressed: flags == 1 })
    }
}
