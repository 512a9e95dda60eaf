//! Connections that the guest begins: to the metadata service, DNS over TCP, or through the host.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smoltcp::wire::{Icmpv4DstUnreachable, Ipv4Packet};
use tokio::io::duplex;
use tokio::net::{TcpStream, UdpSocket};

use crate::config::Destination;
use crate::flows::{FlowKey, Packet, Seat, WhenFull};
use crate::frame::Quote;
use crate::metadata::{HopLimit, MetadataStream};
use crate::port::Shared;
use crate::rules::Protocol;
use crate::switch::Unwanted;
use crate::tcp::{Conversation, Opening, Peer};
use crate::{dns, frame};

/// Longer than guests wait themselves would only keep dead conversations in the table.
const CONNECT_TIMEOUT: Duration = Duration::from_mins(1);
const SERVICE_PIPE_BYTES: usize = 64 * 1024;

/// Handles a connection request that belongs to no conversation yet.
pub(crate) fn begin(shared: &Arc<Shared>, key: FlowKey, syn: &[u8]) -> Result<(), Unwanted> {
    match shared.destination(Protocol::Tcp, key.remote) {
        Destination::Blocked => return Err(Unwanted::ByRule),
        Destination::Forbidden => refuse(shared, syn),
        Destination::Metadata => {
            // A slot first: without one, nobody would answer.
            let Ok(slot) = shared.metadata.clone().try_reserve_owned() else {
                refuse(shared, syn);
                return Err(Unwanted::ByLimit);
            };
            let (seat, syn) = seat(shared, key, syn)?;
            let hop_limit = HopLimit::new();
            let (ours, theirs) = duplex(SERVICE_PIPE_BYTES);
            drop(slot.send(MetadataStream::new(theirs, hop_limit.clone())));
            converse(shared, seat, Peer::Service(ours), hop_limit, syn);
        }
        Destination::Dns => {
            let (seat, syn) = seat(shared, key, syn)?;
            let (ours, theirs) = duplex(SERVICE_PIPE_BYTES);
            shared.spawn(dns::serve_stream(Arc::clone(shared), theirs));
            converse(shared, seat, Peer::Service(ours), HopLimit::new(), syn);
        }
        Destination::Host(to) => {
            let (seat, syn) = seat(shared, key, syn)?;
            shared.spawn(through_host(Arc::clone(shared), seat, to, syn));
        }
    }
    Ok(())
}

/// A place in the table, and the request itself counted among what waits.
fn seat(shared: &Shared, key: FlowKey, syn: &[u8]) -> Result<(Seat, Packet), Unwanted> {
    let now = shared.monotonic();
    let mut seat = shared.tcp.open(key, now, WhenFull::Refuse).ok_or(Unwanted::ByLimit)?;
    shared.tcp.deliver(&key, now, syn);
    let syn = seat.packets.try_recv().map_err(|_| Unwanted::ByLimit)?;
    Ok((seat, syn))
}

fn converse(shared: &Shared, seat: Seat, peer: Peer, hop_limit: HopLimit, syn: Packet) {
    shared.spawn(Conversation::new(shared, seat, peer, hop_limit, Opening::Guest { syn }));
}

/// Answers the guest only once the far end did, so that a refusal there is one here.
async fn through_host(shared: Arc<Shared>, mut seat: Seat, to: SocketAddr, syn: Packet) {
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, connect(to)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return explain(&shared, &error, &syn),
        Err(_) => return,
    };
    // The guest may have repeated its request meanwhile.
    while seat.packets.try_recv().is_ok() {}
    Conversation::new(&shared, seat, Peer::Host(stream), HopLimit::new(), Opening::Guest { syn }).await;
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    if is_the_host_itself(to).await? {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    let stream = TcpStream::connect(to).await?;
    // A connection to an unused port of this host can end up connected to itself.
    if stream.local_addr()? == to {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    tune(&stream);
    Ok(stream)
}

/// Whether the address is one of the host's interfaces, whose services trust whoever reaches them from the
/// host. The kernel sends from the address itself just then; asking it sends no packet. A loopback address gets
/// here only where the configuration names it.
pub(crate) async fn is_the_host_itself(to: SocketAddr) -> io::Result<bool> {
    if to.ip().is_loopback() {
        return Ok(false);
    }
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    Ok(socket.local_addr()?.ip() == to.ip())
}

/// Small writes go out at once, and a far end that vanished is noticed.
pub(crate) fn tune(stream: &TcpStream) {
    let tuned =
        stream.set_nodelay(true).and_then(|()| Ok(rustix::net::sockopt::set_socket_keepalive(stream, true)?));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a connection keeps its default options");
    }
}

fn refuse(shared: &Shared, syn: &[u8]) {
    if let Ok(packet) = Ipv4Packet::new_checked(syn) {
        shared.send(frame::reset(shared.guest(), &packet));
    }
}

/// Failures of a connection that a router reports; any other is a refusal.
const REPORTED: [(ErrorKind, Icmpv4DstUnreachable); 3] = [
    (ErrorKind::HostUnreachable, Icmpv4DstUnreachable::HostUnreachable),
    (ErrorKind::NetworkUnreachable, Icmpv4DstUnreachable::NetUnreachable),
    (ErrorKind::PermissionDenied, Icmpv4DstUnreachable::CommProhibited),
];

fn explain(shared: &Shared, error: &io::Error, syn: &[u8]) {
    let Some((_, reason)) = REPORTED.iter().find(|(kind, _)| *kind == error.kind()) else {
        return refuse(shared, syn);
    };
    if let Ok(packet) = Ipv4Packet::new_checked(syn) {
        shared.send(frame::unreachable(shared.guest(), shared.config.gateway, &Quote::of(&packet), *reason));
    }
}
