//! The end of the write log: appending groups, and what has yet to be synced.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::{self, Body, GROUP_DATA_MAX, HEADER_MAX};
use crate::recovery::Sealed;
use crate::segment::{Link, Segment};

/// A segment is sealed before it grows past this, or past a fixed share of the volume: every segment takes a
/// file descriptor.
const SEGMENT_BYTES: u64 = 64 << 20;
const SEGMENTS_OF_A_FULL_VOLUME: u64 = 128;

/// Blocks of a segment that is created in advance: twice what the one before has by then, within these bounds.
const RESERVED_BYTES: [u64; 2] = [1 << 20, 64 << 20];

/// Flushes that follow each other more closely than this make the end of the segment ready for the next ones.
const SMALL_FLUSH_BYTES: u64 = 64 << 10;
/// How far zeros are written ahead of the end, at first and at most.
const ZEROS_AHEAD: [u64; 2] = [8 << 10, 256 << 10];
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

pub(crate) fn segment_bytes_max(volume_bytes: u64) -> u64 {
    SEGMENT_BYTES.max(volume_bytes / SEGMENTS_OF_A_FULL_VOLUME)
}

#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    generation: u64,
    segment_bytes_max: u64,
    last: Link,
    next_id: u64,
    active: Option<Sealed>,
    /// The file of the next segment, empty, its name durable.
    spare: Option<Segment>,
    sealed: Vec<Sealed>,
    unsynced: Unsynced,
    /// Zeros were written up to here behind the end of the active segment; 0 when none were.
    zeros_end: u64,
    zeros_ahead: u64,
}

/// What a sync has to cover, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    pub(crate) up_to_seq: u64,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) dir: bool,
    /// Sealed segments with zeros behind their ends.
    pub(crate) to_cut: Vec<(Arc<Segment>, u64)>,
    /// Bytes of groups, not of zeros.
    bytes: u64,
}

/// Where a group went.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) segment: Arc<Segment>,
    pub(crate) seq: u64,
    pub(crate) data_position: u64,
    /// Whether an earlier segment was sealed to make room.
    pub(crate) sealed: bool,
}

/// Why a group was not appended.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// The log is as it was before.
    Refused(Error),
    /// The end of the log is in doubt: nothing may be appended any more.
    Broken(Error),
}

impl Log {
    pub(crate) fn new(
        dir: PathBuf,
        disk: Arc<dyn Disk>,
        generation: u64,
        segment_bytes_max: u64,
        recovered: (Link, Vec<Sealed>, u64),
    ) -> Self {
        let (last, sealed, next_id) = recovered;
        let unsynced = Unsynced { up_to_seq: last.seq, ..Unsynced::default() };
        Self {
            dir,
            disk,
            generation,
            segment_bytes_max,
            last,
            next_id,
            active: None,
            spare: None,
            sealed,
            unsynced,
            zeros_end: 0,
            zeros_ahead: ZEROS_AHEAD[0],
        }
    }

    pub(crate) fn sealed(&self) -> &[Sealed] {
        &self.sealed
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.sealed.iter().chain(&self.active).map(|segment| segment.end).sum()
    }

    pub(crate) fn segment_bytes_max(&self) -> u64 {
        self.segment_bytes_max
    }

    /// Appends a group with the data of its entries in order, however it is cut into parts.
    pub(crate) fn append(&mut self, body: &Body, data: &[&[u8]]) -> Result<Appended, AppendError> {
        let bytes: usize = data.iter().map(|part| part.len()).sum();
        let full = self.active.as_ref().is_some_and(|a| a.end + bytes as u64 >= self.segment_bytes_max);
        if full {
            self.seal();
        }
        let mut active = match self.active.take() {
            Some(active) => active,
            None => self.start_segment()?,
        };
        let appended = self.append_to(&mut active, body, data);
        self.active = Some(active);
        appended.map(|appended| Appended { sealed: full, ..appended })
    }

    /// Ends the active segment; the next group begins another.
    pub(crate) fn seal(&mut self) {
        let Some(active) = self.active.take() else { return };
        // Not now: a writer waits.
        self.unsynced.to_cut.push((Arc::clone(&active.segment), active.end));
        (self.zeros_end, self.zeros_ahead) = (0, ZEROS_AHEAD[0]);
        self.sealed.push(active);
    }

    /// The id of a segment whose file somebody has to create now, so that no writer has to wait for that, and
    /// how many bytes of blocks it should have.
    pub(crate) fn reserve_spare(&mut self) -> Option<(u64, u64)> {
        let spare_id = self.spare.is_none().then_some(self.next_id)?;
        self.next_id += 1;
        let [least, most] = RESERVED_BYTES;
        let before = self.active.as_ref().or(self.sealed.last()).map_or(0, |segment| segment.end);
        Some((spare_id, (2 * before).clamp(least, most).min(self.segment_bytes_max)))
    }

