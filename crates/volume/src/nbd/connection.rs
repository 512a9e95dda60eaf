//! Transmission: one client, a thread of its own, many requests at once.
//!
//! The thread takes requests as they come, runs what needs no waiting there and then, and sends the replies
//! together. The others go on elsewhere and send theirs when they are done, in any order.

use std::io;
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::runtime::Handle;

use super::input::{Input, Next};
use super::protocol::{Command, Request};
use super::session::{Session, error_number};

/// Replies are sent at the latest when they are so large.
const REPLIES_BYTES: usize = 256 << 10;
/// Larger reads have a buffer of their own.
const READ_HERE_BYTES_MAX: u32 = 256 << 10;
/// Writes that came together become one group of the log.
const GROUP_WRITES_MAX: usize = 64;
const GROUP_BYTES_MAX: usize = 1 << 20;
/// What a client may have in flight or not yet fetched before no more is read from it.
const AWAY_BYTES_MAX: usize = 64 << 20;
const AWAY_MAX: usize = 1024;
/// A client that sent so many requests one at a time waits for its flush anyway: it is synced here.
const SERIAL_MIN: u32 = 16;
/// How long a client may take to fetch its last replies.
const DRAIN_TIME_MAX: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// One connection after negotiation.
pub(super) struct Connection {
    session: Session,
    stream: UnixStream,
    runtime: Handle,
    /// Wakes the thread where it waits for work that is done elsewhere.
    kick: OwnedFd,
    out: Mutex<Out>,
    flushes: Mutex<Flushes>,
}

#[derive(Debug, Default)]
struct Out {
    /// What the socket has not taken yet.
    unsent: Vec<u8>,
    /// Requests that go on elsewhere, and what they carry.
    away: usize,
    away_bytes: usize,
    /// The thread waits for a change of the above.
    is_awaited: bool,
    is_gone: bool,
}

/// Flushes that wait for one sync together.
#[derive(Debug, Default)]
struct Flushes {
    waiting: Vec<Request>,
    is_running: bool,
}

impl Out {
    fn is_full(&self) -> bool {
        self.away >= AWAY_MAX || self.away_bytes + self.unsent.len() > AWAY_BYTES_MAX
    }

    /// Sends what the socket takes at once.
    fn push(&mut self, stream: &UnixStream) {
        let mut sent = 0;
        while let Some(rest) = self.unsent.get(sent..).filter(|rest| !rest.is_empty()) {
            match retry_on_intr(|| send(stream, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)) {
                Ok(count) => sent += count,
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    self.is_gone = true;
                    self.unsent.clear();
                    return;
                }
            }
        }
        self.unsent.drain(..sent);
    }
}

impl Connection {
    pub(super) fn new(session: Session, stream: UnixStream, runtime: Handle) -> io::Result<Arc<Self>> {
        stream.set_nonblocking(false)?;
        let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (out, flushes) = (Mutex::default(), Mutex::default());
        Ok(Arc::new(Self { session, stream, runtime, kick, out, flushes }))
    }

    /// Reads no more; what was begun is finished.
    pub(super) fn hang_up(&self) {
        // The client may have hung up before.
        drop(self.stream.shutdown(Shutdown::Read));
    }

