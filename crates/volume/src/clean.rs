//! Bounded garbage: what an old segment still holds is written again at the end of the log, and the segment
//! removed.
//!
//! Invariant: nothing that a frozen layer needs is removed, and nothing at all before all that covers it is
//! durable.

use std::sync::PoisonError;

use crate::error::{Error, Result};
use crate::extent_map::{ExtentMap, Piece, Place};
use crate::format::{Body, Content, Entry, GROUP_DATA_MAX, SECTOR_BYTES, chunk_crcs};
use crate::io::bytes_of;
use crate::metadata::{CleanedRange, Metadata};
use crate::recovery::Sealed;
use crate::segment::blocking;
use crate::volume::{Inner, Volume};

/// Copying goes in steps of about this much, so that writers never wait long for the log.
const STEP_BYTES: u64 = 512 << 10;
const STEP_PIECES: usize = 128;
/// More sealed segments than the data explains, which many frozen layers leave behind.
const SURPLUS_SEGMENTS_MAX: u64 = 32;

/// How urgent cleaning is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Nothing,
    /// In the background.
    Soon,
    /// Writers outrun the cleaner and have to wait for it.
    Now,
}

impl Volume {
    /// Called by whoever sealed a segment or let one go. Its own work is done: trouble with the cleaner is
    /// not its failure.
    pub(crate) async fn tidy(&self) {
        if let Err(error) = self.tidy_as_needed().await {
            tracing::warn!(%error, "clean the log");
        }
    }

    async fn tidy_as_needed(&self) -> Result<()> {
        self.prepare();
        match self.inner.need()? {
            Need::Nothing => Ok(()),
            Need::Soon if self.inner.cleaning.try_lock().is_err() => Ok(()),
            Need::Soon => {
                let volume = self.clone();
                self.inner.tasks.spawn(async move {
                    if let Err(error) = volume.clean().await {
                        tracing::warn!(%error, "cleaning of the log stopped");
                    }
                });
                Ok(())
            }
            Need::Now => self.clean_segment().await.map(|_| ()),
        }
    }

    /// Cleans until the garbage is within bounds, or no segment is worth it. Happens by itself as segments fill.
    pub async fn clean(&self) -> Result<()> {
        while self.inner.need()? > Need::Nothing && self.clean_segment().await? {}
        Ok(())
    }

    /// Cleans the segment that costs least. False when there is none worth it.
    async fn clean_segment(&self) -> Result<bool> {
        let _alone = self.inner.cleaning.lock().await;
        let pinned_seq = self.inner.metadata.lock().await.pinned_seq();
        let Some(chosen) = self.inner.choose(pinned_seq)? else { return Ok(false) };
        self.inner.copy_live(&chosen).await?;
        self.flush().await?;
        self.inner.remove_segment(&chosen).await
    }
}

impl Inner {
    fn need(&self) -> Result<Need> {
        let log = self.lock_log()?;
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let unit = log.segment_bytes_max();
        let live = view.map.live_bytes();
        let garbage = log.bytes().saturating_sub(live);
        let explained = log.bytes() / unit + SURPLUS_SEGMENTS_MAX;
        Ok(if garbage > 2 * live + 16 * unit {
            Need::Now
        } else if garbage > live / 2 + 2 * unit || log.sealed().len() as u64 > explained {
            Need::Soon
        } else {
            Need::Nothing
        })
    }

    /// The segment with the least to copy among those that are half empty or small.
    fn choose(&self, pinned_seq: u64) -> Result<Option<Sealed>> {
        let log = self.lock_log()?;
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        let unit = log.segment_bytes_max();
        let live_bytes = |sealed: &Sealed| view.map.live(sealed.segment.id).data_sectors * SECTOR_BYTES;
        let worth_it = |sealed: &&Sealed| {
            sealed.first_seq > pinned_seq && (2 * live_bytes(sealed) < sealed.end || sealed.end < unit / 4)
        };
        Ok(log.sealed().iter().filter(worth_it).min_by_key(|sealed| live_bytes(sealed)).cloned())
    }

