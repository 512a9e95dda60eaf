//! Reading, writing and flushing a volume.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use blockstore::offload;
use futures::future::{BoxFuture, try_join_all};

use crate::error::{Error, Result};
use crate::extent_map::{ExtentMap, Piece, Place};
use crate::format::{Body, Content, Entry, GROUP_DATA_MAX, SECTOR, SECTOR_BYTES, chunk_crcs};
use crate::segment::Segment;
use crate::volume::{Inner, Volume};

/// How much of the map is looked at in one go when only the first runs may matter.
const ZERO_RUN_WINDOW_SECTORS: u64 = (64 << 20) / SECTOR_BYTES;
/// A window with fewer pieces may be larger.
const SPARSE_PIECES: usize = 64;

impl Volume {
    /// Fills `buf` from `offset_bytes`. Any alignment.
    pub async fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        self.inner.check_open()?;
        let range = self.inner.range(offset_bytes, buf.len() as u64)?;
        if range.is_aligned {
            return self.inner.read_sectors(range.start, buf).await;
        }
        let mut whole = vec![0; bytes_of(range.end - range.start)];
        self.inner.read_sectors(range.start, &mut whole).await?;
        let skip = bytes_in_sector(offset_bytes);
        if let Some(wanted) = whole.get(skip..skip + buf.len()) {
            buf.copy_from_slice(wanted);
        }
        Ok(())
    }

    /// Fills `buf` from `offset_bytes` if that takes no waiting. Where it may, false, and `buf` holds anything.
    pub(crate) fn read_now(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<bool> {
        self.inner.check_open()?;
        let range = self.inner.range(offset_bytes, buf.len() as u64)?;
        if range.is_aligned { self.inner.read_sectors_now(range.start, buf) } else { Ok(false) }
    }

    /// Writes several pieces in this order as one group, all of them or none: whole sectors, not more than
    /// fits a group. The caller calls [`Self::tidy`] where this ended a segment.
    pub(crate) fn write_group(&self, writes: &[(u64, &[u8])]) -> Result<()> {
        for (offset_bytes, data) in writes {
            if !self.inner.range(*offset_bytes, data.len() as u64)?.is_aligned {
                return Err(Error::invalid("a group of whole sectors"));
            }
        }
        self.inner.check_writable()?;
        let entries = writes.iter().map(|(offset_bytes, data)| data_entry(*offset_bytes, data)).collect();
        let data: Vec<&[u8]> = writes.iter().map(|(_, data)| *data).collect();
        self.inner.append_if(&Body::Writes(entries), &data, |_| true).map(|_| ())
    }

    /// Writes `data` at `offset_bytes`, any alignment. Durable after the next [`Self::flush`]; a write of
    /// more than 4 MiB is not atomic.
    ///
    /// # Errors
    /// `Unavailable` when the host's disk is full (see [`Error::is_out_of_space`]) or the volume is poisoned.
    pub async fn write_at(&self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        let range = self.inner.range(offset_bytes, data.len() as u64)?;
        self.inner.check_writable()?;
        if range.is_aligned {
            self.inner.write_aligned(offset_bytes, data)?;
        } else {
            self.inner.write_unaligned(offset_bytes, data).await?;
        }
        if self.inner.take_sealed() {
            self.tidy().await;
        }
        Ok(())
    }

    /// Makes the range read as zeros.
    pub async fn write_zeroes(&self, offset_bytes: u64, len_bytes: u64) -> Result<()> {
        let range = self.inner.range(offset_bytes, len_bytes)?;
        self.inner.check_writable()?;
        let end_bytes = offset_bytes + len_bytes;
        let (from, to) = (offset_bytes.next_multiple_of(SECTOR_BYTES), end_bytes - end_bytes % SECTOR_BYTES);
        if range.is_aligned {
            return self.inner.zero_aligned(from, to);
        }
        if from >= to {
            let len = usize::try_from(len_bytes).unwrap_or_default();
            return self.write_at(offset_bytes, &vec![0; len]).await;
        }
        let zeros = [0; SECTOR];
        let part = |len: u64| zeros.get(..usize::try_from(len).unwrap_or_default()).unwrap_or_default();
        self.write_at(offset_bytes, part(from - offset_bytes)).await?;
        self.inner.zero_aligned(from, to)?;
        self.write_at(to, part(end_bytes - to)).await
    }

    /// Says that the content of the range no longer matters. Its whole sectors read as zeros afterwards.
    #[expect(clippy::unused_async, reason = "all operations on a volume have one shape")]
    pub async fn trim(&self, offset_bytes: u64, len_bytes: u64) -> Result<()> {
        self.inner.range(offset_bytes, len_bytes)?;
        self.inner.check_writable()?;
        let end_bytes = offset_bytes + len_bytes;
        self.inner
            .zero_aligned(offset_bytes.next_multiple_of(SECTOR_BYTES), end_bytes - end_bytes % SECTOR_BYTES)
    }

    /// The runs of a range from its beginning, at most `runs_max` of them, so that it may end early.
    pub async fn zero_runs(
        &self,
        offset_bytes: u64,
        len_bytes: u64,
        runs_max: usize,
    ) -> Result<Vec<ZeroRun>> {
        let range = self.inner.range(offset_bytes, len_bytes)?;
        let (mut at, mut window) = (range.start, ZERO_RUN_WINDOW_SECTORS);
        let mut runs =
            Runs { found: Vec::new(), at: offset_bytes, end: offset_bytes + len_bytes, count_max: runs_max };
        while at < range.end {
            let sectors = (range.end - at).min(window);
            let pieces =
                self.inner.view.read().unwrap_or_else(PoisonError::into_inner).map.lookup(at, sectors);
            if pieces.len() < SPARSE_PIECES {
                window *= 2;
            }
            for piece in pieces {
                if !self.inner.add_runs(&piece, &mut runs).await? {
                    return Ok(runs.found);
                }
            }
            at += sectors;
        }
        Ok(runs.found)
    }

    /// Makes every write that was acknowledged before this call durable. Calls that wait together share one sync.
    ///
    /// # Errors
    /// A failed sync poisons the volume: this and all later writes and flushes fail, and nothing is retried.
    pub async fn flush(&self) -> Result<()> {
        self.inner.check_writable()?;
        self.flush_all().await
    }

    /// [`Self::flush`] for a thread that may wait.
    pub(crate) fn flush_here(&self) -> Result<()> {
        self.inner.check_writable()?;
        let wanted = self.inner.written_seq.load(Ordering::Acquire);
        if self.is_durable(wanted) {
            return Ok(());
        }
        let _turn = self.inner.sync.blocking_lock();
        if self.is_durable(wanted) { Ok(()) } else { self.inner.sync_log() }
    }

    fn is_durable(&self, seq: u64) -> bool {
        self.inner.durable_seq.load(Ordering::Acquire) >= seq
    }

    /// Whether a flush would have anything to do.
    pub(crate) fn is_flushed(&self) -> bool {
        self.is_durable(self.inner.written_seq.load(Ordering::Acquire))
    }

    pub(crate) async fn flush_all(&self) -> Result<()> {
        self.inner.check_healthy()?;
        let wanted = self.inner.written_seq.load(Ordering::Acquire);
        if self.is_durable(wanted) {
            return Ok(());
        }
        let turn = Arc::clone(&self.inner.sync).lock_owned().await;
        if self.is_durable(wanted) {
            return Ok(());
        }
        let inner = Arc::clone(&self.inner);
        // The turn goes along: should this future be dropped, nobody syncs before the result is known.
        let synced = offload(move || {
            let synced = inner.sync_log();
            drop(turn);
            synced
        });
        synced.await.map_err(|e| Error::unavailable("sync the log").with_source(e))?
    }
}

