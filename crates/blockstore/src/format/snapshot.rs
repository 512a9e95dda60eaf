//! Snapshot objects: the name of a root under an opaque key. See docs/formats/snapshot.md.

use super::cursor::{Cursor, put_varint};
use super::seal::{Seal, Section};
use super::{NodePackId, VERSION};
use crate::error::{Error, Result};
use crate::keys::DomainKeys;

/// No snapshot object is longer.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 4096;

const MAGIC: &[u8; 8] = b"KTGMSNAP";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) root: NodePackId,
    pub(crate) size_bytes: u64,
    pub(crate) parent: Option<NodePackId>,
    /// The collection epoch that the writer knew.
    pub(crate) epoch: u64,
}

impl Snapshot {
    /// `salt` must be fresh and random. The key is sealed in: an object under another name fails.
    pub(crate) fn encode(&self, keys: &DomainKeys, key: &str, salt: [u8; 32]) -> Vec<u8> {
        let mut plain = self.root.0.to_vec();
        put_varint(&mut plain, self.size_bytes);
        plain.push(u8::from(self.parent.is_some()));
        plain.extend(self.parent.iter().flat_map(|parent| parent.0));
        put_varint(&mut plain, self.epoch);
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend(salt);
        let seal = Seal::new(&keys.node_key(&salt), &keys.domain);
        out.extend(seal.seal(Section::Snapshot, 0, key.as_bytes(), plain));
        out
    }

    pub(crate) fn parse(keys: &DomainKeys, key: &str, bytes: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(8)? != MAGIC || cursor.u16()? != VERSION {
            return Err(Error::corrupt("read snapshot object: unknown magic or version"));
        }
        let seal = Seal::new(&keys.node_key(&cursor.array()?), &keys.domain);
        let sealed = bytes.get(42..).unwrap_or_default();
        let plain = seal.open(Section::Snapshot, 0, key.as_bytes(), sealed.to_vec())?;
        let mut cursor = Cursor::new(&plain);
        let root = NodePackId(cursor.array()?);
        let size_bytes = cursor.varint()?;
        let parent = match cursor.u8()? {
            0 => None,
            1 => Some(NodePackId(cursor.array()?)),
            _ => return Err(Error::corrupt("read snapshot object: unknown parent flag")),
        };
        let epoch = cursor.varint()?;
        cursor.finish()?;
        Ok(Self { root, size_bytes, parent, epoch })
    }
}
