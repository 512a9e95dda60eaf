//! One file of the log: its name, its groups in order, its data checked as it is read.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::ReadWriteFlags;

use crate::error::{Error, Result};
use crate::extent_map::DataPlace;
use crate::format::{self, Body, CHUNK, CHUNK_BYTES, Decoded, SECTOR, SECTOR_BYTES};

const PREFIX: &str = "log-";

#[derive(Debug)]
pub struct Segment {
    pub(crate) id: u64,
    pub path: PathBuf,
    pub file: File,
}

/// The segments of a volume by id. Ids only grow, so their order is the order of writing.
pub(crate) type Segments = BTreeMap<u64, Arc<Segment>>;

/// The place in the chain of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) seq: u64,
    pub(crate) crc: u32,
}

impl Link {
    /// Before the first group of a volume.
    pub(crate) const ORIGIN: Self = Self { seq: 0, crc: 0 };
}

impl Segment {
    pub(crate) fn create(dir: &Path, id: u64) -> io::Result<Self> {
        let path = dir.join(format!("{PREFIX}{id:016x}"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { id, path, file })
    }

    /// Has blocks ready up to `end`, which read as zeros, so that a write there changes neither the file's size nor
    /// the file system's map of it. A file system that cannot do that is only slower.
    pub(crate) fn reserve(&self, end: u64) {
        let _ = rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, end);
    }

    /// Gives back what lies behind the last group.
    pub(crate) fn cut(&self, end: u64) -> io::Result<()> {
        if self.file.metadata()?.len() > end { self.file.set_len(end) } else { Ok(()) }
    }

    /// Opens every segment of a directory.
    pub(crate) fn open_all(dir: &Path, writable: bool) -> Result<Segments> {
        let mut segments = Segments::new();
        for entry in fs::read_dir(dir).map_err(|e| Error::io("list the volume's directory", e))? {
            let entry = entry.map_err(|e| Error::io("list the volume's directory", e))?;
            let Some(id) = parse_name(&entry.file_name().to_string_lossy()) else { continue };
            let path = entry.path();
            match OpenOptions::new().read(true).write(writable).open(&path) {
                Ok(file) => drop(segments.insert(id, Arc::new(Self { id, path, file }))),
                // Removed by the cleaner since the listing.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("open a log segment", e)),
            }
        }
        Ok(segments)
    }

    /// The header at `position`; None when there is none or it is damaged.
    pub(crate) fn group_at(&self, position: u64) -> Result<Option<Decoded>> {
        let mut header = vec![0; SECTOR];
        if !self.read_or_end(position, &mut header)? {
            return Ok(None);
        }
        let Some(len) = format::header_bytes(&header) else { return Ok(None) };
        if len > header.len() {
            header.resize(len, 0);
            if !self.read_or_end(position, &mut header)? {
                return Ok(None);
            }
        }
        Ok(format::decode(&header))
    }

    /// Whether the data that follows a header is all there and unharmed.
    pub(crate) fn data_is_whole(&self, position: u64, group: &Decoded) -> Result<bool> {
        let Body::Writes(entries) = &group.group.body else { return Ok(true) };
        let len =
            usize::try_from(group.data_bytes).map_err(|e| Error::corrupt("group size").with_source(e))?;
        let mut data = vec![0; len];
        if !self.read_or_end(position + group.header_bytes, &mut data)? {
            return Ok(false);
        }
        let mut rest = data.as_slice();
        for entry in entries {
            let format::Content::Data(crcs) = &entry.content else { continue };
            let len = usize::try_from(entry.len_bytes).unwrap_or(usize::MAX);
            let Some((bytes, after)) = rest.split_at_checked(len) else { return Ok(false) };
            if format::chunk_crcs(bytes) != *crcs {
                return Ok(false);
            }
            rest = after;
        }
        Ok(true)
    }

    /// False when the file ends before the buffer is full.
    fn read_or_end(&self, position: u64, buf: &mut [u8]) -> Result<bool> {
        match self.file.read_exact_at(buf, position) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(Error::io("read the log", e)),
        }
    }

    /// Reads a part of an entry's data and checks the chunks that it touches.
    pub(crate) fn read_checked(&self, place: &DataPlace, buf: &mut [u8]) -> Result<()> {
        let whole = self.read_chunks(place, buf, |position, buf| {
            Ok(self.read_from_cache(position, buf) || blocking(|| self.read_or_end(position, buf))?)
        })?;
        if whole { Ok(()) } else { Err(Error::corrupt("a log segment is shorter than its entries")) }
    }

    /// The same from the page cache; false when some of it is not there.
    pub(crate) fn read_cached(&self, place: &DataPlace, buf: &mut [u8]) -> Result<bool> {
        self.read_chunks(place, buf, |position, buf| Ok(self.read_from_cache(position, buf)))
    }

    fn read_chunks(
        &self,
        place: &DataPlace,
        buf: &mut [u8],
        read: impl FnOnce(u64, &mut [u8]) -> Result<bool>,
    ) -> Result<bool> {
        let from = u64::from(place.skip_sectors) * SECTOR_BYTES;
        let to = from + buf.len() as u64;
        let entry_bytes = u64::from(place.entry_sectors) * SECTOR_BYTES;
        let chunks_from = from - from % CHUNK_BYTES;
        let chunks_to = to.next_multiple_of(CHUNK_BYTES).min(entry_bytes);
        let first_chunk = usize::try_from(from / CHUNK_BYTES).unwrap_or(usize::MAX);
        let position = place.entry_position + chunks_from;
        if (chunks_from, chunks_to) == (from, to) {
            return Ok(read(position, buf)? && self.check(place, first_chunk, buf).map(|()| true)?);
        }
        let mut chunks = vec![0; usize::try_from(chunks_to - chunks_from).unwrap_or_default()];
        if !read(position, &mut chunks)? {
            return Ok(false);
        }
        self.check(place, first_chunk, &chunks)?;
        let skip = usize::try_from(from - chunks_from).unwrap_or_default();
        let wanted = chunks.get(skip..skip + buf.len());
        buf.copy_from_slice(wanted.ok_or_else(|| Error::corrupt("a mapping reaches past its log entry"))?);
        Ok(true)
    }

    fn check(&self, place: &DataPlace, first_chunk: usize, bytes: &[u8]) -> Result<()> {
        for (chunk, bytes) in bytes.chunks(CHUNK).enumerate() {
            if place.crcs.get(first_chunk + chunk) != Some(crc32c::crc32c(bytes)) {
                let at = place.entry_position + (first_chunk + chunk) as u64 * CHUNK_BYTES;
                return Err(Error::corrupt(format!("checksum of log segment {:#x} at byte {at}", self.id)));
            }
        }
        Ok(())
    }

    /// Fills `buf` from the page cache, if all of it is there.
    fn read_from_cache(&self, position: u64, buf: &mut [u8]) -> bool {
        let len = buf.len();
        let slices = &mut [IoSliceMut::new(buf)];
        rustix::io::preadv2(&self.file, slices, position, ReadWriteFlags::NOWAIT) == Ok(len)
    }
}

fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Runs something that may wait for a disk without holding up the other tasks of this thread.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
