//! Transmission: many requests at once on one connection.
//!
//! The reader runs each request as far as it goes without waiting, which is all the way for what the page
//! cache holds; the others go on in tasks. A writer sends the replies in the order of completion.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handshake::{ALLOCATION_ID, Agreed};
use super::protocol::{
    Command, REQUEST_BYTES_MAX, REQUEST_HEADER_BYTES, Request, chunk, command_flag, errno, simple_reply,
    structured_reply,
};
use crate::error::{Error, ErrorKind};
use crate::volume::Volume;

/// A connection's requests in flight: one permit for each request and for each 64 KiB that it carries.
const PERMITS: usize = 1024;
const BYTES_PER_PERMIT: u32 = 64 << 10;
const READ_BUFFER_BYTES: usize = 64 << 10;
const WRITE_BUFFER_BYTES: usize = 64 << 10;
const REPLIES_AT_ONCE: usize = 64;

/// One connection after negotiation.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) volume: Volume,
    pub(super) read_only: bool,
    pub(super) agreed: Agreed,
}

struct Reply {
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl Session {
    /// Serves until the client leaves, breaks the protocol, or `shutdown`; what was begun is finished.
    pub(super) async fn run(self, stream: UnixStream, shutdown: CancellationToken) {
        let (read, write) = stream.into_split();
        let (replies, to_send) = unbounded_channel();
        let gone = CancellationToken::new();
        let reader = async {
            tokio::select! {
                () = self.read_requests(read, replies) => {}
                () = gone.cancelled() => {}
                () = shutdown.cancelled() => {}
            }
        };
        let writer = async {
            if send_replies(write, to_send).await.is_err() {
                gone.cancel();
            }
        };
        tokio::join!(reader, writer);
    }

    async fn read_requests(&self, read: OwnedReadHalf, replies: UnboundedSender<Reply>) {
        let mut read = BufReader::with_capacity(READ_BUFFER_BYTES, read);
        let permits = Arc::new(Semaphore::new(PERMITS));
        let tasks = TaskTracker::new();
        while let Some((request, payload, permit)) = read_request(&mut read, &permits).await {
            let (session, replies) = (self.clone(), replies.clone());
            let mut work = Box::pin(async move {
                let bytes = session.reply(request, &payload).await;
                // A client that left wants no replies.
                drop(replies.send(Reply { bytes, _permit: permit }));
            });
            if futures::poll!(work.as_mut()).is_pending() {
                tasks.spawn(work);
            }
        }
    }

    async fn reply(&self, request: Request, payload: &[u8]) -> Vec<u8> {
        let done = match request.command {
            Command::Read => return self.read(request).await,
            Command::BlockStatus => return self.block_status(request),
            Command::Write => self.changed(request, self.write(request, payload)).await,
            Command::Trim => self.changed(request, self.trim(request)).await,
            Command::WriteZeroes => self.changed(request, self.write_zeroes(request)).await,
            Command::Flush if self.read_only => Ok(()),
            Command::Flush => self.volume.flush().await.map_err(|e| error_number(&e)),
            // Nothing is nearer than the page cache; the range is still checked.
            Command::Cache => self.check_range(request),
            Command::Disconnect | Command::Unknown => Err(errno::INVALID),
        };
        match done {
            Ok(()) if self.agreed.structured_replies => structured_reply(request.cookie, chunk::NONE, 0),
            Ok(()) => simple_reply(request.cookie, 0, 0),
            Err(error) => self.error(request, error),
        }
    }

    /// What every change has in common: it is refused on a read-only export, and may have to be durable.
    async fn changed(
        &self,
        request: Request,
        change: impl Future<Output = crate::Result<()>>,
    ) -> Result<(), u32> {
        if self.read_only {
            return Err(errno::PERM);
        }
        change.await.map_err(|e| error_number(&e))?;
        if request.flags & command_flag::FUA != 0 {
            self.volume.flush().await.map_err(|e| error_number(&e))?;
        }
        Ok(())
    }

    async fn write(&self, request: Request, payload: &[u8]) -> crate::Result<()> {
        self.volume.write_at(request.offset_bytes, payload).await
    }

    async fn trim(&self, request: Request) -> crate::Result<()> {
        self.volume.trim(request.offset_bytes, request.len_bytes.into()).await
    }

    async fn write_zeroes(&self, request: Request) -> crate::Result<()> {
        self.volume.write_zeroes(request.offset_bytes, request.len_bytes.into()).await
    }

    async fn read(&self, request: Request) -> Vec<u8> {
        if request.len_bytes > REQUEST_BYTES_MAX {
            return self.error(request, errno::INVALID);
        }
        let len = request.len_bytes as usize;
        let mut reply = if self.agreed.structured_replies {
            let mut reply = structured_reply(request.cookie, chunk::OFFSET_DATA, 8 + len);
            reply.extend_from_slice(&request.offset_bytes.to_be_bytes());
            reply
        } else {
            simple_reply(request.cookie, 0, len)
        };
        let header = reply.len();
        reply.resize(header + len, 0);
        let data = reply.get_mut(header..).unwrap_or_default();
        match self.volume.read_at(request.offset_bytes, data).await {
            Ok(()) => reply,
            Err(e) => self.error(request, error_number(&e)),
        }
    }

    fn block_status(&self, request: Request) -> Vec<u8> {
        const HOLE_AND_ZERO: u32 = 3;
        if !self.agreed.block_status || request.len_bytes == 0 {
            return self.error(request, errno::INVALID);
        }
        let runs_max = if request.flags & command_flag::REQUEST_ONE != 0 { 1 } else { 1024 };
        let runs = match self.volume.zero_runs(request.offset_bytes, request.len_bytes.into(), runs_max) {
            Ok(runs) => runs,
            Err(e) => return self.error(request, error_number(&e)),
        };
        let mut reply = structured_reply(request.cookie, chunk::BLOCK_STATUS, 4 + 8 * runs.len());
        reply.extend_from_slice(&ALLOCATION_ID.to_be_bytes());
        for run in runs {
            let len = u32::try_from(run.len_bytes).unwrap_or(u32::MAX);
            reply.extend_from_slice(&len.to_be_bytes());
            reply.extend_from_slice(&if run.is_zero { HOLE_AND_ZERO } else { 0 }.to_be_bytes());
        }
        reply
    }

    fn check_range(&self, request: Request) -> Result<(), u32> {
        let end = request.offset_bytes.checked_add(request.len_bytes.into());
        end.filter(|end| *end <= self.volume.size_bytes()).map(|_| ()).ok_or(errno::INVALID)
    }

    fn error(&self, request: Request, error: u32) -> Vec<u8> {
        if !self.agreed.structured_replies {
            return simple_reply(request.cookie, error, 0);
        }
        let mut reply = structured_reply(request.cookie, chunk::ERROR, 6);
        reply.extend_from_slice(&error.to_be_bytes());
        reply.extend_from_slice(&[0; 2]);
        reply
    }
}

/// The next request with its payload, once there is room for it; None at the end of the conversation.
async fn read_request(
    read: &mut BufReader<OwnedReadHalf>,
    permits: &Arc<Semaphore>,
) -> Option<(Request, Vec<u8>, OwnedSemaphorePermit)> {
    let mut header = [0; REQUEST_HEADER_BYTES];
    read.read_exact(&mut header).await.ok()?;
    let request = Request::parse(header).filter(|request| request.command != Command::Disconnect)?;
    let carried = match request.command {
        Command::Read => request.len_bytes.min(REQUEST_BYTES_MAX),
        // A payload that is too large to hold cannot be skipped at a reasonable price either.
        Command::Write if request.len_bytes > REQUEST_BYTES_MAX => return None,
        Command::Write => request.len_bytes,
        Command::Disconnect
        | Command::Flush
        | Command::Trim
        | Command::Cache
        | Command::WriteZeroes
        | Command::BlockStatus
        | Command::Unknown => 0,
    };
    let cost = 1 + carried / BYTES_PER_PERMIT;
    let permit = Arc::clone(permits).acquire_many_owned(cost).await.ok()?;
    let payload_bytes = if request.command == Command::Write { carried } else { 0 };
    let mut payload = vec![0; payload_bytes as usize];
    read.read_exact(&mut payload).await.ok()?;
    Some((request, payload, permit))
}

async fn send_replies(write: OwnedWriteHalf, mut replies: UnboundedReceiver<Reply>) -> std::io::Result<()> {
    let mut write = BufWriter::with_capacity(WRITE_BUFFER_BYTES, write);
    let mut batch = Vec::with_capacity(REPLIES_AT_ONCE);
    while replies.recv_many(&mut batch, REPLIES_AT_ONCE).await > 0 {
        for reply in batch.drain(..) {
            write.write_all(&reply.bytes).await?;
        }
        if replies.is_empty() {
            write.flush().await?;
        }
    }
    write.shutdown().await
}

fn error_number(error: &Error) -> u32 {
    match error.kind() {
        ErrorKind::Invalid => errno::INVALID,
        _ if error.is_out_of_space() => errno::NO_SPACE,
        ErrorKind::NotFound | ErrorKind::Conflict | ErrorKind::Unavailable | ErrorKind::Corrupt => errno::IO,
    }
}