/// A run of bytes that are known to be zeros, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroRun {
    pub len_bytes: u64,
    pub is_zero: bool,
}

/// A checked range in sectors.
struct Range {
    start: u64,
    end: u64,
    is_aligned: bool,
}

impl Inner {
    fn range(&self, offset_bytes: u64, len_bytes: u64) -> Result<Range> {
        let size = self.spec.size_bytes;
        let end = offset_bytes.checked_add(len_bytes).filter(|end| *end <= size);
        let Some(end) = end else {
            return Err(Error::invalid(format!("{len_bytes} bytes at {offset_bytes} of a volume of {size}")));
        };
        Ok(Range {
            start: offset_bytes / SECTOR_BYTES,
            end: end.div_ceil(SECTOR_BYTES),
            is_aligned: offset_bytes.is_multiple_of(SECTOR_BYTES) && end.is_multiple_of(SECTOR_BYTES),
        })
    }

    /// Reads whole sectors: the log's part at once, the base's parts together and without any lock.
    async fn read_sectors(&self, start: u64, buf: &mut [u8]) -> Result<()> {
        let plan = self.plan(start, buf.len() as u64 / SECTOR_BYTES)?;
        let mut from_base = Vec::new();
        let mut rest = buf;
        for (piece, segment) in plan {
            let (part, after) = rest.split_at_mut(bytes_of(piece.sectors));
            rest = after;
            match (piece.mapping.map(|mapping| mapping.place), segment) {
                (Some(Place::Data(place)), Some(segment)) => segment.read_checked(&place, part)?,
                (Some(Place::Zero), _) => part.fill(0),
                (None, _) => from_base.extend(self.read_base(piece.start * SECTOR_BYTES, part)),
                (Some(Place::Data(_)), None) => return Err(Error::corrupt("a mapped segment is not open")),
            }
        }
        try_join_all(from_base).await.map(|_| ())
    }

