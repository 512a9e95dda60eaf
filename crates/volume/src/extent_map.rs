//! Where each sector of a volume was last written: one ordered map, however many segments and frozen layers.
//!
//! Refuses to know: files. It counts what each segment still holds, so that the cleaner can choose.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::format::SECTOR_BYTES;

/// The content of some sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The sequence number of the group that wrote it.
    pub(crate) seq: u64,
    pub(crate) segment: u64,
    pub(crate) place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Zero,
    Data(DataPlace),
}

/// Part of the data of one log entry. The whole entry stays findable, because checksums cover its chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataPlace {
    /// Where the entry's data begins in the segment file.
    pub(crate) entry_position: u64,
    pub(crate) entry_sectors: u32,
    /// How many sectors of the entry come before this part.
    pub(crate) skip_sectors: u32,
    pub(crate) crcs: ChunkCrcs,
}

/// The checksums of an entry's chunks; the usual 4 KiB write needs no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChunkCrcs {
    One(u32),
    Many(Arc<[u32]>),
}

impl ChunkCrcs {
    pub(crate) fn new(crcs: &[u32]) -> Self {
        match crcs {
            [one] => Self::One(*one),
            _ => Self::Many(crcs.into()),
        }
    }

    pub(crate) fn get(&self, chunk: usize) -> Option<u32> {
        match self {
            Self::One(crc) => (chunk == 0).then_some(*crc),
            Self::Many(crcs) => crcs.get(chunk).copied(),
        }
    }
}

impl Mapping {
    /// The same content without its first `sectors`.
    fn after(&self, sectors: u64) -> Self {
        let mut rest = self.clone();
        if let Place::Data(data) = &mut rest.place {
            data.skip_sectors += u32::try_from(sectors).expect("a part is never longer than its entry");
        }
        rest
    }
}

/// A run of sectors; no mapping means that the base shows through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) sectors: u64,
    pub(crate) mapping: Option<Mapping>,
}

/// What a segment still holds that nothing newer covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) extents: u64,
    pub(crate) data_sectors: u64,
}

#[derive(Debug, Default)]
pub(crate) struct ExtentMap {
    extents: BTreeMap<u64, (u64, Mapping)>,
    live: BTreeMap<u64, Live>,
}

impl ExtentMap {
    /// Puts `mapping` over whatever covered these sectors.
    pub(crate) fn insert(&mut self, start: u64, sectors: u64, mapping: Mapping) {
        if sectors > 0 {
            self.cut(start, start + sectors);
            self.add(start, sectors, mapping);
        }
    }

    /// The pieces of `[start, start + sectors)` in order, without holes between them.
    pub(crate) fn lookup(&self, start: u64, sectors: u64) -> Vec<Piece> {
        let end = start + sectors;
        let mut pieces = Vec::with_capacity(4);
        let mut at = start;
        let before = self.extents.range(..start).next_back();
        for (from, (len, mapping)) in before.into_iter().chain(self.extents.range(start..end)) {
            let (from, to) = (*from, (*from + *len).min(end));
            if to <= at {
                continue;
            }
            if from > at {
                pieces.push(Piece { start: at, sectors: from - at, mapping: None });
                at = from;
            }
            pieces.push(Piece { start: at, sectors: to - at, mapping: Some(mapping.after(at - from)) });
            at = to;
        }
        if at < end {
            pieces.push(Piece { start: at, sectors: end - at, mapping: None });
        }
        pieces
    }

    /// Every mapped run, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64, &Mapping)> {
        self.extents.iter().map(|(start, (sectors, mapping))| (*start, *sectors, mapping))
    }

    pub(crate) fn live(&self, segment: u64) -> Live {
        self.live.get(&segment).copied().unwrap_or_default()
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.live.values().map(|live| live.data_sectors * SECTOR_BYTES).sum()
    }

    pub(crate) fn extent_count(&self) -> usize {
        self.extents.len()
    }

    fn cut(&mut self, start: u64, end: u64) {
        if let Some((&from, &(len, _))) = self.extents.range(..start).next_back()
            && from + len > start
        {
            self.split(from, start);
        }
        while let Some((&from, &(len, _))) = self.extents.range(start..end).next() {
            if from + len > end {
                self.split(from, end);
            }
            self.remove(from);
        }
    }

    /// Makes two extents of the one at `from`, the second beginning at `at`.
    fn split(&mut self, from: u64, at: u64) {
        if let Some((len, mapping)) = self.remove(from) {
            let rest = mapping.after(at - from);
            self.add(from, at - from, mapping);
            self.add(at, from + len - at, rest);
        }
    }

    fn add(&mut self, start: u64, sectors: u64, mapping: Mapping) {
        let live = self.live.entry(mapping.segment).or_default();
        live.extents += 1;
        if matches!(mapping.place, Place::Data(_)) {
            live.data_sectors += sectors;
        }
        self.extents.insert(start, (sectors, mapping));
    }

    fn remove(&mut self, start: u64) -> Option<(u64, Mapping)> {
        let (sectors, mapping) = self.extents.remove(&start)?;
        if let Some(live) = self.live.get_mut(&mapping.segment) {
            live.extents -= 1;
            if matches!(mapping.place, Place::Data(_)) {
                live.data_sectors -= sectors;
            }
            if live.extents == 0 {
                self.live.remove(&mapping.segment);
            }
        }
        Some((sectors, mapping))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn mapping(seq: u64, sectors: u64) -> Mapping {
        let entry_sectors = u32::try_from(sectors).unwrap();
        let data = DataPlace { entry_position: 0, entry_sectors, skip_sectors: 0, crcs: ChunkCrcs::One(0) };
        let place = if seq.is_multiple_of(3) { Place::Zero } else { Place::Data(data) };
        Mapping { seq, segment: seq % 4, place }
    }

    proptest! {
        #[test]
        fn the_map_agrees_with_an_array_of_sectors(ops in vec((0_u64..64, 1_u64..32), 1..60), ask in (0_u64..64, 1_u64..40)) {
            let mut map = ExtentMap::default();
            let mut model: Vec<Option<(u64, u64)>> = vec![None; 128];
            for (seq, (start, sectors)) in ops.iter().enumerate() {
                map.insert(*start, *sectors, mapping(seq as u64, *sectors));
                for at in *start..start + sectors {
                    model[usize::try_from(at).unwrap()] = Some((seq as u64, at - start));
                }
            }
            let mut at = ask.0;
            for piece in map.lookup(ask.0, ask.1) {
                prop_assert_eq!(piece.start, at);
                for sector in 0..piece.sectors {
                    let expected = model[usize::try_from(piece.start + sector).unwrap()];
                    let found = piece.mapping.as_ref().map(|mapping| match &mapping.place {
                        Place::Zero => (mapping.seq, expected.unwrap().1),
                        Place::Data(data) => (mapping.seq, u64::from(data.skip_sectors) + sector),
                    });
                    prop_assert_eq!(found, expected);
                }
                at += piece.sectors;
            }
            prop_assert_eq!(at, ask.0 + ask.1);
            for segment in 0..4 {
                let of_segment: Vec<_> = map.iter().filter(|(_, _, m)| m.segment == segment).collect();
                let data = of_segment.iter().filter(|(_, _, m)| m.place != Place::Zero).map(|(_, s, _)| s);
                prop_assert_eq!(
                    map.live(segment),
                    Live { extents: of_segment.len() as u64, data_sectors: data.sum() }
                );
            }
        }
    }
}
