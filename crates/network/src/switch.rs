//! Every frame of the guest comes through here once: checked for its source, then handed to whoever
//! answers it.

use std::net::SocketAddrV4;
use std::sync::Arc;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol, Icmpv4Packet, Icmpv4Repr, IpProtocol,
    Ipv4Packet, TcpPacket, UdpPacket,
};

use crate::config::TIME_IP;
use crate::datagram::{self, Datagram};
use crate::flows::{Delivery, FlowKey, FlowKind};
use crate::frame::Frame;
use crate::port::Shared;
use crate::{dhcp, dns, frame, outbound, time_sync};

/// Why a frame went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwanted {
    Spoofed,
    Malformed,
    ByRule,
    ByLimit,
}

/// The one error of the parsers: not a packet.
impl From<smoltcp::wire::Error> for Unwanted {
    fn from(_: smoltcp::wire::Error) -> Self {
        Self::Malformed
    }
}

/// Handles one Ethernet frame. Never waits.
pub(crate) fn from_guest(shared: &Arc<Shared>, bytes: &[u8]) {
    let Err(reason) = ethernet(shared, bytes) else { return };
    let count = &shared.count;
    match reason {
        Unwanted::Spoofed => count.dropped_spoofed.add(1),
        Unwanted::Malformed => count.dropped_malformed.add(1),
        Unwanted::ByRule => count.dropped_by_rule.add(1),
        Unwanted::ByLimit => count.dropped_by_limit.add(1),
    }
}

fn ethernet(shared: &Arc<Shared>, bytes: &[u8]) -> Result<(), Unwanted> {
    let frame = EthernetFrame::new_checked(bytes)?;
    if frame.src_addr() != shared.guest() {
        return Err(Unwanted::Spoofed);
    }
    match frame.ethertype() {
        EthernetProtocol::Arp => arp(shared, frame.payload()),
        EthernetProtocol::Ipv4 => ipv4(shared, frame.payload()),
        // Every guest with IPv6 looks for a router now and then; there is none.
        EthernetProtocol::Ipv6 => Ok(()),
        EthernetProtocol::Unknown(_) => Err(Unwanted::Malformed),
    }
}

fn arp(shared: &Shared, bytes: &[u8]) -> Result<(), Unwanted> {
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr: asker,
        target_protocol_addr: wanted,
        ..
    } = ArpRepr::parse(&ArpPacket::new_checked(bytes)?)?
    else {
        return Err(Unwanted::Malformed);
    };
    let config = &shared.config;
    // A probe for a free address asks from no address.
    let own_source = asker == config.private_ip || asker.is_unspecified();
    if source_hardware_addr != shared.guest() || !own_source {
        return Err(Unwanted::Spoofed);
    }
    let ours = config.is_own(wanted) || config.subnet().contains(wanted);
    if operation == ArpOperation::Request && ours && wanted != config.private_ip {
        shared.send([Frame::arp_reply(shared.guest(), asker, wanted)]);
    }
    Ok(())
}

fn ipv4(shared: &Arc<Shared>, bytes: &[u8]) -> Result<(), Unwanted> {
    let packet = Ipv4Packet::new_checked(bytes)?;
    if packet.version() != 4 || !packet.verify_checksum() {
        return Err(Unwanted::Malformed);
    }
    if packet.total_len() > shared.config.mtu() {
        return Err(Unwanted::Malformed);
    }
    if packet.src_addr() != shared.config.private_ip {
        return if dhcp::is_request(&packet) { dhcp(shared, &packet) } else { Err(Unwanted::Spoofed) };
    }
    if packet.more_frags() || packet.frag_offset() != 0 {
        // Nothing that matters sends fragments to a router; putting them together costs memory that
        // the guest would decide about.
        return Err(Unwanted::ByLimit);
    }
    let protocol = packet.next_header();
    if protocol == IpProtocol::Tcp {
        tcp(shared, &packet, bytes)
    } else if protocol == IpProtocol::Udp {
        udp(shared, &packet)
    } else if protocol == IpProtocol::Icmp {
        icmp(shared, &packet)
    } else {
        Err(Unwanted::Malformed)
    }
}

