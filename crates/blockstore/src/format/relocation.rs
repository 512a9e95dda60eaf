//! Relocation maps: where repacking has put the blocks that trees say are elsewhere. See docs/formats/map.md.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cursor::{Cursor, put_varint, unzigzag, zigzag};
use super::node::{Leaf, PackRef, Run};
use super::pack::PackTable;
use super::seal::{Seal, Section};
use super::{Encoding, PackId, VERSION, compress, decompress};
use crate::error::{Error, Result};
use crate::keys::DomainKeys;

/// No map is longer.
pub(crate) const MAP_BYTES_MAX: u64 = 32 << 20;
/// Above this many moves nothing more is repacked, so that a map stays far below its limit.
pub(crate) const MOVES_MAX: usize = 1 << 21;

const MAGIC: &[u8; 8] = b"KTGMMAPS";
/// Magic, version, salt, encoding and length of the plain body.
const HEAD_BYTES: usize = 47;

/// Blocks one after another that were moved, and stayed one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    /// First slot in the old pack.
    pub(crate) first: u32,
    pub(crate) len: u32,
    /// Which of the map's packs.
    pub(crate) pack: u32,
    pub(crate) slot: u32,
}

impl Move {
    pub(crate) const fn end(&self) -> u64 {
        self.first as u64 + self.len as u64
    }
}

/// Slots of an old pack one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) first: u32,
    pub(crate) len: u32,
    /// Where the first of them is now; None where they never moved.
    pub(crate) now: Option<(PackId, u32)>,
}

/// Everything that was ever moved and is still named where it was. Each map is the whole state.
#[derive(Debug, Default)]
pub(crate) struct RelocationMap {
    pub(crate) version: u64,
    /// Where blocks were moved to. None of these was moved itself.
    pub(crate) packs: Vec<Arc<PackTable>>,
    /// By old pack; in ascending order, without overlaps.
    pub(crate) moves: BTreeMap<PackId, Vec<Move>>,
}

impl RelocationMap {
    pub(crate) fn has(&self, pack: PackId) -> bool {
        self.moves.contains_key(&pack)
    }

    pub(crate) fn moves_count(&self) -> usize {
        self.moves.values().map(Vec::len).sum()
    }

    /// The table of a pack that blocks were moved to.
    pub(crate) fn table(&self, pack: PackId) -> Option<&Arc<PackTable>> {
        self.packs.iter().find(|table| table.id == pack)
    }

    /// Slots of a pack, in ascending parts.
    pub(crate) fn parts(&self, pack: PackId, first: u32, len: u32) -> Vec<Part> {
        let end = u64::from(first) + u64::from(len);
        let moves = self.moves.get(&pack).map_or(&[][..], Vec::as_slice);
        let begin = moves.partition_point(|moved| moved.end() <= u64::from(first));
        let (mut parts, mut at) = (Vec::new(), first);
        let len_to = |end: u64, at: u32| u32::try_from(end - u64::from(at)).unwrap_or(0);
        for moved in moves.iter().skip(begin).take_while(|moved| u64::from(moved.first) < end) {
            let first = moved.first.max(at);
            if at < first {
                parts.push(Part { first: at, len: first - at, now: None });
            }
            let len = len_to(moved.end().min(end), first);
            let target = self.packs.get(moved.pack as usize);
            let now = target.map(|table| (table.id, moved.slot + (first - moved.first)));
            parts.push(Part { first, len, now });
            at = first + len;
        }
        if u64::from(at) < end {
            parts.push(Part { first: at, len: len_to(end, at), now: None });
        }
        parts
    }

