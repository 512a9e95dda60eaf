//! The object that says which format a store has. See docs/formats/store.md.

use super::cursor::Cursor;
use super::{Hash, VERSION};
use crate::error::{Error, Result};

/// Fixed for every version, so that any version can tell any other.
pub(crate) const STORE_BYTES: usize = 64;

/// The newest format that this code reads: version 1 with relocation maps, without which a reader finds blocks
/// missing and a collector finds them dead. A store has it from its first map on.
pub(crate) const WITH_MAPS: u16 = 2;

const MAGIC: &[u8; 8] = b"KTGMSTOR";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreHeader {
    pub(crate) version: u16,
    pub(crate) store_id: [u8; 16],
}

impl StoreHeader {
    pub(crate) const fn new(store_id: [u8; 16]) -> Self {
        Self { version: VERSION, store_id }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend([0; 6]);
        out.extend(self.store_id);
        let check: Hash = *blake3::hash(&out).as_bytes();
        out.extend(check);
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let (head, check) = bytes
            .split_last_chunk::<32>()
            .filter(|_| bytes.len() == STORE_BYTES)
            .ok_or_else(|| Error::corrupt("read store header: it has the wrong length"))?;
        let mut cursor = Cursor::new(head);
        if cursor.take(8)? != MAGIC || blake3::hash(head) != *check {
            return Err(Error::corrupt("read store header: it is damaged or something else"));
        }
        let version = cursor.u16()?;
        if version == 0 || version > WITH_MAPS {
            return Err(Error::invalid(format!(
                "open store: it has format {version}, and this program knows formats up to {WITH_MAPS}"
            )));
        }
        cursor.take(6)?;
        Ok(Self { version, store_id: cursor.array()? })
    }
}