    /// Writes again what the map still finds in the segment.
    async fn copy_live(&self, sealed: &Sealed) -> Result<()> {
        let id = sealed.segment.id;
        let (mut position, mut step) = (0, Step::default());
        while position < sealed.end {
            let group = sealed.segment.group_at(position)?;
            let group = group.ok_or_else(|| Error::corrupt(format!("header in log segment {id:#x}")))?;
            position += group.header_bytes + group.data_bytes;
            if let Body::Writes(entries) = &group.group.body {
                for entry in entries {
                    step.add(entry);
                }
            }
            if step.bytes >= STEP_BYTES || step.ranges.len() >= STEP_PIECES || position == sealed.end {
                blocking(|| self.copy_step(sealed, &step))?;
                step = Step::default();
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// Copies what is live of these entries, until the map no longer finds any of it in the segment. A writer
    /// may cover some of it meanwhile.
    fn copy_step(&self, sealed: &Sealed, step: &Step) -> Result<()> {
        loop {
            let pieces = {
                let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
                step.live_pieces(&view.map, sealed.segment.id)
            };
            if pieces.is_empty() {
                return Ok(());
            }
            let (body, data) = gather(sealed, &pieces)?;
            let still = |map: &ExtentMap| {
                pieces.iter().all(|p| map.lookup(p.start, p.sectors).as_slice() == std::slice::from_ref(p))
            };
            self.append_if(&body, &[&data], still)?;
        }
    }

    /// Removes a segment that nothing on the map points to; on disk, the note comes before the deed.
    async fn remove_segment(&self, sealed: &Sealed) -> Result<bool> {
        let mut metadata = self.metadata.lock().await;
        let id = sealed.segment.id;
        let live = self.view.read().unwrap_or_else(PoisonError::into_inner).map.live(id);
        if metadata.pinned_seq() >= sealed.first_seq || live.extents > 0 {
            return Ok(false);
        }
        let mut next: Metadata = metadata.clone();
        let (first_seq, last) = (sealed.first_seq, sealed.last);
        next.add_cleaned(CleanedRange { first_seq, last_seq: last.seq, last_crc: last.crc });
        self.write_metadata(&mut metadata, next).await?;
        self.lock_log()?.forget(id);
        self.view.write().unwrap_or_else(PoisonError::into_inner).segments.remove(&id);
        self.disk.remove(&sealed.segment).map_err(|e| Error::io("remove a cleaned segment", e))?;
        Ok(true)
    }
}

/// Some entries of a segment.
#[derive(Debug, Default)]
struct Step {
    /// Start and end in sectors, and whether the entry has data.
    ranges: Vec<(u64, u64, bool)>,
    bytes: u64,
}

impl Step {
    fn add(&mut self, entry: &Entry) {
        let start = entry.offset_bytes / SECTOR_BYTES;
        let end = start + entry.len_bytes / SECTOR_BYTES;
        self.bytes += entry.data_bytes();
        self.ranges.push((start, end, matches!(entry.content, Content::Data(_))));
    }

    /// What the map still finds of these entries in the segment, in order of address and once each; not
    /// more than fits one group.
    fn live_pieces(&self, map: &ExtentMap, segment: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for kind in [true, false] {
            let mut ranges: Vec<_> = self.ranges.iter().filter(|(.., is_data)| *is_data == kind).collect();
            ranges.sort_unstable();
            let mut done = 0;
            for (start, end, _) in ranges {
                let start = done.max(*start);
                done = done.max(*end);
                let found = map.lookup(start, end.saturating_sub(start)).into_iter();
                let of_segment = |p: &Piece| p.mapping.as_ref().is_some_and(|m| m.segment == segment);
                pieces.extend(found.filter(|piece| of_segment(piece) && is_data(piece) == kind));
            }
        }
        let mut bytes = 0;
        let fits = |piece: &Piece| {
            bytes += if is_data(piece) { bytes_of(piece.sectors) } else { 0 };
            bytes <= GROUP_DATA_MAX
        };
        let mut pieces: Vec<Piece> = pieces.into_iter().take(STEP_PIECES).take_while(fits).collect();
        pieces.sort_by_key(|piece| piece.start);
        pieces
    }
}

/// One group with the content of `pieces`; neighbours become one entry.
fn gather(sealed: &Sealed, pieces: &[Piece]) -> Result<(Body, Vec<u8>)> {
    let total: u64 = pieces.iter().filter(|p| is_data(p)).map(|piece| piece.sectors).sum();
    let mut data = vec![0; bytes_of(total)];
    let mut rest = data.as_mut_slice();
    let mut runs: Vec<(bool, u64, u64)> = Vec::new();
    for piece in pieces {
        if let Some(Place::Data(place)) = piece.mapping.as_ref().map(|mapping| &mapping.place) {
            let (part, after) = rest.split_at_mut(bytes_of(piece.sectors));
            sealed.segment.read_checked(place, part)?;
            rest = after;
        }
        match runs.last_mut() {
            Some((data, start, sectors)) if *data == is_data(piece) && *start + *sectors == piece.start => {
                *sectors += piece.sectors;
            }
            _ => runs.push((is_data(piece), piece.start, piece.sectors)),
        }
    }
    let mut rest = data.as_slice();
    let entry = |(is_data, start, sectors): (bool, u64, u64)| {
        let mut content = Content::Zero;
        if is_data {
            let (part, after) = rest.split_at(bytes_of(sectors));
            rest = after;
            content = Content::Data(chunk_crcs(part));
        }
        Entry { offset_bytes: start * SECTOR_BYTES, len_bytes: sectors * SECTOR_BYTES, content }
    };
    Ok((Body::Writes(runs.into_iter().map(entry).collect()), data))
}

fn is_data(piece: &Piece) -> bool {
    matches!(piece.mapping.as_ref().map(|mapping| &mapping.place), Some(Place::Data(_)))
}
