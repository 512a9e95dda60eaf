//! The effects on segment files that can fail or be lost in a power cut, behind one seam.
//!
//! The real disk is the operating system; tests put one in its place that forgets what was not synced.

use std::fmt;
use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use blockstore::durable;

use crate::segment::Segment;

pub trait Disk: Send + Sync + fmt::Debug {
    /// Writes a whole group at `position`. After an error any part of it may be there.
    fn write(&self, segment: &Segment, position: u64, header: &[u8], data: &[u8]) -> io::Result<()>;

    /// Makes everything written to the segment durable.
    fn sync(&self, segment: &Segment) -> io::Result<()>;

    /// Takes a segment's name away, durable after the next `sync_dir`.
    fn remove(&self, segment: &Segment) -> io::Result<()>;

    /// Makes created and removed names durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

#[derive(Debug, Clone, Copy)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn write(&self, segment: &Segment, position: u64, header: &[u8], data: &[u8]) -> io::Result<()> {
        let parts = [IoSlice::new(header), IoSlice::new(data)];
        let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(&segment.file, &parts, position))?;
        // A short write is rare (a full disk, a signal); the rest goes the plain way and meets the error.
        let in_data = written.saturating_sub(header.len());
        if let Some(rest) = header.get(written..).filter(|rest| !rest.is_empty()) {
            segment.file.write_all_at(rest, position + written as u64)?;
        }
        let rest = data.get(in_data..).unwrap_or_default();
        segment.file.write_all_at(rest, position + (header.len() + in_data) as u64)
    }

    fn sync(&self, segment: &Segment) -> io::Result<()> {
        segment.file.sync_data()
    }

    fn remove(&self, segment: &Segment) -> io::Result<()> {
        fs::remove_file(&segment.path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        durable::sync_dir(dir)
    }
}
