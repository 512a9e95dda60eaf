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
    sealed: Vec<Sealed>,
    unsynced: Unsynced,
}

/// What a sync has to cover, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    pub(crate) up_to_seq: u64,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) dir: bool,
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
        Self { dir, disk, generation, segment_bytes_max, last, next_id, active: None, sealed, unsynced }
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

    pub(crate) fn append(&mut self, body: &Body, data: &[u8]) -> Result<Appended, AppendError> {
        let full = self.active.as_ref().is_some_and(|a| a.end + data.len() as u64 >= self.segment_bytes_max);
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
        self.sealed.extend(self.active.take());
    }

    /// Forgets a sealed segment that the cleaner took away.
    pub(crate) fn forget(&mut self, id: u64) {
        self.sealed.retain(|sealed| sealed.segment.id != id);
    }

    pub(crate) fn take_unsynced(&mut self) -> Unsynced {
        self.unsynced.up_to_seq = self.last.seq;
        mem::take(&mut self.unsynced)
    }

    fn start_segment(&mut self) -> Result<Sealed, AppendError> {
        let segment = Segment::create(&self.dir, self.next_id)
            .map_err(|e| AppendError::Refused(Error::io("create a log segment", e)))?;
        // A file whose start was not written is no part of the chain, and its id is not used again.
        self.next_id += 1;
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

    fn append_to(&mut self, active: &mut Sealed, body: &Body, data: &[u8]) -> Result<Appended, AppendError> {
        let seq = self.last.seq + 1;
        let encoded = format::encode(self.generation, seq, self.last.crc, body);
        assert!(
            encoded.header.len() <= HEADER_MAX && data.len() <= GROUP_DATA_MAX,
            "a group nobody could read"
        );
        if let Err(e) = self.disk.write(&active.segment, active.end, &encoded.header, data) {
            let error = Error::io("append to the log", e);
            // Part of the group may be there. It must not lie behind a later, shorter group.
            return Err(match active.segment.file.set_len(active.end) {
                Ok(()) => AppendError::Refused(error),
                Err(_) => AppendError::Broken(error),
            });
        }
        let data_position = active.end + encoded.header.len() as u64;
        active.end = data_position + data.len() as u64;
        self.last = Link { seq, crc: encoded.crc };
        active.last = self.last;
        let segment = Arc::clone(&active.segment);
        if self.unsynced.segments.last().is_none_or(|last| last.id != segment.id) {
            self.unsynced.segments.push(Arc::clone(&segment));
        }
        Ok(Appended { segment, seq, data_position, sealed: false })
    }
}