    /// The leaf with every block where it is now.
    pub(crate) fn translate(&self, leaf: &Arc<Leaf>) -> Result<Arc<Leaf>> {
        if !leaf.packs.iter().any(|pack| self.has(pack.id)) {
            return Ok(Arc::clone(leaf));
        }
        let mut new = Leaf::default();
        for run in &leaf.runs {
            let old = *leaf.pack(run)?;
            for Part { first, len, now } in self.parts(old.id, run.slot, run.len.into()) {
                let too_long = |_| Error::corrupt("translate a leaf: a run is too long");
                let start = run.start + u16::try_from(first - run.slot).map_err(too_long)?;
                let len = u16::try_from(len).map_err(too_long)?;
                let (pack, slot) = match now {
                    Some((id, slot)) => (PackRef { id, table_in: None }, slot),
                    None => (old, first),
                };
                new.push(pack, Run { start, len, pack: 0, slot });
            }
        }
        Ok(Arc::new(new))
    }

    /// `salt` must be fresh and random. The version is sealed in: a map under another name fails.
    pub(crate) fn encode(&self, keys: &DomainKeys, salt: [u8; 32]) -> Vec<u8> {
        let plain = self.plain();
        let plain_bytes = u32::try_from(plain.len()).expect("a map has a bounded number of moves");
        let (encoding, body) = compress(&plain);
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend(salt);
        out.push(encoding.bit());
        out.extend(plain_bytes.to_le_bytes());
        let seal = Seal::new(&keys.node_key(&salt), &keys.domain);
        out.extend(seal.seal(Section::Relocation, 0, &detail(self.version, encoding, plain_bytes), body));
        out
    }

    /// The body before it is sealed.
    pub(crate) fn plain(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.packs.len() as u64);
        self.packs.iter().for_each(|table| table.put_copy(&mut out));
        put_varint(&mut out, self.moves.len() as u64);
        for (pack, moves) in &self.moves {
            out.extend(pack.0);
            put_varint(&mut out, moves.len() as u64);
            let mut expected: BTreeMap<u32, u32> = BTreeMap::new();
            let mut end = 0;
            for moved in moves {
                put_varint(&mut out, u64::from(moved.first) - end);
                put_varint(&mut out, u64::from(moved.len - 1));
                put_varint(&mut out, moved.pack.into());
                let next = expected.entry(moved.pack).or_default();
                put_varint(&mut out, zigzag(i64::from(moved.slot) - i64::from(*next)));
                *next = moved.slot + moved.len;
                end = moved.end();
            }
        }
        out
    }

    pub(crate) fn parse(keys: &DomainKeys, version: u64, bytes: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(8)? != MAGIC || cursor.u16()? != VERSION {
            return Err(Error::corrupt("read relocation map: unknown magic or version"));
        }
        let seal = Seal::new(&keys.node_key(&cursor.array()?), &keys.domain);
        let encoding = match cursor.u8()? {
            bit @ 0..=1 => Encoding::from_bit(bit == 1),
            _ => return Err(Error::corrupt("read relocation map: unknown encoding")),
        };
        let plain_bytes = cursor.u32()?;
        let sealed = bytes.get(HEAD_BYTES..).unwrap_or_default();
        let detail = detail(version, encoding, plain_bytes);
        let body = seal.open(Section::Relocation, 0, &detail, sealed.to_vec())?;
        let limit = usize::try_from(MAP_BYTES_MAX).unwrap_or(usize::MAX);
        let plain = decompress(encoding, body, limit.min(plain_bytes as usize))?;
        Self::parse_plain(keys, version, &plain)
    }

    /// What is left to check when the seal is open: the part that must be safe by itself.
    pub(crate) fn parse_plain(keys: &DomainKeys, version: u64, plain: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(plain);
        let mut map = Self { version, ..Self::default() };
        for _ in 0..cursor.count(64)? {
            map.packs.push(Arc::new(PackTable::parse_copy(keys, &mut cursor)?));
        }
        for _ in 0..cursor.count(33)? {
            let pack = PackId(cursor.array()?);
            let moves = map.parse_moves(&mut cursor)?;
            if map.moves.insert(pack, moves).is_some() {
                return Err(Error::corrupt("read relocation map: it names a pack twice"));
            }
        }
        cursor.finish()?;
        if map.packs.iter().any(|table| map.has(table.id)) {
            return Err(Error::corrupt("read relocation map: it moves blocks to where they were moved from"));
        }
        Ok(map)
    }

    fn parse_moves(&self, cursor: &mut Cursor<'_>) -> Result<Vec<Move>> {
        let mut expected = vec![0u32; self.packs.len()];
        let (mut moves, mut end) = (Vec::new(), 0u64);
        for _ in 0..cursor.count(4)? {
            let out_of_range = || Error::corrupt("read relocation map: a slot is out of range");
            let first = end.checked_add(cursor.varint()?).and_then(|first| u32::try_from(first).ok());
            let first = first.ok_or_else(out_of_range)?;
            let len = cursor.varint_u32()?.checked_add(1).ok_or_else(out_of_range)?;
            let pack = cursor.varint_u32()?;
            let target = self.packs.get(pack as usize).zip(expected.get_mut(pack as usize));
            let (table, next) =
                target.ok_or_else(|| Error::corrupt("read relocation map: it has no such pack"))?;
            let slot = i64::from(*next).checked_add(unzigzag(cursor.varint()?));
            let slot = slot.and_then(|slot| u32::try_from(slot).ok()).ok_or_else(out_of_range)?;
            let after = slot.checked_add(len).filter(|after| *after <= table.slots);
            *next = after.ok_or_else(out_of_range)?;
            let moved = Move { first, len, pack, slot };
            end = moved.end();
            if end > u64::from(u32::MAX) {
                return Err(out_of_range());
            }
            moves.push(moved);
        }
        Ok(moves)
    }
}