    /// Takes a reserved segment's file. Returned when it comes too late: ids must follow the order of writing.
    pub(crate) fn give_spare(&mut self, spare: Segment) -> Option<Segment> {
        if self.spare.is_some() || spare.id + 1 != self.next_id {
            return Some(spare);
        }
        self.spare = Some(spare);
        None
    }

    /// Removes what only a writer would need; recovery does so as well.
    pub(crate) fn close(&mut self) {
        if let Some(active) = &self.active {
            drop(active.segment.cut(active.end));
        }
        self.zeros_end = 0;
        if let Some(spare) = self.spare.take() {
            drop(self.disk.remove(&spare));
        }
    }

    /// Writes zeros behind the end, where flushes are small and come often: then their groups overwrite blocks
    /// that the file already has, and its sync needs no commit of the file system's journal. What could not
    /// be written is only slower.
    fn write_zeros_ahead(&mut self) {
        let Some(active) = &self.active else { return };
        let is_near = self.zeros_end < active.end + self.zeros_ahead / 4;
        if self.unsynced.bytes == 0 || self.unsynced.bytes > SMALL_FLUSH_BYTES || !is_near {
            return;
        }
        let from = self.zeros_end.max(active.end);
        let ahead = self.zeros_ahead.min(self.segment_bytes_max.saturating_sub(from));
        let zeros = usize::try_from(ahead).ok().and_then(|ahead| ZEROS.get(..ahead)).unwrap_or_default();
        if !zeros.is_empty() && self.disk.write(&active.segment, from, &[zeros]).is_ok() {
            self.zeros_end = from + ahead;
            self.zeros_ahead = (self.zeros_ahead * 2).min(ZEROS_AHEAD[1]);
        }
    }

    /// Forgets a sealed segment that the cleaner took away.
    pub(crate) fn forget(&mut self, id: u64) {
        self.sealed.retain(|sealed| sealed.segment.id != id);
    }

    pub(crate) fn take_unsynced(&mut self) -> Unsynced {
        self.write_zeros_ahead();
        self.unsynced.up_to_seq = self.last.seq;
        mem::take(&mut self.unsynced)
    }

    fn start_segment(&mut self) -> Result<Sealed, AppendError> {
        let segment = if let Some(spare) = self.spare.take() {
            spare
        } else {
            let created = Segment::create(&self.dir, self.next_id)
                .map_err(|e| AppendError::Refused(Error::io("create a log segment", e)))?;
            // A file whose start was not written is no part of the chain, and its id is not used again.
            self.next_id += 1;
            created
        };
        self.unsynced.dir = true;
        let first_seq = self.last.seq + 1;
        let mut sealed = Sealed { segment: Arc::new(segment), first_seq, last: self.last, end: 0 };
        match self.append_to(&mut sealed, &Body::Start, &[]) {
            Ok(_) => Ok(sealed),
            Err(e) => {
                drop(self.disk.remove(&sealed.segment));
                Err(e)
            }
        }
    }

    fn append_to(
        &mut self,
        active: &mut Sealed,
        body: &Body,
        data: &[&[u8]],
    ) -> Result<Appended, AppendError> {
        let seq = self.last.seq + 1;
        let encoded = format::encode(self.generation, seq, self.last.crc, body);
        let data_bytes: usize = data.iter().map(|part| part.len()).sum();
        assert!(
            encoded.header.len() <= HEADER_MAX && data_bytes <= GROUP_DATA_MAX,
            "a group nobody could read"
        );
        let mut parts = Vec::with_capacity(1 + data.len());
        parts.push(encoded.header.as_slice());
        parts.extend_from_slice(data);
        if let Err(e) = self.disk.write(&active.segment, active.end, &parts) {
            let error = Error::io("append to the log", e);
            self.zeros_end = 0;
            // Part of the group may be there. It must not lie behind a later, shorter group.
            return Err(match active.segment.file.set_len(active.end) {
                Ok(()) => AppendError::Refused(error),
                Err(_) => AppendError::Broken(error),
            });
        }
        let data_position = active.end + encoded.header.len() as u64;
        active.end = data_position + data_bytes as u64;
        self.unsynced.bytes += (encoded.header.len() + data_bytes) as u64;
        self.last = Link { seq, crc: encoded.crc };
        active.last = self.last;
        let segment = Arc::clone(&active.segment);
        if self.unsynced.segments.last().is_none_or(|last| last.id != segment.id) {
            self.unsynced.segments.push(Arc::clone(&segment));
        }
        Ok(Appended { segment, seq, data_position, sealed: false })
    }
}
