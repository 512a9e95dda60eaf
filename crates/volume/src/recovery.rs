//! From segment files to the state that they hold: the longest chain of groups without a gap.
//!
//! Used for reading only; what an owner removes and repairs afterwards is in `open`.

use std::sync::Arc;

use crate::error::Result;
use crate::extent_map::{ChunkCrcs, DataPlace, ExtentMap, Mapping, Place};
use crate::format::{Body, Content, Decoded, SECTOR_BYTES};
use crate::metadata::Metadata;
use crate::segment::{Link, Segment, Segments};

/// A segment whose groups are known.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) segment: Arc<Segment>,
    pub(crate) first_seq: u64,
    pub(crate) last: Link,
    pub(crate) end: u64,
}

#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) map: ExtentMap,
    /// The chain, oldest first.
    pub(crate) chain: Vec<Sealed>,
    pub(crate) last: Link,
    /// Freeze records that the metadata does not know yet.
    pub(crate) frozen: Vec<(String, u64)>,
    /// Segments that no longer belong to the volume: cleaned away, or beyond a gap.
    pub(crate) leftovers: Vec<Arc<Segment>>,
}

/// Follows the chain through `segments`, not further than `up_to_seq`.
pub(crate) fn replay(metadata: &Metadata, segments: &Segments, up_to_seq: u64) -> Result<Replayed> {
    let mut replay = Replay { metadata, up_to_seq, generation: 0, out: Replayed::new() };
    let starts = segments.values().map(|segment| start_of(segment)).collect::<Result<Vec<_>>>()?;
    let mut broken = false;
    for (index, (segment, start)) in segments.values().zip(&starts).enumerate() {
        // One without a start was created in advance and never begun.
        let skipped = start.as_ref().is_none_or(|start| metadata.is_cleaned(start.group.seq));
        broken = broken || !(skipped || replay.continues_with(start.as_ref()));
        if skipped || broken {
            replay.out.leftovers.push(Arc::clone(segment));
        } else {
            let next = starts.iter().skip(index + 1).find_map(Option::as_ref);
            replay.segment(segment, next)?;
        }
    }
    if replay.out.last.seq < up_to_seq {
        replay.out.last = metadata.skip_cleaned(replay.out.last);
    }
    Ok(replay.out)
}

/// The start record of a segment; None when its writing never became durable.
fn start_of(segment: &Segment) -> Result<Option<Decoded>> {
    Ok(segment.group_at(0)?.filter(|start| start.group.body == Body::Start))
}

struct Replay<'a> {
    metadata: &'a Metadata,
    up_to_seq: u64,
    generation: u64,
    out: Replayed,
}

impl Replayed {
    fn new() -> Self {
        Self {
            map: ExtentMap::default(),
            chain: Vec::new(),
            last: Link::ORIGIN,
            frozen: Vec::new(),
            leftovers: Vec::new(),
        }
    }
}

impl Replay<'_> {
    fn continues_with(&self, start: Option<&Decoded>) -> bool {
        let link = self.metadata.skip_cleaned(self.out.last);
        start.is_some_and(|start| self.is_next(start, link) && start.group.generation >= self.generation)
    }

    fn is_next(&self, group: &Decoded, link: Link) -> bool {
        let header = &group.group;
        header.seq == link.seq + 1 && header.prev_crc == link.crc && header.seq <= self.up_to_seq
    }

    /// Invariant: a segment of a newer generation ends its predecessor where it begins, so groups that an
    /// earlier recovery left out cannot come back.
    fn segment(&mut self, segment: &Arc<Segment>, next: Option<&Decoded>) -> Result<()> {
        let mut link = self.metadata.skip_cleaned(self.out.last);
        let first_seq = link.seq + 1;
        let mut position = 0;
        while let Some(group) = segment.group_at(position)? {
            let superseded = next.is_some_and(|next| {
                next.group.generation > group.group.generation && next.group.seq <= group.group.seq
            });
            let generation_fits = position == 0 || group.group.generation == self.generation;
            if superseded || !generation_fits || !self.is_next(&group, link) {
                break;
            }
            let known_durable = group.group.seq <= self.metadata.durable_seq;
            if !known_durable && !segment.data_is_whole(position, &group)? {
                break;
            }
            self.generation = group.group.generation;
            self.apply(segment.id, position + group.header_bytes, &group);
            link = Link { seq: group.group.seq, crc: group.crc };
            position += group.header_bytes + group.data_bytes;
        }
        if position > 0 {
            self.out.last = link;
            let segment = Arc::clone(segment);
            self.out.chain.push(Sealed { segment, first_seq, last: link, end: position });
        }
        Ok(())
    }

    fn apply(&mut self, segment: u64, data_position: u64, group: &Decoded) {
        let (body, seq) = (&group.group.body, group.group.seq);
        if let Body::Freeze(key) = body
            && seq > self.metadata.durable_seq
        {
            self.out.frozen.push((key.clone(), seq));
        }
        insert_writes(&mut self.out.map, body, seq, segment, data_position);
    }
}

/// Puts a group's entries on the map; their data begins at `data_position` of the segment.
pub(crate) fn insert_writes(map: &mut ExtentMap, body: &Body, seq: u64, segment: u64, data_position: u64) {
    let Body::Writes(entries) = body else { return };
    let mut position = data_position;
    for entry in entries {
        let sectors = entry.len_bytes / SECTOR_BYTES;
        let place = match &entry.content {
            Content::Zero => Place::Zero,
            Content::Data(crcs) => Place::Data(DataPlace {
                entry_position: position,
                entry_sectors: u32::try_from(sectors).expect("the data of a group is limited"),
                skip_sectors: 0,
                crcs: ChunkCrcs::new(crcs),
            }),
        };
        position += entry.data_bytes();
        map.insert(entry.offset_bytes / SECTOR_BYTES, sectors, Mapping { seq, segment, place });
    }
}
