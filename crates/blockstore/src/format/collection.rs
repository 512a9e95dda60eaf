//! Collection records: what the collector of a domain has condemned so far. See
//! docs/formats/collection.md.

use std::collections::BTreeMap;

use model::Timestamp;

use super::cursor::{Cursor, put_varint};
use super::seal::{Seal, Section};
use super::{Encoding, NodePackId, PackId, VERSION, compress, decompress};
use crate::error::{Error, Result};
use crate::keys::DomainKeys;

/// No collection record is longer.
pub(crate) const RECORD_BYTES_MAX: u64 = 32 << 20;
/// A writer leaves what is above this for the next record.
pub(crate) const RECORD_OBJECTS_MAX: usize = 200_000;

const MAGIC: &[u8; 8] = b"KTGMCOLL";
/// Magic, version, salt, encoding and length of the plain body.
const HEAD_BYTES: usize = 47;
/// An entry: kind, id, and at least one byte of a number.
const ENTRY_BYTES: usize = 34;

/// An object that can be collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ObjectId {
    Pack(PackId),
    NodePack(NodePackId),
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pack(id) => write!(f, "pack {id}"),
            Self::NodePack(id) => write!(f, "node pack {id}"),
        }
    }
}

/// An object that nothing names, and that is kept for some time all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retired {
    pub(crate) at: Timestamp,
    /// The record that condemned it.
    pub(crate) epoch: u64,
}

/// Retired objects were needed after all: a promise was broken, and nothing is deleted until a
/// person has looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) at: Timestamp,
    pub(crate) objects: Vec<ObjectId>,
}

/// Everything that one run of the collector leaves to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collection {
    pub(crate) epoch: u64,
    pub(crate) at: Timestamp,
    /// Found dead by the last mark, and since when.
    pub(crate) suspects: BTreeMap<ObjectId, Timestamp>,
    pub(crate) retired: BTreeMap<ObjectId, Retired>,
    pub(crate) alarm: Option<Alarm>,
}

impl Default for Collection {
    fn default() -> Self {
        let at = Timestamp::from_millis(0);
        Self { epoch: 0, at, suspects: BTreeMap::new(), retired: BTreeMap::new(), alarm: None }
    }
}

impl Collection {
    /// `salt` must be fresh and random. The epoch is sealed in: a record under another name fails.
    pub(crate) fn encode(&self, keys: &DomainKeys, salt: [u8; 32]) -> Vec<u8> {
        let plain = self.plain();
        let plain_bytes = u32::try_from(plain.len()).expect("a record has a bounded number of entries");
        let (encoding, body) = compress(&plain);
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend(salt);
        out.push(encoding.bit());
        out.extend(plain_bytes.to_le_bytes());
        let seal = Seal::new(&keys.node_key(&salt), &keys.domain);
        out.extend(seal.seal(Section::Collection, 0, &detail(self.epoch, encoding, plain_bytes), body));
        out
    }

    /// The body before it is sealed.
    pub(crate) fn plain(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_time(&mut out, self.at);
        put_varint(&mut out, self.suspects.len() as u64);
        for (id, since) in &self.suspects {
            put_id(&mut out, *id);
            put_time(&mut out, *since);
        }
        put_varint(&mut out, self.retired.len() as u64);
        for (id, retired) in &self.retired {
            put_id(&mut out, *id);
            put_time(&mut out, retired.at);
            put_varint(&mut out, retired.epoch);
        }
        out.push(u8::from(self.alarm.is_some()));
        if let Some(alarm) = &self.alarm {
            put_time(&mut out, alarm.at);
            put_varint(&mut out, alarm.objects.len() as u64);
            alarm.objects.iter().for_each(|id| put_id(&mut out, *id));
        }
        out
    }

    pub(crate) fn parse(keys: &DomainKeys, epoch: u64, bytes: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(8)? != MAGIC || cursor.u16()? != VERSION {
            return Err(Error::corrupt("read collection record: unknown magic or version"));
        }
        let seal = Seal::new(&keys.node_key(&cursor.array()?), &keys.domain);
        let encoding = match cursor.u8()? {
            bit @ 0..=1 => Encoding::from_bit(bit == 1),
            _ => return Err(Error::corrupt("read collection record: unknown encoding")),
        };
        let plain_bytes = cursor.u32()?;
        let sealed = bytes.get(HEAD_BYTES..).unwrap_or_default();
        let body =
            seal.open(Section::Collection, 0, &detail(epoch, encoding, plain_bytes), sealed.to_vec())?;
        let limit = usize::try_from(RECORD_BYTES_MAX).unwrap_or(usize::MAX);
        let plain = decompress(encoding, body, limit.min(plain_bytes as usize))?;
        Self::parse_plain(epoch, &plain)
    }

    /// What is left to check when the seal is open: the part that must be safe by itself.
    pub(crate) fn parse_plain(epoch: u64, plain: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(plain);
        let mut record = Self { epoch, at: time(&mut cursor)?, ..Self::default() };
        for _ in 0..cursor.count(ENTRY_BYTES)? {
            record.suspects.insert(id(&mut cursor)?, time(&mut cursor)?);
        }
        for _ in 0..cursor.count(ENTRY_BYTES + 1)? {
            let id = id(&mut cursor)?;
            let retired = Retired { at: time(&mut cursor)?, epoch: cursor.varint()? };
            record.retired.insert(id, retired);
        }
        match cursor.u8()? {
            0 => {}
            1 => {
                let at = time(&mut cursor)?;
                let objects: Result<_> =
                    (0..cursor.count(ENTRY_BYTES - 1)?).map(|_| id(&mut cursor)).collect();
                record.alarm = Some(Alarm { at, objects: objects? });
            }
            _ => return Err(Error::corrupt("read collection record: unknown alarm flag")),
        }
        cursor.finish()?;
        Ok(record)
    }
}

fn detail(epoch: u64, encoding: Encoding, plain_bytes: u32) -> Vec<u8> {
    let mut detail = epoch.to_le_bytes().to_vec();
    detail.push(encoding.bit());
    detail.extend(plain_bytes.to_le_bytes());
    detail
}

fn put_time(out: &mut Vec<u8>, time: Timestamp) {
    put_varint(out, u64::try_from(time.as_millis()).unwrap_or(0));
}

fn time(cursor: &mut Cursor<'_>) -> Result<Timestamp> {
    let ms = i64::try_from(cursor.varint()?);
    ms.map(Timestamp::from_millis).map_err(|_| Error::corrupt("read a time beyond the end of time"))
}

fn put_id(out: &mut Vec<u8>, id: ObjectId) {
    match id {
        ObjectId::Pack(id) => {
            out.push(0);
            out.extend(id.0);
        }
        ObjectId::NodePack(id) => {
            out.push(1);
            out.extend(id.0);
        }
    }
}

fn id(cursor: &mut Cursor<'_>) -> Result<ObjectId> {
    match cursor.u8()? {
        0 => Ok(ObjectId::Pack(PackId(cursor.array()?))),
        1 => Ok(ObjectId::NodePack(NodePackId(cursor.array()?))),
        _ => Err(Error::corrupt("read collection record: unknown kind of object")),
    }
}
