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
    /// Writes `parts` one after another from `position`. After an error any part of them may be there.
    fn write(&self, segment: &Segment, position: u64, parts: &[&[u8]]) -> io::Result<()>;

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
    fn write(&self, segment: &Segment, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut written =
            rustix::io::retry_on_intr(|| rustix::io::pwritev(&segment.file, &slices, position))?;
        // A short write is rare (a full disk, a signal); the rest goes the plain way and meets the error.
        let mut at = position;
        for part in parts {
            let done = written.min(part.len());
            if let Some(rest) = part.get(done..).filter(|rest| !rest.is_empty()) {
                segment.file.write_all_at(rest, at + done as u64)?;
            }
            written -= done;
            at += part.len() as u64;
        }
        Ok(())
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
