//! The guest's open ports at the machine's public address on the host.
//!
//! A forward reserves its host port as long as the rules allow it, but listens only while the guest
//! does: a port of the guest that is not open yet refuses connections on the host as well, so that a
//! client which waits for a booting machine sees what it would see on a network. Whether the guest
//! listens is found out with connection requests that are reset as soon as they are answered.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use model::id_gen::random_bytes;
use smoltcp::wire::{Ipv4Packet, TcpControl, TcpPacket, TcpSeqNumber};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::DropGuard;

use crate::flows::{FlowKey, FlowKind, Seat, WhenFull};
use crate::frame;
use crate::metadata::HopLimit;
use crate::port::Shared;
use crate::rules::{self, Cidr, Protocol, Rule};
use crate::tcp::{Conversation, End, Opening, Peer};

const BACKLOG: u32 = 256;
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long a guest may take to answer a probe; slow guests exist where the processor is emulated.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two probes of a port: short at first, for a client may be waiting.
const PROBE_INTERVAL_MIN: Duration = Duration::from_millis(250);
/// Where the interval ends up, and what each forward adds to that: many closed ports make no flood.
const PROBE_INTERVAL_MAX: Duration = Duration::from_secs(1);
const PROBE_INTERVAL_EACH: Duration = Duration::from_millis(50);
/// Where the ports of connections from this host begin, as the guest sees them.
const EPHEMERAL_PORT_MIN: u16 = 32_768;
const EPHEMERAL_TRIES: usize = 64;
/// What is added to a port that the host does not give.
const SECOND_CHOICE: u16 = 10_000;

/// A port of the guest and the address on the host that leads to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    pub guest_port: u16,
    /// Has another port than the guest's where the host does not give that one.
    pub host: SocketAddr,
}

struct Opened {
    host: SocketAddr,
    _closes: DropGuard,
}

/// What the forwards of one port have in common.
#[derive(Clone)]
struct Common {
    shared: Arc<Shared>,
    public_ip: Ipv4Addr,
    rules: watch::Receiver<Vec<Rule>>,
    /// How many there are.
    count: watch::Receiver<usize>,
}