fn detail(version: u64, encoding: Encoding, plain_bytes: u32) -> Vec<u8> {
    let mut detail = version.to_le_bytes().to_vec();
    detail.push(encoding.bit());
    detail.extend(plain_bytes.to_le_bytes());
    detail
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::pack::{PackBuilder, Packed};
    use crate::format::{BLOCK_BYTES, BlockId, Effort};
    use crate::keys::DomainSecret;

    fn keys() -> DomainKeys {
        DomainKeys::derive("d", &DomainSecret::new([3; 32]))
    }

    fn table(salt: u8, blocks: usize) -> Arc<PackTable> {
        let mut builder = PackBuilder::new(&keys(), [salt; 32]);
        let ids: Vec<BlockId> = (0..blocks).map(|i| BlockId([i.to_le_bytes()[0]; 32])).collect();
        builder.push(&Packed::pack(Effort::Usual, &vec![salt; blocks * BLOCK_BYTES]), &ids);
        builder.build(&keys()).directory.table
    }

    fn moved(first: u32, len: u32, pack: u32, slot: u32) -> Move {
        Move { first, len, pack, slot }
    }

    /// Two packs were moved to two others.
    fn map() -> RelocationMap {
        let a = vec![moved(3, 4, 0, 10), moved(7, 2, 1, 0), moved(20, 1, 0, 14)];
        let moves = [(PackId([1; 32]), a), (PackId([2; 32]), vec![moved(0, 10, 0, 0)])];
        RelocationMap { version: 3, packs: vec![table(8, 20), table(9, 5)], moves: moves.into() }
    }

    fn same(a: &RelocationMap, b: &RelocationMap) -> bool {
        let ids = |map: &RelocationMap| map.packs.iter().map(|table| table.id).collect::<Vec<_>>();
        (a.version, ids(a), &a.moves) == (b.version, ids(b), &b.moves)
    }

    /// What the first program that repacked wrote. Readable for ever.
    #[test]
    fn a_map_of_version_1_is_read() {
        let bytes = include_bytes!("../../../../tests/formats/map-v1/0000000000000003");
        assert!(same(&RelocationMap::parse(&keys(), 3, bytes).unwrap(), &map()));
        assert!(RelocationMap::parse(&keys(), 4, bytes).is_err(), "the map of another version");
        let other = DomainKeys::derive("e", &DomainSecret::new([3; 32]));
        assert!(RelocationMap::parse(&other, 3, bytes).is_err(), "the map of another domain");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = map().encode(&keys(), [4; 32]);
        assert!(same(&RelocationMap::parse(&keys(), 3, &bytes).unwrap(), &map()));
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            assert!(RelocationMap::parse(&keys(), 3, &bytes).is_err(), "byte {at}");
        }
    }

    #[test]
    fn slots_are_followed_one_by_one() {
        let (map, old) = (map(), PackId([1; 32]));
        let to = |pack: usize, slot| Some((map.packs[pack].id, slot));
        let part = |first, len, now| Part { first, len, now };
        assert_eq!(
            map.parts(old, 0, 30),
            [
                part(0, 3, None),
                part(3, 4, to(0, 10)),
                part(7, 2, to(1, 0)),
                part(9, 11, None),
                part(20, 1, to(0, 14)),
                part(21, 9, None),
            ]
        );
        assert_eq!(map.parts(old, 5, 3), [part(5, 2, to(0, 12)), part(7, 1, to(1, 0))]);
        assert_eq!(map.parts(PackId([7; 32]), 5, 3), [part(5, 3, None)]);
        let pack = |id| PackRef { id: PackId([id; 32]), table_in: None };
        let mut leaf = Leaf::default();
        leaf.push(pack(1), Run { start: 100, len: 6, pack: 0, slot: 3 });
        leaf.push(pack(7), Run { start: 200, len: 6, pack: 0, slot: 3 });
        let leaf = Arc::new(leaf);
        let new = map.translate(&leaf).unwrap();
        let runs: Vec<_> = new.runs.iter().map(|run| (run.start, run.len, run.slot)).collect();
        assert_eq!(runs, [(100, 4, 10), (104, 2, 0), (200, 6, 3)]);
        assert_eq!(new.packs.iter().map(|pack| pack.id).collect::<Vec<_>>()[2], PackId([7; 32]));
        assert!(Arc::ptr_eq(&RelocationMap::default().translate(&leaf).unwrap(), &leaf));
    }

    #[test]
    fn a_map_that_leads_back_is_refused() {
        let mut map = map();
        let target = map.packs[0].id;
        map.moves.insert(target, vec![moved(0, 1, 1, 0)]);
        assert!(RelocationMap::parse_plain(&keys(), 3, &map.plain()).is_err());
    }

    proptest! {
        #[test]
        fn unsealed_maps_are_parsed_safely(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
            wild: Vec<u8>,
        ) {
            let mut plain = map().plain();
            for (at, byte) in edits {
                let at = at.index(plain.len());
                plain[at] = byte;
            }
            if let Some(cut) = cut {
                plain.truncate(cut.index(plain.len()));
            }
            for plain in [&plain, &wild] {
                let Ok(found) = RelocationMap::parse_plain(&keys(), 3, plain) else { continue };
                prop_assert!(found.moves_count() <= plain.len() / 4);
                for (pack, moves) in &found.moves {
                    let parts = found.parts(*pack, 0, u32::MAX);
                    prop_assert_eq!(parts.iter().map(|part| u64::from(part.len)).sum::<u64>(), u64::from(u32::MAX));
                    prop_assert!(parts.len() >= moves.len());
                    for moved in moves {
                        let table = &found.packs[moved.pack as usize];
                        table.frame_of(moved.slot).unwrap();
                        table.frame_of(moved.slot + moved.len - 1).unwrap();
                    }
                }
            }
        }

        #[test]
        fn sealed_maps_refuse_noise(bytes: Vec<u8>) {
            prop_assert!(RelocationMap::parse(&keys(), 1, &bytes).is_err());
        }
    }
}
