//! Data packs: frames, block ids, frame table, trailer. See docs/formats/pack.md.

use std::sync::Arc;

use bytes::Bytes;

use super::cursor::{Cursor, put_varint};
use super::seal::{Seal, Section, TAG_BYTES};
use super::trailer::{Kind, TRAILER_BYTES, Trailer};
use super::{
    BLOCK_BYTES, BlockId, Effort, Encoding, FRAME_SLOTS_LOG2, Hash, PackId, compress_with, decompress,
};
use crate::error::{Error, Result};
use crate::keys::DomainKeys;
use crate::remote::sealed::Part;

/// The largest pack that is read. Writers stay near 16 MiB.
pub(crate) const PACK_BYTES_MAX: u64 = 64 << 20;
/// Bytes that one slot adds to a pack besides its share of a frame.
pub(crate) const ID_BYTES: usize = 32;

const BLOCK_IDS: [u8; 8] = *b"blockids";
const PACK: [u8; 8] = *b"packname";

/// Where a frame lies in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameEntry {
    pub(crate) offset: u64,
    pub(crate) sealed_bytes: u32,
    pub(crate) first_slot: u32,
    pub(crate) slots: u16,
    pub(crate) encoding: Encoding,
}

impl FrameEntry {
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.sealed_bytes)
    }

    const fn detail(&self) -> [u8; 3] {
        let [low, high] = self.slots.to_le_bytes();
        [low, high, self.encoding.bit()]
    }
}

/// What one must know of a pack to read its frames.
#[derive(Debug)]
pub(crate) struct PackTable {
    pub(crate) id: PackId,
    pub(crate) frames: Vec<FrameEntry>,
    pub(crate) slots: u32,
    trailer: [u8; TRAILER_BYTES],
    /// The frame table as stored, to be repeated in node packs.
    plain: Vec<u8>,
    ids_digest: Hash,
    seal: Seal,
}

impl PackTable {
    /// Reads a frame table. The id that comes out commits to all of it: compare it.
    pub(crate) fn parse(keys: &DomainKeys, trailer: &[u8; TRAILER_BYTES], plain: &[u8]) -> Result<Self> {
        let head = Trailer::parse(Kind::Pack, trailer)?;
        let mut cursor = Cursor::new(plain);
        let ids_digest = cursor.array()?;
        let count = cursor.count(2)?;
        let mut frames = Vec::with_capacity(count);
        let (mut offset, mut slots) = (0u64, 0u32);
        for _ in 0..count {
            let frame = parse_frame(&mut cursor, offset, slots, head.unit_log2)?;
            offset = frame.end();
            slots += u32::from(frame.slots);
            if offset > PACK_BYTES_MAX {
                return Err(Error::corrupt("read frame table: the pack is too large"));
            }
            frames.push(frame);
        }
        cursor.finish()?;
        if slots != head.count {
            return Err(Error::corrupt("read frame table: it disagrees with the trailer"));
        }
        Ok(Self {
            id: PackId(keys.name(PACK, &[trailer, plain])),
            frames,
            slots,
            trailer: *trailer,
            plain: plain.to_vec(),
            ids_digest,
            seal: Seal::new(&keys.pack_key(&head.salt), &keys.domain),
        })
    }

    /// Appends the copy that node packs carry.
    pub(crate) fn put_copy(&self, out: &mut Vec<u8>) {
        out.extend(self.trailer);
        put_varint(out, self.plain.len() as u64);
        out.extend(&self.plain);
    }

    pub(crate) fn copy_bytes(&self) -> usize {
        TRAILER_BYTES + 3 + self.plain.len()
    }

    pub(crate) fn parse_copy(keys: &DomainKeys, cursor: &mut Cursor<'_>) -> Result<Self> {
        let trailer = cursor.array()?;
        let len = cursor.count(1)?;
        Self::parse(keys, &trailer, cursor.take(len)?)
    }

    /// The frame that holds a slot, and its number.
    pub(crate) fn frame_of(&self, slot: u32) -> Result<(u32, &FrameEntry)> {
        let number = self.frames.partition_point(|frame| frame.first_slot <= slot).wrapping_sub(1);
        let frame = self.frames.get(number).filter(|_| slot < self.slots);
        frame
            .and_then(|frame| Some((u32::try_from(number).ok()?, frame)))
            .ok_or_else(|| Error::corrupt("look up a slot that its pack does not have"))
    }

    pub(crate) fn frame(&self, number: u32) -> Result<&FrameEntry> {
        self.frames
            .get(number as usize)
            .ok_or_else(|| Error::corrupt("look up a frame that its pack does not have"))
    }

