//! UDP and echo conversations through the host: one connected socket each, until it is idle.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Ipv4Packet};
use tokio::net::UdpSocket;

use crate::config::Destination;
use crate::flows::{Delivery, FlowKey, FlowKind, Seat, WhenFull};
use crate::frame::{self, Frame, Quote};
use crate::outbound::is_the_host_itself;
use crate::port::Shared;
use crate::rules::Protocol;
use crate::switch::Unwanted;

/// After this long without a packet either way, a conversation is forgotten.
const IDLE: Duration = Duration::from_mins(1);
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// A packet of the guest and the part of it that travels on.
#[derive(Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) packet: &'a Ipv4Packet<&'a [u8]>,
    pub(crate) payload: &'a [u8],
}

/// Hands a datagram to its conversation, or begins one.
pub(crate) fn send(shared: &Arc<Shared>, key: FlowKey, datagram: &Datagram<'_>) -> Result<(), Unwanted> {
    let now = shared.monotonic();
    match shared.datagrams.deliver(&key, now, datagram.payload) {
        Delivery::Done => return Ok(()),
        Delivery::QueueFull => return Err(Unwanted::ByLimit),
        Delivery::NoSuchFlow => {}
    }
    let protocol = match key.kind {
        FlowKind::Echo => Protocol::Icmp,
        FlowKind::Udp | FlowKind::Tcp => Protocol::Udp,
    };
    let to = match shared.destination(protocol, key.remote) {
        Destination::Host(to) => to,
        Destination::Blocked => return Err(Unwanted::ByRule),
        Destination::Forbidden | Destination::Metadata | Destination::Dns => {
            if !is_group(datagram.packet.dst_addr()) {
                refused(shared, &key, &Quote::of(datagram.packet));
            }
            return Ok(());
        }
    };
    let seat = shared.datagrams.open(key, now, WhenFull::EvictOldest).ok_or(Unwanted::ByLimit)?;
    shared.datagrams.deliver(&key, now, datagram.payload);
    shared.spawn(converse(Arc::clone(shared), seat, to, Quote::of(datagram.packet)));
    Ok(())
}

fn is_group(ip: Ipv4Addr) -> bool {
    ip.is_multicast() || ip.is_broadcast()
}

/// `first` is the packet to speak of when the far end refuses.
async fn converse(shared: Arc<Shared>, mut seat: Seat, to: SocketAddr, first: Quote) {
    let socket = match open(seat.key.kind, to).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, %to, "no socket for a datagram");
            if error.kind() == io::ErrorKind::ConnectionRefused {
                refused(&shared, &seat.key, &first);
            }
            return;
        }
    };
    let mut buffer = Vec::with_capacity(DATAGRAM_BYTES_MAX);
    loop {
        buffer.clear();
        let outcome = tokio::select! {
            packet = seat.packets.recv() => match packet {
                Some(payload) => socket.send(&payload).await.map(|_| ()),
                None => return,
            },
            received = socket.recv_buf(&mut buffer) => {
                received.map(|_| shared.send(to_guest(&shared, &seat.key, &buffer)))
            }
            () = tokio::time::sleep(IDLE) => return,
        };
        match outcome.map_err(|error| error.kind()) {
            Err(io::ErrorKind::ConnectionRefused) => refused(&shared, &seat.key, &first),
            Err(_) => return,
            Ok(()) => {}
        }
    }
}

async fn open(kind: FlowKind, to: SocketAddr) -> io::Result<UdpSocket> {
    if is_the_host_itself(to).await? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let socket = match kind {
        FlowKind::Echo => echo_socket()?,
        FlowKind::Udp | FlowKind::Tcp => {
            let any: IpAddr =
                if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            UdpSocket::bind((any, 0)).await?
        }
    };
    socket.connect(to).await?;
    Ok(socket)
}

/// An unprivileged ICMP socket, where the host allows them (`net.ipv4.ping_group_range`). It has the
/// same calls as a UDP socket.
fn echo_socket() -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, Some(ipproto::ICMP))?;
    UdpSocket::from_std(std::net::UdpSocket::from(socket))
}

fn to_guest(shared: &Shared, key: &FlowKey, bytes: &[u8]) -> Vec<Frame> {
    let (from, guest) = (*key.remote.ip(), shared.config.private_ip);
    match key.kind {
        FlowKind::Udp | FlowKind::Tcp => {
            frame::udp(shared.guest(), (from, key.remote.port()), (guest, key.guest_port), bytes)
        }
        FlowKind::Echo => echo_reply(bytes, key.guest_port)
            .map(|reply| frame::icmp(shared.guest(), from, guest, &reply))
            .unwrap_or_default(),
    }
}

/// The reply with the guest's own identifier: the host's kernel used another.
fn echo_reply(bytes: &[u8], ident: u16) -> Option<Icmpv4Repr<'_>> {
    let message = Icmpv4Packet::new_checked(bytes).ok()?;
    let repr = Icmpv4Repr::parse(&message, &ChecksumCapabilities::ignored()).ok()?;
    let Icmpv4Repr::EchoReply { seq_no, data, .. } = repr else { return None };
    Some(Icmpv4Repr::EchoReply { ident, seq_no, data })
}

fn refused(shared: &Shared, key: &FlowKey, about: &Quote) {
    if key.kind == FlowKind::Udp {
        let reason = Icmpv4DstUnreachable::PortUnreachable;
        shared.send(frame::unreachable(shared.guest(), *key.remote.ip(), about, reason));
    }
}

#[cfg(test)]
pub(crate) fn host_allows_echo() -> bool {
    echo_socket().is_ok()
}