    /// Serves until the client leaves, breaks the protocol, or `hang_up`.
    pub(super) fn serve(self: &Arc<Self>) {
        let _inside = self.runtime.enter();
        let mut input = Input::default();
        let mut replies = Vec::with_capacity(REPLIES_BYTES);
        let mut serial = 0;
        loop {
            let goes_on = self.work_off(&mut input, &mut replies, &mut serial);
            self.send(&mut replies);
            if !goes_on || !self.receive(&mut input) {
                break;
            }
        }
        self.drain();
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Runs all requests that are whole; false at the end of the conversation.
    fn work_off(self: &Arc<Self>, input: &mut Input, replies: &mut Vec<u8>, serial: &mut u32) -> bool {
        let (mut count, mut writes) = (0, Vec::new());
        let goes_on = loop {
            let (request, payload) = match input.next() {
                Next::Request(request, payload) => (request, payload),
                Next::More => break true,
                Next::End => break false,
            };
            count += 1;
            if self.session.is_plain_write(&request) {
                writes.push((request, payload));
                let bytes: usize = writes.iter().map(|(_, payload)| payload.len()).sum();
                if writes.len() == GROUP_WRITES_MAX || bytes >= GROUP_BYTES_MAX {
                    self.write(input, &mut writes, replies);
                }
                continue;
            }
            self.write(input, &mut writes, replies);
            self.run(request, input.payload(payload), *serial >= SERIAL_MIN, replies);
            if replies.len() >= REPLIES_BYTES {
                self.send(replies);
                self.wait_for_room();
            }
        };
        self.write(input, &mut writes, replies);
        match count {
            0 => {}
            1 => *serial = serial.saturating_add(1),
            _ => *serial = 0,
        }
        goes_on
    }

    fn run(self: &Arc<Self>, request: Request, payload: &[u8], is_serial: bool, replies: &mut Vec<u8>) {
        match request.command {
            Command::Read if request.len_bytes <= READ_HERE_BYTES_MAX => {
                if !self.session.read_now(request, replies) {
                    self.run_elsewhere(request, payload, replies);
                }
            }
            Command::Flush => self.flush(request, is_serial, replies),
            Command::Read
            | Command::Write
            | Command::Disconnect
            | Command::Trim
            | Command::Cache
            | Command::WriteZeroes
            | Command::BlockStatus
            | Command::Unknown => self.run_elsewhere(request, payload, replies),
        }
    }

    /// Writes what came together as one group.
    fn write(
        self: &Arc<Self>,
        input: &Input,
        writes: &mut Vec<(Request, Range<usize>)>,
        replies: &mut Vec<u8>,
    ) {
        if writes.is_empty() {
            return;
        }
        let data: Vec<(u64, &[u8])> =
            writes.iter().map(|(request, at)| (request.offset_bytes, input.payload(at.clone()))).collect();
        if self.session.volume.write_group(&data).is_err() {
            // One by one, each with an outcome of its own; where there is no space each waits for it.
            for (request, at) in writes.drain(..) {
                self.run_elsewhere(request, input.payload(at), replies);
            }
            return;
        }
        let mut done = Vec::new();
        let sealed = self.session.volume.inner.take_sealed();
        let answers = if sealed { &mut done } else { replies };
        let count = writes.len();
        for (request, _) in writes.drain(..) {
            self.session.answer(request, Ok(()), answers);
        }
        if sealed {
            self.begin(count, 0);
            let connection = Arc::clone(self);
            self.runtime.spawn(async move {
                connection.session.volume.tidy().await;
                connection.finish(count, 0, done);
            });
        }
    }

    /// Polls once, which is all it takes for most; the rest goes on in a task.
    fn run_elsewhere(self: &Arc<Self>, request: Request, payload: &[u8], replies: &mut Vec<u8>) {
        let (session, payload) = (self.session.clone(), payload.to_vec());
        let carried =
            payload.len() + if request.command == Command::Read { request.len_bytes as usize } else { 0 };
        let mut work = Box::pin(async move { session.reply(request, &payload).await });
        if let Some(reply) = (&mut work).now_or_never() {
            replies.extend_from_slice(&reply);
            return;
        }
        self.begin(1, carried);
        let connection = Arc::clone(self);
        self.runtime.spawn(async move {
            let reply = work.await;
            connection.finish(1, carried, reply);
        });
    }

    fn flush(self: &Arc<Self>, request: Request, is_serial: bool, replies: &mut Vec<u8>) {
        if self.session.read_only || self.session.volume.is_flushed() {
            return self.session.answer(request, Ok(()), replies);
        }
        if is_serial {
            let done = self.session.volume.flush_here().map_err(|e| error_number(&e));
            return self.session.answer(request, done, replies);
        }
        self.begin(1, 0);
        let mut flushes = self.flushes.lock().unwrap_or_else(PoisonError::into_inner);
        flushes.waiting.push(request);
        if !flushes.is_running {
            flushes.is_running = true;
            let connection = Arc::clone(self);
            self.runtime.spawn_blocking(move || connection.work_off_flushes());
        }
    }

    /// Those that come during one sync share the next one.
    fn work_off_flushes(&self) {
        loop {
            let waiting = {
                let mut flushes = self.flushes.lock().unwrap_or_else(PoisonError::into_inner);
                flushes.is_running = !flushes.waiting.is_empty();
                std::mem::take(&mut flushes.waiting)
            };
            if waiting.is_empty() {
                return;
            }
            let done = self.session.volume.flush_here().map_err(|e| error_number(&e));
            let (count, mut replies) = (waiting.len(), Vec::new());
            for request in waiting {
                self.session.answer(request, done, &mut replies);
            }
            self.finish(count, 0, replies);
        }
    }

    fn lock_out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, count: usize, bytes: usize) {
        let mut out = self.lock_out();
        out.away += count;
        out.away_bytes += bytes;
    }