    /// Where a frame lies in the store.
    pub(crate) fn part(&self, number: u32) -> Result<Part> {
        let frame = self.frame(number)?;
        Ok(Part { pack: self.id, offset: frame.offset, len: frame.sealed_bytes })
    }

    /// Opens a frame but leaves it compressed.
    pub(crate) fn unseal_frame(&self, number: u32, sealed: Vec<u8>) -> Result<Packed> {
        let frame = self.frame(number)?;
        let bytes = self.seal.open(Section::Frame, number, &frame.detail(), sealed)?;
        Ok(Packed { encoding: frame.encoding, bytes, slots: frame.slots })
    }

    /// Opens and decodes a frame: exactly its slots' blocks.
    pub(crate) fn open_frame(&self, number: u32, sealed: Vec<u8>) -> Result<Vec<u8>> {
        self.unseal_frame(number, sealed)?.unpack()
    }

    /// Blocks of its frames at most, as a power of two.
    pub(crate) fn unit_log2(&self) -> u8 {
        Trailer::parse(Kind::Pack, &self.trailer).map_or(FRAME_SLOTS_LOG2, |trailer| trailer.unit_log2)
    }

    fn frames_end(&self) -> u64 {
        self.frames.last().map_or(0, FrameEntry::end)
    }
}

fn parse_frame(cursor: &mut Cursor<'_>, offset: u64, first_slot: u32, slots_log2: u8) -> Result<FrameEntry> {
    let sealed_bytes = cursor.varint_u32()?;
    let word = cursor.varint_u32()?;
    let (encoding, slots) = (Encoding::from_bit(word & 1 == 1), (word >> 1) + 1);
    let slots = u16::try_from(slots).ok().filter(|&slots| slots <= 1 << slots_log2);
    let slots = slots.ok_or_else(|| Error::corrupt("read frame table: a frame is too large"))?;
    let bytes_max = usize::from(slots) * BLOCK_BYTES + TAG_BYTES;
    if !(TAG_BYTES..=bytes_max).contains(&(sealed_bytes as usize)) {
        return Err(Error::corrupt("read frame table: a frame's length is impossible"));
    }
    Ok(FrameEntry { offset, sealed_bytes, first_slot, slots, encoding })
}

/// A frame table with the block ids: what the dedup index is rebuilt from.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) table: Arc<PackTable>,
    pub(crate) ids: Vec<BlockId>,
}

impl Directory {
    /// How many bytes before the end of an object of `object_bytes` the directory begins.
    pub(crate) fn tail_bytes(trailer: &[u8; TRAILER_BYTES], object_bytes: u64) -> Result<u64> {
        let trailer = Trailer::parse(Kind::Pack, trailer)?;
        let ids = u64::from(trailer.count) * ID_BYTES as u64 + TAG_BYTES as u64;
        let bytes = TRAILER_BYTES as u64 + u64::from(trailer.directory_bytes) + ids;
        if bytes > object_bytes.min(PACK_BYTES_MAX) {
            return Err(Error::corrupt("read pack: it is shorter than its directory"));
        }
        Ok(bytes)
    }

    /// Reads `tail`, the last bytes of an object of `object_bytes`, as long as `tail_bytes` says.
    pub(crate) fn parse(keys: &DomainKeys, id: PackId, tail: &[u8], object_bytes: u64) -> Result<Self> {
        let (body, trailer) =
            tail.split_last_chunk().ok_or_else(|| Error::corrupt("read pack: it has no trailer"))?;
        let head = Trailer::parse(Kind::Pack, trailer)?;
        let mut cursor = Cursor::new(body);
        let sealed_ids = cursor.take(head.count as usize * ID_BYTES + TAG_BYTES)?;
        let sealed_table = cursor.take(head.directory_bytes as usize)?;
        cursor.finish()?;
        let seal = Seal::new(&keys.pack_key(&head.salt), &keys.domain);
        let plain = seal.open(Section::FrameTable, 0, &[], sealed_table.to_vec())?;
        let table = PackTable::parse(keys, trailer, &plain)?;
        if table.id != id {
            return Err(Error::corrupt("read pack: its name does not match its directory"));
        }
        if table.frames_end() + tail.len() as u64 != object_bytes {
            return Err(Error::corrupt("read pack: its length does not match its directory"));
        }
        let ids = seal.open(Section::BlockIds, 0, &[], sealed_ids.to_vec())?;
        if keys.name(BLOCK_IDS, &[&ids]) != table.ids_digest {
            return Err(Error::corrupt("read pack: the block ids do not match the frame table"));
        }
        let ids = ids.as_chunks().0.iter().map(|id| BlockId(*id)).collect();
        Ok(Self { table: Arc::new(table), ids })
    }
}

