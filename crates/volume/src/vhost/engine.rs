//! Requests done on the volume.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::protocol::{SERIAL_BYTES, Status};
use super::request::{BadRanges, Kind, ranges};
use crate::error::{Error, Result};
use crate::volume::Volume;

/// How often a write is tried anew while the host has no space for it.
const SPACE_RETRY_DELAY: Duration = Duration::from_millis(500);

/// The volume as all rings of a device see it.
#[derive(Debug)]
pub(super) struct Engine {
    volume: Volume,
    serial: [u8; SERIAL_BYTES],
    /// Every write is durable before it is answered: the guest's driver knows no flush, or asked for this.
    write_through: AtomicBool,
    awaits_space: AtomicBool,
}

/// A request with its data, cut loose from the guest's memory.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) kind: Kind,
    pub(super) offset_bytes: u64,
    /// What is written, or as much room as is read.
    pub(super) data: Vec<u8>,
}

/// What is answered: `data` only to a read that went well.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) status: Status,
    pub(super) data: Vec<u8>,
}

impl Engine {
    pub(super) fn new(volume: Volume, serial: &str) -> Self {
        let mut padded = [0; SERIAL_BYTES];
        for (place, byte) in padded.iter_mut().zip(serial.bytes()) {
            *place = byte;
        }
        Self {
            volume,
            serial: padded,
            write_through: AtomicBool::new(false),
            awaits_space: AtomicBool::new(false),
        }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.volume.size_bytes()
    }

    pub(super) const fn serial(&self) -> &[u8] {
        &self.serial
    }

    pub(super) fn is_write_through(&self) -> bool {
        self.write_through.load(Ordering::Acquire)
    }

    pub(super) fn set_write_through(&self, write_through: bool) {
        self.write_through.store(write_through, Ordering::Release);
    }

    /// A read that takes no waiting; false where it may.
    pub(super) fn read_now(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<bool> {
        self.volume.read_now(offset_bytes, buf)
    }

    /// Does one request. A write that finds the host's disk full is held, and its guest with it, until there is
    /// space or nobody waits any more: guests give a disk up for good at the first error.
    pub(super) async fn perform(&self, mut work: Work, unwanted: &CancellationToken) -> Outcome {
        let done = match work.kind {
            Kind::Read => self.volume.read_at(work.offset_bytes, &mut work.data).await,
            Kind::Flush => self.volume.flush().await,
            Kind::Write | Kind::Discard | Kind::WriteZeroes => match self.change(&work, unwanted).await {
                Ok(done) => done,
                Err(BadRanges::Malformed) => return Outcome { status: Status::IoError, data: work.data },
                Err(BadRanges::UnknownFlag) => {
                    return Outcome { status: Status::Unsupported, data: work.data };
                }
            },
            Kind::GetId | Kind::Unknown => return Outcome { status: Status::Unsupported, data: work.data },
        };
        let status = match done {
            Ok(()) => Status::Ok,
            Err(error) => {
                tracing::debug!(?error, kind = ?work.kind, offset_bytes = work.offset_bytes, "a request failed");
                Status::IoError
            }
        };
        Outcome { status, data: work.data }
    }

    async fn change(&self, work: &Work, unwanted: &CancellationToken) -> Result<Result<()>, BadRanges> {
        let ranges = if work.kind == Kind::Write { Vec::new() } else { ranges(work.kind, &work.data)? };
        Ok(loop {
            let done = self.try_change(work, &ranges).await;
            let is_full = done.as_ref().is_err_and(Error::is_out_of_space);
            self.note_space(is_full);
            if !is_full {
                break done;
            }
            tokio::select! {
                () = tokio::time::sleep(SPACE_RETRY_DELAY) => {}
                () = unwanted.cancelled() => break done,
            }
        })
    }

    async fn try_change(&self, work: &Work, ranges: &[super::request::Range]) -> Result<()> {
        if work.kind == Kind::Write {
            self.volume.write_at(work.offset_bytes, &work.data).await?;
        }
        for range in ranges {
            if work.kind == Kind::Discard {
                self.volume.trim(range.offset_bytes, range.len_bytes).await?;
            } else {
                self.volume.write_zeroes(range.offset_bytes, range.len_bytes).await?;
            }
        }
        if self.is_write_through() { self.volume.flush().await } else { Ok(()) }
    }

    /// Told once, however many writes are held.
    fn note_space(&self, is_full: bool) {
        if is_full && !self.awaits_space.swap(true, Ordering::AcqRel) {
            tracing::error!("the guest stands still: the host has no space for what it writes");
        }
        if !is_full
            && self.awaits_space.load(Ordering::Acquire)
            && self.awaits_space.swap(false, Ordering::AcqRel)
        {
            tracing::info!("the guest goes on");
        }
    }
}
