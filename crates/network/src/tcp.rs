//! One TCP conversation with the guest, joined to a stream of the host.
//!
//! Each conversation is its own tiny TCP/IP stack with a single socket, in its own task: nothing is
//! shared but the table of flows and the queue to the guest, cost does not grow with the number of
//! conversations, and each has its own hop limit. Both directions push back: the receive window
//! closes while the host does not take bytes, and the host is not read while the guest's window, or
//! the queue to the guest, is full.

use std::future::Future;
use std::io;
use std::net::SocketAddrV4;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use model::Clock;
use smoltcp::socket::tcp::State;
use smoltcp::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{self, OwnedPermit};

use crate::flows::{Packet, Seat};
use crate::frame::Frame;
use crate::metadata::HopLimit;
use crate::port::Shared;
use crate::stack::Stack;

/// How long a guest may leave bytes or probes unacknowledged. Long: a machine may be paused.
const SILENCE_TIMEOUT: Duration = Duration::from_mins(10);
/// Packets handled before the socket is asked what came of them.
const BATCH_PACKETS: usize = 128;
/// Turns of one poll before other tasks get theirs.
const TURNS_MAX: usize = 32;

/// What the guest's bytes are joined to.
#[derive(Debug)]
pub(crate) enum Peer {
    Host(TcpStream),
    Service(DuplexStream),
}