/// Blocks that are encoded but not sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) encoding: Encoding,
    pub(crate) bytes: Vec<u8>,
    pub(crate) slots: u16,
}

impl Packed {
    /// Encodes whole blocks, at most one frame of them.
    pub(crate) fn pack(effort: Effort, blocks: &[u8]) -> Self {
        let slots = u16::try_from(blocks.len() / BLOCK_BYTES).expect("a frame has at most 256 blocks");
        let (encoding, bytes) = compress_with(effort, blocks);
        Self { encoding, bytes, slots }
    }

    pub(crate) fn unpack(self) -> Result<Vec<u8>> {
        let len = usize::from(self.slots) * BLOCK_BYTES;
        let blocks = decompress(self.encoding, self.bytes, len)?;
        if blocks.len() != len {
            return Err(Error::corrupt("decompress a frame: it has the wrong length"));
        }
        Ok(blocks)
    }
}

/// A pack being filled.
#[derive(Debug)]
pub(crate) struct PackBuilder {
    epoch: u64,
    salt: [u8; 32],
    seal: Seal,
    body: Vec<u8>,
    table: Vec<u8>,
    frames: u32,
    /// Of the largest frame so far.
    slots_max: u16,
    ids: Vec<BlockId>,
}

/// A pack that is ready to be stored.
#[derive(Debug)]
pub(crate) struct BuiltPack {
    pub(crate) bytes: Bytes,
    pub(crate) directory: Directory,
}

impl PackBuilder {
    /// `salt` must be fresh and random.
    pub(crate) fn new(keys: &DomainKeys, salt: [u8; 32]) -> Self {
        let seal = Seal::new(&keys.pack_key(&salt), &keys.domain);
        let (body, table, ids) = (Vec::new(), Vec::new(), Vec::new());
        Self { epoch: 0, salt, seal, body, table, frames: 0, slots_max: 0, ids }
    }

    /// Notes the collection epoch that the writer knows.
    pub(crate) fn at_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// Notes that its frames have room for this many blocks, however many each has.
    pub(crate) fn of_frames(mut self, slots: usize) -> Self {
        self.slots_max = u16::try_from(slots).unwrap_or(u16::MAX);
        self
    }

    pub(crate) fn push(&mut self, packed: &Packed, ids: &[BlockId]) {
        let frame = FrameEntry {
            offset: self.body.len() as u64,
            sealed_bytes: u32::try_from(packed.bytes.len() + TAG_BYTES).expect("a frame is below 4 GiB"),
            first_slot: self.slots(),
            slots: packed.slots,
            encoding: packed.encoding,
        };
        let start = self.body.len();
        self.body.extend(&packed.bytes);
        self.seal.seal_end(Section::Frame, self.frames, &frame.detail(), &mut self.body, start);
        put_varint(&mut self.table, u64::from(frame.sealed_bytes));
        put_varint(&mut self.table, u64::from(frame.slots - 1) << 1 | u64::from(frame.encoding.bit()));
        self.frames += 1;
        self.slots_max = self.slots_max.max(packed.slots);
        self.ids.extend(ids);
    }

    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.ids.len()).expect("a pack has fewer than 2^32 slots")
    }

    /// Bytes of the object if it ended now, nearly.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + self.table.len() + self.ids.len() * ID_BYTES
    }

    /// Of frames as ingest makes them, or of a larger one that came from elsewhere.
    fn unit_log2(&self) -> u8 {
        let needed = u32::from(self.slots_max).next_power_of_two().ilog2();
        u8::try_from(needed).unwrap_or(u8::MAX).max(FRAME_SLOTS_LOG2)
    }

    pub(crate) fn build(mut self, keys: &DomainKeys) -> BuiltPack {
        let ids: Vec<u8> = self.ids.iter().flat_map(|id| id.0).collect();
        let mut plain = keys.name(BLOCK_IDS, &[&ids]).to_vec();
        put_varint(&mut plain, u64::from(self.frames));
        plain.extend(&self.table);
        let trailer = Trailer {
            kind: Kind::Pack,
            salt: self.salt,
            epoch: self.epoch,
            directory_bytes: u32::try_from(plain.len() + TAG_BYTES).expect("a frame table is below 4 GiB"),
            count: self.slots(),
            unit_log2: self.unit_log2(),
            directory_is_compressed: false,
        }
        .encode();
        let table = PackTable::parse(keys, &trailer, &plain).expect("a table just built can be read");
        self.body.extend(self.seal.seal(Section::BlockIds, 0, &[], ids));
        self.body.extend(self.seal.seal(Section::FrameTable, 0, &[], plain));
        self.body.extend(trailer);
        BuiltPack { bytes: self.body.into(), directory: Directory { table: Arc::new(table), ids: self.ids } }
    }
}