    fn read_sectors_now(&self, start: u64, buf: &mut [u8]) -> Result<bool> {
        let plan = self.plan(start, buf.len() as u64 / SECTOR_BYTES)?;
        let mut rest = buf;
        for (piece, segment) in plan {
            let (part, after) = rest.split_at_mut(bytes_of(piece.sectors));
            rest = after;
            let is_read = match (piece.mapping.map(|mapping| mapping.place), segment) {
                (Some(Place::Data(place)), Some(segment)) => segment.read_cached(&place, part)?,
                (Some(Place::Zero), _) => {
                    part.fill(0);
                    true
                }
                (None, _) => {
                    let from_base = self.in_base(piece.start * SECTOR_BYTES, part);
                    from_base.is_empty() || self.base.read_now(piece.start * SECTOR_BYTES, from_base)?
                }
                (Some(Place::Data(_)), None) => return Err(Error::corrupt("a mapped segment is not open")),
            };
            if !is_read {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds what a piece of the range is, the base asked where it shows through.
    async fn add_runs(&self, piece: &Piece, runs: &mut Runs) -> Result<bool> {
        let end = (piece.start + piece.sectors) * SECTOR_BYTES;
        if piece.mapping.is_some() || self.reads_as_zero(piece) {
            return Ok(runs.add(end, self.reads_as_zero(piece)));
        }
        let end = end.min(runs.end);
        while runs.at < end {
            let mut data = self.base.next_data(runs.at).await?.unwrap_or(end..end);
            if data.end <= runs.at {
                data = runs.at..end;
            }
            if !runs.add(data.start.min(end), true) || !runs.add(data.end.min(end), false) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn plan(&self, start: u64, sectors: u64) -> Result<Vec<(Piece, Option<Arc<Segment>>)>> {
        let view = self.view.read().map_err(|_| Error::unavailable("a writer of this volume panicked"))?;
        let with_segment = |piece: Piece| {
            let id = piece.mapping.as_ref().map(|mapping| mapping.segment);
            let segment = id.and_then(|id| view.segments.get(&id)).cloned();
            (piece, segment)
        };
        Ok(view.map.lookup(start, sectors).into_iter().map(with_segment).collect())
    }

    /// The base's part of a range; None when it is all zeros and already filled in.
    fn read_base<'a>(&'a self, offset_bytes: u64, buf: &'a mut [u8]) -> Option<BoxFuture<'a, Result<()>>> {
        let part = self.in_base(offset_bytes, buf);
        (!part.is_empty()).then(|| self.base.read_at(offset_bytes, part))
    }

    /// The part of a range that the base has to tell; behind it, zeros are filled in.
    fn in_base<'a>(&self, offset_bytes: u64, buf: &'a mut [u8]) -> &'a mut [u8] {
        let in_base =
            if self.base.is_zero() { 0 } else { self.base.size_bytes().saturating_sub(offset_bytes) };
        let len = usize::try_from(in_base).unwrap_or(usize::MAX).min(buf.len());
        let (part, beyond) = buf.split_at_mut(len);
        beyond.fill(0);
        part
    }

    fn write_aligned(&self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        let mut at = offset_bytes;
        for data in data.chunks(GROUP_DATA_MAX) {
            self.append_if(&one_write(at, data), &[data], |_| true)?;
            at += data.len() as u64;
        }
        Ok(())
    }

    /// Completes the first and last sector with what they hold, and tries anew when that changed meanwhile.
    async fn write_unaligned(&self, offset_bytes: u64, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let skip = bytes_in_sector(offset_bytes);
        let head = data.len().min((SECTOR - skip) % SECTOR);
        let (head, rest) = data.split_at(head);
        let (middle, tail) = rest.split_at(rest.len() - rest.len() % SECTOR);
        self.patch_sector(offset_bytes / SECTOR_BYTES, skip, head).await?;
        let middle_at = offset_bytes + head.len() as u64;
        self.write_aligned(middle_at, middle)?;
        self.patch_sector((middle_at + middle.len() as u64) / SECTOR_BYTES, 0, tail).await
    }

    async fn patch_sector(&self, sector: u64, skip: usize, patch: &[u8]) -> Result<()> {
        if patch.is_empty() {
            return Ok(());
        }
        let lookup = |map: &ExtentMap| map.lookup(sector, 1);
        loop {
            let before = lookup(&self.view.read().unwrap_or_else(PoisonError::into_inner).map);
            let mut bytes = vec![0; SECTOR];
            self.read_sectors(sector, &mut bytes).await?;
            if let Some(place) = bytes.get_mut(skip..skip + patch.len()) {
                place.copy_from_slice(patch);
            }
            let body = one_write(sector * SECTOR_BYTES, &bytes);
            if self.append_if(&body, &[&bytes], |map| lookup(map) == before)?.is_some() {
                return Ok(());
            }
        }
    }

    fn zero_aligned(&self, from_bytes: u64, to_bytes: u64) -> Result<()> {
        if from_bytes >= to_bytes {
            return Ok(());
        }
        let entry =
            Entry { offset_bytes: from_bytes, len_bytes: to_bytes - from_bytes, content: Content::Zero };
        // What already reads as zeros needs no record: file systems discard far more than they ever wrote.
        let (start, sectors) = (from_bytes / SECTOR_BYTES, (to_bytes - from_bytes) / SECTOR_BYTES);
        self.append_if(&Body::Writes(vec![entry]), &[], |map| {
            map.lookup(start, sectors).iter().any(|piece| !self.reads_as_zero(piece))
        })?;
        Ok(())
    }

    fn reads_as_zero(&self, piece: &Piece) -> bool {
        match &piece.mapping {
            Some(mapping) => mapping.place == Place::Zero,
            None => self.base.is_zero() || piece.start * SECTOR_BYTES >= self.base.size_bytes(),
        }
    }

    /// Syncs what was appended so far. Runs alone: the caller holds the `sync` lock.
    fn sync_log(&self) -> Result<()> {
        self.check_healthy()?;
        let unsynced = self.lock_log()?.take_unsynced();
        for (segment, end) in &unsynced.to_cut {
            // What stays there harms nobody.
            drop(segment.cut(*end));
        }
        let synced = (unsynced.segments.iter().try_for_each(|segment| self.disk.sync(segment)))
            .and_then(|()| if unsynced.dir { self.disk.sync_dir(&self.dir) } else { Ok(()) });
        if let Err(e) = synced {
            let error = Error::io("sync the log", e);
            self.poison(&error);
            return Err(error);
        }
        self.durable_seq.store(unsynced.up_to_seq, Ordering::Release);
        Ok(())
    }
}

/// Runs of a range in the making, without a hole between them.
struct Runs {
    found: Vec<ZeroRun>,
    at: u64,
    end: u64,
    count_max: usize,
}

impl Runs {
    /// The bytes up to `to` are zeros, or not. False when that would be one run too many.
    fn add(&mut self, to: u64, is_zero: bool) -> bool {
        let to = to.min(self.end);
        let len_bytes = to.saturating_sub(self.at);
        if len_bytes == 0 {
            return true;
        }
        let room = self.found.len() < self.count_max;
        match self.found.last_mut() {
            Some(last) if last.is_zero == is_zero => last.len_bytes += len_bytes,
            _ if room => self.found.push(ZeroRun { len_bytes, is_zero }),
            _ => return false,
        }
        self.at = to;
        true
    }
}

fn one_write(offset_bytes: u64, data: &[u8]) -> Body {
    Body::Writes(vec![data_entry(offset_bytes, data)])
}

fn data_entry(offset_bytes: u64, data: &[u8]) -> Entry {
    let content = Content::Data(chunk_crcs(data));
    Entry { offset_bytes, len_bytes: data.len() as u64, content }
}

pub(crate) fn bytes_of(sectors: u64) -> usize {
    usize::try_from(sectors * SECTOR_BYTES).unwrap_or(usize::MAX)
}

fn bytes_in_sector(offset_bytes: u64) -> usize {
    usize::try_from(offset_bytes % SECTOR_BYTES).unwrap_or_default()
}