/// Keeps the open ports in step with the rules.
pub(crate) async fn run(
    shared: Arc<Shared>,
    public_ip: Ipv4Addr,
    rules: watch::Receiver<Vec<Rule>>,
    published: watch::Sender<Vec<Forward>>,
) {
    let (count_sender, count) = watch::channel(0);
    let mut common = Common { shared, public_ip, rules, count };
    let reachable_from = if public_ip.is_loopback() { Cidr::LOOPBACK } else { Cidr::ANY };
    let mut opened = BTreeMap::new();
    loop {
        let wanted = rules::ports_to_open(&common.rules.borrow_and_update(), reachable_from);
        opened.retain(|port, _| wanted.binary_search(port).is_ok());
        for port in wanted {
            if let Entry::Vacant(place) = opened.entry(port)
                && let Some(forward) = open(&common, port)
            {
                place.insert(forward);
            }
        }
        count_sender.send_replace(opened.len());
        let forwards = opened.iter().map(|(port, forward)| Forward { guest_port: *port, host: forward.host });
        published.send_replace(forwards.collect());
        if common.rules.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn open(common: &Common, guest_port: u16) -> Option<Opened> {
    let reserved = reserve(common.public_ip, guest_port);
    let (socket, host) = match reserved {
        Ok(reserved) => reserved,
        Err(error) => {
            tracing::warn!(%error, guest_port, "no host port for a port of the guest");
            return None;
        }
    };
    let closed = common.shared.cancel.child_token();
    let serving = serve(common.clone(), guest_port, socket, host);
    common.shared.spawn(closed.clone().run_until_cancelled_owned(serving));
    Some(Opened { host, _closes: closed.drop_guard() })
}

/// The same port on the host; where that one is privileged or taken, the one 10,000 above it, which stays the
/// same over restarts of the guest; any other at last.
fn reserve(public_ip: Ipv4Addr, port: u16) -> io::Result<(TcpSocket, SocketAddr)> {
    let second = port.checked_add(SECOND_CHOICE).ok_or(io::ErrorKind::AddrNotAvailable);
    bind((public_ip, port).into())
        .or_else(|_| bind((public_ip, second?).into()))
        .or_else(|_| bind((public_ip, 0).into()))
}

/// Bound, not listening: connections are refused, and nobody is given the port by chance.
fn bind(address: SocketAddr) -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

async fn serve(common: Common, guest_port: u16, mut socket: TcpSocket, host: SocketAddr) {
    loop {
        let mut interval = PROBE_INTERVAL_MIN;
        while !probe(&common.shared, guest_port).await {
            tokio::time::sleep(interval).await;
            let forwards = u32::try_from(*common.count.borrow()).unwrap_or(u32::MAX);
            interval = (interval * 3 / 2).min(PROBE_INTERVAL_MAX + PROBE_INTERVAL_EACH * forwards);
        }
        match socket.listen(BACKLOG) {
            Ok(listener) => forward(&common, guest_port, &listener).await,
            Err(error) => {
                tracing::warn!(%error, %host, "listening for the guest failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
        // Closed and bound again: the only way for a socket to stop listening.
        socket = loop {
            match bind(host) {
                Ok((socket, _)) => break socket,
                Err(error) => {
                    tracing::warn!(%error, %host, "a host port was lost");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        };
    }
}

/// Accepts connections until the guest no longer does.
async fn forward(common: &Common, guest_port: u16, listener: &TcpListener) {
    let (refused, mut refusals) = mpsc::channel(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = refusals.recv() => return,
        };
        match accepted {
            Ok((stream, client)) => inbound(common, guest_port, stream, client, refused.clone()),
            Err(error) => {
                tracing::warn!(%error, "accepting a connection for the guest failed");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn inbound(
    common: &Common,
    guest_port: u16,
    stream: TcpStream,
    client: SocketAddr,
    refused: mpsc::Sender<()>,
) {
    let peer = Peer::Host(stream);
    let shared = &common.shared;
    let admitted = match client.ip() {
        IpAddr::V4(ip) => rules::admits(&common.rules.borrow(), Protocol::Tcp, guest_port, ip),
        IpAddr::V6(_) => false,
    };
    let seat = if admitted { seat(shared, guest_port, client) } else { None };
    let Some(seat) = seat else {
        let count = if admitted { &shared.count.dropped_by_limit } else { &shared.count.dropped_by_rule };
        count.add(1);
        return peer.abort();
    };
    let conversation = Conversation::new(shared, seat, peer, HopLimit::new(), Opening::Host);
    shared.spawn(async move {
        if conversation.await == End::NotEstablished {
            // One refusal is enough news.
            refused.try_send(()).ok();
        }
    });
}

/// A place in the table under the client's address as the guest sees it: its own, or the gateway's
/// for this host's loopback clients, which the guest could not answer.
fn seat(shared: &Shared, guest_port: u16, client: SocketAddr) -> Option<Seat> {
    let own = match client {
        SocketAddr::V4(client)
            if !client.ip().is_loopback() && !shared.config.subnet().contains(*client.ip()) =>
        {
            Some(client)
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => None,
    };
    let now = shared.monotonic();
    let open =
        |remote| shared.tcp.open(FlowKey { kind: FlowKind::Tcp, guest_port, remote }, now, WhenFull::Refuse);
    match own {
        Some(client) => open(client),
        None => (0..EPHEMERAL_TRIES).find_map(|_| open(gateway_endpoint(shared))),
    }
}

fn gateway_endpoint(shared: &Shared) -> SocketAddrV4 {
    let port = u16::from_le_bytes(random_bytes(shared.ids.as_ref())) | EPHEMERAL_PORT_MIN;
    SocketAddrV4::new(shared.config.gateway, port)
}

/// Whether the guest accepts connections to its port.
async fn probe(shared: &Shared, guest_port: u16) -> bool {
    if shared.count.packets_out.read() == 0 {
        // Not even its driver is there: questions would only pile up in front of it.
        return false;
    }
    let remote = gateway_endpoint(shared);
    let key = FlowKey { kind: FlowKind::Tcp, guest_port, remote };
    let Some(mut seat) = shared.tcp.open(key, shared.monotonic(), WhenFull::Refuse) else { return false };
    let seq_number = TcpSeqNumber(i32::from_le_bytes(random_bytes(shared.ids.as_ref())));
    let send = |control, seq_number| {
        let segment = frame::bare_segment(remote.port(), guest_port);
        let repr = smoltcp::wire::TcpRepr { control, seq_number, window_len: 1024, ..segment };
        shared.send([frame::segment(shared.guest(), *remote.ip(), shared.config.private_ip, &repr)]);
    };
    send(TcpControl::Syn, seq_number);
    let answer = tokio::time::timeout(PROBE_TIMEOUT, seat.packets.recv()).await;
    let accepted = matches!(answer, Ok(Some(packet)) if accepts(&packet));
    if accepted {
        send(TcpControl::Rst, seq_number + 1);
    }
    accepted
}

fn accepts(packet: &[u8]) -> bool {
    Ipv4Packet::new_checked(packet).is_ok_and(|packet| {
        TcpPacket::new_checked(packet.payload()).is_ok_and(|segment| segment.syn() && segment.ack())
    })
}