impl Peer {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Host(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Service(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Host(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Service(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Host(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Service(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Makes the coming drop a reset instead of an orderly end, where the stream can tell.
    pub(crate) fn abort(&self) {
        if let Self::Host(stream) = self
            && let Err(error) = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))
        {
            tracing::debug!(%error, "a connection ends without a reset");
        }
    }
}

/// Who began it.
#[derive(Debug)]
pub(crate) enum Opening {
    /// The guest, with this packet.
    Guest { syn: Packet },
    /// The host.
    Host,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides finished, or one reset an established connection.
    Over,
    /// The guest refused or never answered the host's connection.
    NotEstablished,
}

/// Runs until both sides are finished or one is reset.
pub(crate) struct Conversation {
    stack: Stack,
    packets: mpsc::Receiver<Packet>,
    peer: Peer,
    hop_limit: HopLimit,
    clock: Arc<dyn Clock>,
    established: bool,
    /// The peer has no more bytes.
    peer_ended: bool,
    /// The guest has no more bytes.
    guest_ended: bool,
    /// The peer was told so.
    peer_shut: bool,
    broken: bool,
    alarm: Option<Alarm>,
    room: Option<Room>,
    _lease: crate::flows::Lease,
}

struct Alarm {
    at: Instant,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

/// Waiting for room in the queue to the guest.
type Room = Pin<Box<dyn Future<Output = Result<OwnedPermit<Frame>, SendError<()>>> + Send>>;

impl Conversation {
    pub(crate) fn new(
        shared: &Shared,
        seat: Seat,
        peer: Peer,
        hop_limit: HopLimit,
        opening: Opening,
    ) -> Self {
        let clock = Arc::clone(&shared.clock);
        let guest = SocketAddrV4::new(shared.config.private_ip, seat.key.guest_port);
        let mut stack = Stack::new(shared, seat.key.remote, now(clock.as_ref()));
        match opening {
            Opening::Guest { syn } => stack.listen(seat.key.remote, syn),
            Opening::Host => stack.connect(seat.key.remote, guest),
        }
        Self {
            stack,
            packets: seat.packets,
            peer,
            hop_limit,
            clock,
            established: false,
            peer_ended: false,
            guest_ended: false,
            peer_shut: false,
            broken: false,
            alarm: None,
            room: None,
            _lease: seat.lease,
        }
    }

    /// Takes what waits, up to a bound: a guest that sends and does not receive fills no memory. True
    /// when more may wait.
    fn take_packets(&mut self, cx: &mut Context<'_>) -> bool {
        while self.stack.device.from_guest.len() < BATCH_PACKETS {
            match self.packets.poll_recv(cx) {
                Poll::Ready(Some(packet)) => self.stack.device.from_guest.push_back(packet),
                Poll::Ready(None) => {
                    self.break_off();
                    return false;
                }
                Poll::Pending => return false,
            }
        }
        true
    }

    /// Lets the stack handle what came and send what it may.
    fn exchange(&mut self) {
        let hop_limit = self.hop_limit.get();
        self.stack.socket().set_hop_limit(Some(hop_limit));
        self.stack.poll(now(self.clock.as_ref()));
        match self.stack.socket().state() {
            State::Closed | State::Listen | State::SynSent | State::SynReceived => {}
            State::Established | State::FinWait1 | State::FinWait2 => self.mark_established(),
            State::CloseWait | State::Closing | State::LastAck | State::TimeWait => {
                self.mark_established();
                self.guest_ended = true;
            }
        }
    }

    fn mark_established(&mut self) {
        if !self.established {
            self.established = true;
            self.stack.socket().set_timeout(Some(SILENCE_TIMEOUT.into()));
        }
    }

    /// Moves bytes between the socket and the peer; true when something changed.
    fn pump(&mut self, cx: &mut Context<'_>) -> bool {
        let to_guest = self.pump_to_guest(cx);
        let to_peer = self.pump_to_peer(cx);
        to_guest || to_peer
    }

    fn pump_to_guest(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { stack, peer, .. } = self;
        let socket = stack.socket();
        if self.peer_ended || !socket.can_send() {
            return false;
        }
        let read = socket.send(|space| {
            let mut buf = ReadBuf::new(space);
            let outcome = peer.poll_read(cx, &mut buf);
            let len = buf.filled().len();
            (len, outcome.map_ok(|()| len))
        });
        match read {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(Ok(0))) => {
                self.peer_ended = true;
                self.stack.socket().close();
            }
            Ok(Poll::Ready(Ok(_))) => {}
            Ok(Poll::Ready(Err(_))) | Err(_) => self.break_off(),
        }
        true
    }

    fn pump_to_peer(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { stack, peer, .. } = self;
        let socket = stack.socket();
        if socket.can_recv() {
            let written = socket.recv(|bytes| match peer.poll_write(cx, bytes) {
                Poll::Ready(Ok(len)) => (len, Poll::Ready(Ok(len))),
                Poll::Ready(Err(error)) => (0, Poll::Ready(Err(error))),
                Poll::Pending => (0, Poll::Pending),
            });
            return match written {
                Ok(Poll::Pending) => false,
                Ok(Poll::Ready(Ok(len))) if len > 0 => true,
                Ok(Poll::Ready(_)) | Err(_) => {
                    self.break_off();
                    true
                }
            };
        }
        if self.guest_ended && !self.peer_shut {
            // A peer that is already gone has nothing left to be told.
            self.peer_shut = peer.poll_shutdown(cx).is_ready();
            return self.peer_shut;
        }
        false
    }

    fn break_off(&mut self) {
        if !self.broken {
            self.broken = true;
            self.stack.socket().abort();
        }
    }

    /// Whether nothing is left to do: finished in order, or reset by either side and flushed.
    fn is_over(&mut self) -> bool {
        let socket = self.stack.socket();
        match socket.state() {
            // The far end is forgotten once the last segment (a reset, where one is due) is out.
            State::Closed if socket.remote_endpoint().is_some() => false,
            State::Closed => self.peer_shut || self.broken || !self.guest_ended || !self.peer_ended,
            // Every frame of the final exchange has been queued: the link loses none, so there is
            // no reason to linger.
            State::TimeWait => self.peer_shut && !self.stack.device.blocked,
            State::Listen
            | State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => false,
        }
    }

    fn finish(&mut self) -> End {
        if !(self.guest_ended && self.peer_ended) || self.broken {
            self.peer.abort();
        }
        if self.established { End::Over } else { End::NotEstablished }
    }

    /// True when room in the queue to the guest came free after there was none.
    fn found_room(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.stack.device.blocked {
            self.room = None;
            return false;
        }
        let queue = &self.stack.device.to_guest;
        let room = self.room.get_or_insert_with(|| Box::pin(queue.clone().reserve_owned()));
        let Poll::Ready(outcome) = room.as_mut().poll(cx) else { return false };
        self.room = None;
        match outcome {
            Ok(permit) => {
                self.stack.device.permit = Some(permit);
                self.stack.device.blocked = false;
            }
            Err(_) => self.break_off(),
        }
        true
    }

    /// True when the stack has something to do by the clock: retransmit, probe, give up.
    fn alarm_rings(&mut self, cx: &mut Context<'_>) -> bool {
        if self.stack.device.blocked {
            return false;
        }
        let now = now(self.clock.as_ref());
        let Some(at) = self.stack.poll_at(now) else {
            self.alarm = None;
            return false;
        };
        if at <= now {
            return true;
        }
        // An alarm that rings early is harmless; setting one for every packet is not.
        if self.alarm.as_ref().is_none_or(|alarm| alarm.at > at) {
            let sleep = Box::pin(tokio::time::sleep((at - now).into()));
            self.alarm = Some(Alarm { at, sleep });
        }
        let rings = self.alarm.as_mut().is_some_and(|alarm| alarm.sleep.as_mut().poll(cx).is_ready());
        if rings {
            self.alarm = None;
        }
        rings
    }
}

impl Future for Conversation {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = &mut *self;
        for _ in 0..TURNS_MAX {
            let more = this.take_packets(cx);
            this.exchange();
            let moved = this.pump(cx) || (more && !this.stack.device.blocked);
            if this.is_over() {
                return Poll::Ready(this.finish());
            }
            if !moved && !this.found_room(cx) && !this.alarm_rings(cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn now(clock: &dyn Clock) -> Instant {
    Instant::from_micros(i64::try_from(clock.monotonic().as_micros()).unwrap_or(i64::MAX))
}