fn tcp(shared: &Arc<Shared>, packet: &Ipv4Packet<&[u8]>, bytes: &[u8]) -> Result<(), Unwanted> {
    let segment = TcpPacket::new_checked(packet.payload())?;
    let (guest_port, port) = (segment.src_port(), segment.dst_port());
    if guest_port == 0 || port == 0 {
        return Err(Unwanted::Malformed);
    }
    let key = FlowKey { kind: FlowKind::Tcp, guest_port, remote: SocketAddrV4::new(packet.dst_addr(), port) };
    match shared.tcp.deliver(&key, shared.monotonic(), bytes) {
        Delivery::Done => Ok(()),
        Delivery::QueueFull => Err(Unwanted::ByLimit),
        Delivery::NoSuchFlow if segment.syn() && !segment.ack() => outbound::begin(shared, key, bytes),
        Delivery::NoSuchFlow => {
            shared.send(frame::reset(shared.guest(), packet));
            Ok(())
        }
    }
}

fn udp(shared: &Arc<Shared>, packet: &Ipv4Packet<&[u8]>) -> Result<(), Unwanted> {
    let udp = UdpPacket::new_checked(packet.payload())?;
    if udp.dst_port() == 0 || !udp.verify_checksum(&packet.src_addr().into(), &packet.dst_addr().into()) {
        return Err(Unwanted::Malformed);
    }
    if dhcp::is_request(packet) {
        return dhcp(shared, packet);
    }
    let to = SocketAddrV4::new(packet.dst_addr(), udp.dst_port());
    if shared.config.is_dns(*to.ip()) && to.port() == dns::PORT {
        return dns::begin(shared, to, udp.src_port(), udp.payload());
    }
    if *to.ip() == TIME_IP && to.port() == time_sync::PORT {
        let answer = time_sync::answer(udp.payload(), shared.clock.now()).ok_or(Unwanted::Malformed)?;
        let guest = (packet.src_addr(), udp.src_port());
        shared.send(frame::udp(shared.guest(), (TIME_IP, time_sync::PORT), guest, &answer));
        return Ok(());
    }
    let key = FlowKey { kind: FlowKind::Udp, guest_port: udp.src_port(), remote: to };
    datagram::send(shared, key, &Datagram { packet, payload: udp.payload() })
}

fn dhcp(shared: &Shared, packet: &Ipv4Packet<&[u8]>) -> Result<(), Unwanted> {
    let udp = UdpPacket::new_checked(packet.payload())?;
    if let Some(reply) = dhcp::answer(&shared.config, udp.payload())? {
        let from = (shared.config.gateway, dhcp::SERVER_PORT);
        shared.send(frame::udp(reply.hardware, from, (reply.to, dhcp::CLIENT_PORT), &reply.bytes));
    }
    Ok(())
}

fn icmp(shared: &Arc<Shared>, packet: &Ipv4Packet<&[u8]>) -> Result<(), Unwanted> {
    let checksums = ChecksumCapabilities::default();
    let message = Icmpv4Packet::new_checked(packet.payload())?;
    let Icmpv4Repr::EchoRequest { ident, seq_no, data } = Icmpv4Repr::parse(&message, &checksums)? else {
        // News about conversations that end here: their sockets find out by themselves.
        return Ok(());
    };
    let to = packet.dst_addr();
    if shared.config.is_own(to) {
        let reply = Icmpv4Repr::EchoReply { ident, seq_no, data };
        shared.send(frame::icmp(shared.guest(), to, packet.src_addr(), &reply));
        return Ok(());
    }
    let key = FlowKey { kind: FlowKind::Echo, guest_port: ident, remote: SocketAddrV4::new(to, 0) };
    datagram::send(shared, key, &Datagram { packet, payload: packet.payload() })
}