    /// Sends the replies of what went on elsewhere.
    fn finish(&self, count: usize, bytes: usize, mut replies: Vec<u8>) {
        let mut out = self.lock_out();
        out.away -= count;
        out.away_bytes -= bytes;
        self.send_with(&mut out, &mut replies);
        if out.is_awaited || !out.unsent.is_empty() {
            // Full only when it was kicked already.
            let _ = rustix::io::write(&self.kick, &1_u64.to_ne_bytes());
        }
    }

    fn send(&self, replies: &mut Vec<u8>) {
        if !replies.is_empty() {
            self.send_with(&mut self.lock_out(), replies);
        }
    }

    /// What the socket does not take waits until it does. A client that left wants no replies.
    fn send_with(&self, out: &mut Out, replies: &mut Vec<u8>) {
        if out.is_gone {
            return replies.clear();
        }
        if !out.unsent.is_empty() {
            return out.unsent.append(replies);
        }
        std::mem::swap(&mut out.unsent, replies);
        out.push(&self.stream);
        if out.unsent.is_empty() {
            std::mem::swap(&mut out.unsent, replies);
        }
        if out.is_gone {
            drop(self.stream.shutdown(Shutdown::Both));
        }
    }

    /// Reads what there is, and waits where there is nothing; false when the client left.
    fn receive(&self, input: &mut Input) -> bool {
        self.wait_for_room();
        self.wait_for_input();
        match retry_on_intr(|| recv(&self.stream, input.room(), RecvFlags::empty())) {
            Ok((count, _)) => {
                input.received(count);
                count > 0
            }
            Err(_) => false,
        }
    }

    /// Returns at once where nothing is under way: then the read itself may wait.
    fn wait_for_input(&self) {
        loop {
            let (is_quiet, wants_out) = {
                let out = self.lock_out();
                ((out.away == 0 && out.unsent.is_empty()) || out.is_gone, !out.unsent.is_empty())
            };
            if is_quiet || self.wait(PollFlags::IN, wants_out, None).is_some_and(|has_input| has_input) {
                return;
            }
        }
    }

    /// Waits until the client has fetched, and the volume done, enough for more to begin.
    fn wait_for_room(&self) {
        loop {
            let wants_out = {
                let mut out = self.lock_out();
                out.is_awaited = out.is_full() && !out.is_gone;
                if !out.is_awaited {
                    return;
                }
                !out.unsent.is_empty()
            };
            self.wait(PollFlags::empty(), wants_out, None);
        }
    }

    /// Waits until all that was begun is done and its replies are fetched, as far as the client fetches any.
    fn drain(&self) {
        loop {
            let (away, wants_out) = {
                let mut out = self.lock_out();
                out.is_awaited = true;
                (out.away, !out.unsent.is_empty())
            };
            if away == 0 && !wants_out {
                return;
            }
            let in_time = wants_out.then_some(&DRAIN_TIME_MAX);
            if self.wait(PollFlags::empty(), wants_out, in_time).is_none() {
                let mut out = self.lock_out();
                out.is_gone = true;
                out.unsent.clear();
            }
        }
    }

    /// Waits for any of these, or a kick, and sends what the socket takes. Whether there is input; None when
    /// the time is over.
    fn wait(&self, input: PollFlags, wants_out: bool, time_max: Option<&Timespec>) -> Option<bool> {
        let output = if wants_out { PollFlags::OUT } else { PollFlags::empty() };
        let mut files = [PollFd::new(&self.stream, input | output), PollFd::new(&self.kick, PollFlags::IN)];
        let ready = retry_on_intr(|| poll(&mut files, time_max)).unwrap_or(0);
        let [stream, kick] = files.map(|file| file.revents());
        if ready == 0 {
            return None;
        }
        if !kick.is_empty() {
            let _ = rustix::io::read(&self.kick, &mut [0; 8]);
        }
        if wants_out && !stream.is_empty() {
            self.lock_out().push(&self.stream);
        }
        Some(!stream.difference(PollFlags::OUT).is_empty())
    }
}
