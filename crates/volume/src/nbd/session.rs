//! What one request does to the volume, and its reply.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::handshake::{ALLOCATION_ID, Agreed};
use super::protocol::{
    Command, REQUEST_BYTES_MAX, Request, chunk, command_flag, errno, simple_reply, structured_reply,
};
use crate::error::{Error, ErrorKind};
use crate::format::{GROUP_DATA_MAX, SECTOR_BYTES};
use crate::volume::Volume;

/// While the host's disk is full, a change is tried again this often, so many times.
const ROOM_RETRY_DELAY: Duration = Duration::from_millis(250);
const ROOM_RETRIES: u32 = 120;
/// Further changes fail at once.
const HELD_MAX: usize = 256;

/// One client's view of the volume after negotiation.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) volume: Volume,
    pub(super) read_only: bool,
    pub(super) agreed: Agreed,
    pub(super) held: Arc<Held>,
    pub(super) shutdown: CancellationToken,
}

/// The changes of all clients that wait for space on the host's disk.
#[derive(Debug)]
pub(super) struct Held {
    places: Semaphore,
    is_told: AtomicBool,
}

impl Default for Held {
    fn default() -> Self {
        Self { places: Semaphore::new(HELD_MAX), is_told: AtomicBool::new(false) }
    }
}

impl Session {
    /// Serves until the client leaves, breaks the protocol, or the shutdown; what was begun is finished.
    pub(super) async fn run(self, stream: UnixStream) {
        let shutdown = self.shutdown.clone();
        let started = Connection::new(self, stream, Handle::current()).and_then(|connection| {
            let (sender, ended) = oneshot::channel();
            let serving = Arc::clone(&connection);
            thread::Builder::new().name("nbd".to_owned()).spawn(move || {
                serving.serve();
                // Nobody waits any more after a shutdown that took too long.
                let _ = sender.send(());
            })?;
            Ok((connection, ended))
        });
        let (connection, mut ended) = match started {
            Ok(started) => started,
            Err(error) => return tracing::warn!(%error, "serve an NBD client"),
        };
        tokio::select! {
            _ = &mut ended => return,
            () = shutdown.cancelled() => connection.hang_up(),
        }
        // An error is a panic, which has told of itself.
        drop(ended.await);
    }

    /// Whether the request is a write that a group of the log takes as it is, with nothing to do after it.
    pub(super) fn is_plain_write(&self, request: &Request) -> bool {
        let len = u64::from(request.len_bytes);
        request.command == Command::Write
            && !self.read_only
            && request.flags & command_flag::FUA == 0
            && request.offset_bytes.is_multiple_of(SECTOR_BYTES)
            && len.is_multiple_of(SECTOR_BYTES)
            && (1..=GROUP_DATA_MAX as u64 / 4).contains(&len)
    }

    /// Appends the reply to a read if that takes no waiting.
    pub(super) fn read_now(&self, request: Request, replies: &mut Vec<u8>) -> bool {
        let begin = replies.len();
        let data = self.begin_data(request, replies);
        match self.volume.read_now(request.offset_bytes, replies.get_mut(data..).unwrap_or_default()) {
            Ok(true) => true,
            Ok(false) => {
                replies.truncate(begin);
                false
            }
            Err(e) => {
                replies.truncate(begin);
                self.answer(request, Err(error_number(&e)), replies);
                true
            }
        }
    }

    /// Appends the beginning of a reply with data, and room for the data; returns where that begins.
    fn begin_data(&self, request: Request, replies: &mut Vec<u8>) -> usize {
        let len = request.len_bytes as usize;
        if self.agreed.structured_replies {
            structured_reply(replies, request.cookie, chunk::OFFSET_DATA, 8 + len);
            replies.extend_from_slice(&request.offset_bytes.to_be_bytes());
        } else {
            simple_reply(replies, request.cookie, 0);
        }
        let data = replies.len();
        replies.resize(data + len, 0);
        data
    }

    /// Appends a reply that says only how it went.
    pub(super) fn answer(&self, request: Request, done: Result<(), u32>, replies: &mut Vec<u8>) {
        match done {
            Ok(()) if self.agreed.structured_replies => {
                structured_reply(replies, request.cookie, chunk::NONE, 0);
            }
            Ok(()) => simple_reply(replies, request.cookie, 0),
            Err(error) if self.agreed.structured_replies => {
                structured_reply(replies, request.cookie, chunk::ERROR, 6);
                replies.extend_from_slice(&error.to_be_bytes());
                replies.extend_from_slice(&[0; 2]);
            }
            Err(error) => simple_reply(replies, request.cookie, error),
        }
    }

    pub(super) async fn reply(&self, request: Request, payload: &[u8]) -> Vec<u8> {
        let mut reply = Vec::new();
        let done = match request.command {
            Command::Read => self.read(request, &mut reply).await,
            Command::BlockStatus => self.block_status(request, &mut reply).await,
            Command::Write | Command::Trim | Command::WriteZeroes => self.changed(request, payload).await,
            Command::Flush if self.read_only => Ok(()),
            Command::Flush => self.volume.flush().await.map_err(|e| error_number(&e)),
            // Nothing is nearer than the page cache; the range is still checked.
            Command::Cache => self.check_range(request),
            Command::Disconnect | Command::Unknown => Err(errno::INVALID),
        };
        if done.is_err() || reply.is_empty() {
            reply.clear();
            self.answer(request, done, &mut reply);
        }
        reply
    }

    /// What every change has in common: it is refused on a read-only export, and may have to be durable.
    async fn changed(&self, request: Request, payload: &[u8]) -> Result<(), u32> {
        if self.read_only {
            return Err(errno::PERM);
        }
        self.change_with_room(request, payload).await.map_err(|e| error_number(&e))?;
        if request.flags & command_flag::FUA != 0 {
            self.volume.flush().await.map_err(|e| error_number(&e))?;
        }
        Ok(())
    }

    /// Where the host's disk is full, a change waits for space before it fails: a guest that gets an error
    /// may give up its file system, and somebody may be about to make room.
    async fn change_with_room(&self, request: Request, payload: &[u8]) -> crate::Result<()> {
        let mut done = self.change(request, payload).await;
        if !is_out_of_space(&done) {
            return done;
        }
        let Ok(_place) = self.held.places.try_acquire() else { return done };
        if !self.held.is_told.swap(true, Ordering::AcqRel) {
            tracing::warn!("the host's disk is full: what guests write waits for space");
        }
        for _ in 0..ROOM_RETRIES {
            tokio::select! {
                () = tokio::time::sleep(ROOM_RETRY_DELAY) => {}
                () = self.shutdown.cancelled() => return done,
            }
            done = self.change(request, payload).await;
            if !is_out_of_space(&done) {
                if self.held.is_told.swap(false, Ordering::AcqRel) {
                    tracing::info!("the host's disk has space again");
                }
                return done;
            }
        }
        done
    }

    async fn change(&self, request: Request, payload: &[u8]) -> crate::Result<()> {
        let (offset_bytes, len_bytes) = (request.offset_bytes, request.len_bytes.into());
        match request.command {
            Command::Trim => self.volume.trim(offset_bytes, len_bytes).await,
            Command::WriteZeroes => self.volume.write_zeroes(offset_bytes, len_bytes).await,
            Command::Write
            | Command::Read
            | Command::Disconnect
            | Command::Flush
            | Command::Cache
            | Command::BlockStatus
            | Command::Unknown => self.volume.write_at(offset_bytes, payload).await,
        }
    }

    async fn read(&self, request: Request, reply: &mut Vec<u8>) -> Result<(), u32> {
        if request.len_bytes > REQUEST_BYTES_MAX {
            return Err(errno::INVALID);
        }
        let data = self.begin_data(request, reply);
        let read = self.volume.read_at(request.offset_bytes, reply.get_mut(data..).unwrap_or_default()).await;
        read.map_err(|e| error_number(&e))
    }

    async fn block_status(&self, request: Request, reply: &mut Vec<u8>) -> Result<(), u32> {
        const HOLE_AND_ZERO: u32 = 3;
        if !self.agreed.block_status || request.len_bytes == 0 {
            return Err(errno::INVALID);
        }
        let runs_max = if request.flags & command_flag::REQUEST_ONE != 0 { 1 } else { 1024 };
        let runs = self.volume.zero_runs(request.offset_bytes, request.len_bytes.into(), runs_max).await;
        let runs = runs.map_err(|e| error_number(&e))?;
        structured_reply(reply, request.cookie, chunk::BLOCK_STATUS, 4 + 8 * runs.len());
        reply.extend_from_slice(&ALLOCATION_ID.to_be_bytes());
        for run in runs {
            let len = u32::try_from(run.len_bytes).unwrap_or(u32::MAX);
            reply.extend_from_slice(&len.to_be_bytes());
            reply.extend_from_slice(&if run.is_zero { HOLE_AND_ZERO } else { 0 }.to_be_bytes());
        }
        Ok(())
    }

    fn check_range(&self, request: Request) -> Result<(), u32> {
        let end = request.offset_bytes.checked_add(request.len_bytes.into());
        end.filter(|end| *end <= self.volume.size_bytes()).map(|_| ()).ok_or(errno::INVALID)
    }
}

fn is_out_of_space(done: &crate::Result<()>) -> bool {
    done.as_ref().is_err_and(Error::is_out_of_space)
}

pub(super) fn error_number(error: &Error) -> u32 {
    match error.kind() {
        ErrorKind::Invalid => errno::INVALID,
        _ if error.is_out_of_space() => errno::NO_SPACE,
        ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Unavailable | ErrorKind::Corrupt => errno::IO,
    }
}
