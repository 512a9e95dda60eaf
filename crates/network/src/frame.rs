//! Building the frames that go to the guest.

use std::net::Ipv4Addr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket,
    TcpRepr, TcpSeqNumber, UdpPacket, UdpRepr,
};

/// Every address behind the card answers with this hardware address: one router, nobody else.
pub(crate) const ROUTER_MAC: EthernetAddress = EthernetAddress([0x02, 0x4b, 0x47, 0x00, 0x00, 0x01]);

pub(crate) const HOP_LIMIT: u8 = 64;
pub(crate) const LENGTH_PREFIX_LEN: usize = 4;
const ETHERNET_HEADER_LEN: usize = 14;
pub(crate) const IPV4_HEADER_LEN: usize = 20;
const UDP_HEADER_LEN: usize = 8;

/// Larger datagrams are fragmented: unlike TCP, nothing tells the sender what the guest's card takes.
const DATAGRAM_MTU: usize = 1500;

/// An Ethernet frame behind its length, ready for the stream.
#[derive(Debug)]
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    fn new(
        to: EthernetAddress,
        ethertype: EthernetProtocol,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Self {
        let frame_len = ETHERNET_HEADER_LEN + len;
        let mut bytes = vec![0; LENGTH_PREFIX_LEN + frame_len];
        let (prefix, rest) = bytes.split_at_mut(LENGTH_PREFIX_LEN);
        prefix.copy_from_slice(&u32::try_from(frame_len).unwrap_or(0).to_be_bytes());
        let mut frame = EthernetFrame::new_unchecked(rest);
        EthernetRepr { src_addr: ROUTER_MAC, dst_addr: to, ethertype }.emit(&mut frame);
        fill(frame.payload_mut());
        Self(bytes)
    }

    /// A frame around an IPv4 packet of `len` bytes that `fill` writes.
    pub(crate) fn ipv4(to: EthernetAddress, len: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        Self::new(to, EthernetProtocol::Ipv4, len, fill)
    }

    /// "The address `ip` is at the router", to whoever asked.
    pub(crate) fn arp_reply(to: EthernetAddress, asker: Ipv4Addr, ip: Ipv4Addr) -> Self {
        let repr = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: ROUTER_MAC,
            source_protocol_addr: ip,
            target_hardware_addr: to,
            target_protocol_addr: asker,
        };
        Self::new(to, EthernetProtocol::Arp, repr.buffer_len(), |bytes| {
            repr.emit(&mut ArpPacket::new_unchecked(bytes));
        })
    }

    /// With the length in front, as the stream carries it.
    pub(crate) fn on_stream(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn ethernet_len(&self) -> usize {
        self.0.len() - LENGTH_PREFIX_LEN
    }
}

/// The IPv4 header of `payload_len` bytes from `src` to `dst`.
fn header(src: Ipv4Addr, dst: Ipv4Addr, next_header: IpProtocol, payload_len: usize) -> Ipv4Repr {
    Ipv4Repr { src_addr: src, dst_addr: dst, next_header, payload_len, hop_limit: HOP_LIMIT }
}

/// A whole IPv4 packet whose payload `fill` writes.
fn packet(repr: &Ipv4Repr, fill: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = vec![0; IPV4_HEADER_LEN + repr.payload_len];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    fill(packet.payload_mut());
    bytes
}

fn framed(to: EthernetAddress, packet: &[u8]) -> Frame {
    Frame::ipv4(to, packet.len(), |bytes| bytes.copy_from_slice(packet))
}

/// A UDP datagram as one frame, or as the frames of its fragments.
pub(crate) fn udp(
    to: EthernetAddress,
    (src_addr, src_port): (Ipv4Addr, u16),
    (dst_addr, dst_port): (Ipv4Addr, u16),
    payload: &[u8],
) -> Vec<Frame> {
    let ip = header(src_addr, dst_addr, IpProtocol::Udp, UDP_HEADER_LEN + payload.len());
    let bytes = packet(&ip, |bytes| {
        UdpRepr { src_port, dst_port }.emit(
            &mut UdpPacket::new_unchecked(bytes),
            &src_addr.into(),
            &dst_addr.into(),
            payload.len(),
            |to| to.copy_from_slice(payload),
            &ChecksumCapabilities::default(),
        );
    });
    fragments(to, &ip, &bytes)
}

/// An ICMP message, whole or fragmented.
pub(crate) fn icmp(
    to: EthernetAddress,
    src: Ipv4Addr,
    dst: Ipv4Addr,
    message: &Icmpv4Repr<'_>,
) -> Vec<Frame> {
    let ip = header(src, dst, IpProtocol::Icmp, message.buffer_len());
    let bytes = packet(&ip, |mut bytes| {
        message.emit(&mut Icmpv4Packet::new_unchecked(&mut bytes), &ChecksumCapabilities::default());
    });
    fragments(to, &ip, &bytes)
}

fn fragments(to: EthernetAddress, ip: &Ipv4Repr, bytes: &[u8]) -> Vec<Frame> {
    if bytes.len() <= DATAGRAM_MTU {
        return vec![framed(to, bytes)];
    }
    // Offsets count in units of eight bytes.
    let piece_len = (DATAGRAM_MTU - IPV4_HEADER_LEN) & !7;
    let payload = bytes.get(IPV4_HEADER_LEN..).unwrap_or_default();
    // One datagram's fragments share an identification; its bytes' checksum is one that differs
    // between datagrams in flight.
    let ident = payload.iter().fold(0u16, |sum, byte| sum.rotate_left(5).wrapping_add(u16::from(*byte)));
    let last = payload.len().div_ceil(piece_len) - 1;
    let pieces = payload.chunks(piece_len).enumerate();
    pieces.map(|(index, piece)| framed(to, &fragment(ip, ident, (index, index < last), piece))).collect()
}

fn fragment(ip: &Ipv4Repr, ident: u16, (index, more): (usize, bool), piece: &[u8]) -> Vec<u8> {
    let repr = Ipv4Repr { payload_len: piece.len(), ..*ip };
    let mut bytes = packet(&repr, |to| to.copy_from_slice(piece));
    let mut header = Ipv4Packet::new_unchecked(&mut bytes);
    header.set_ident(ident);
    header.set_dont_frag(false);
    header.set_more_frags(more);
    // The wire counts offsets in eights; this setter takes bytes.
    header.set_frag_offset(u16::try_from(index * ((DATAGRAM_MTU - IPV4_HEADER_LEN) & !7)).unwrap_or(0));
    header.fill_checksum();
    bytes
}

/// What an error message repeats of the packet that it is about: enough to find the sender's socket.
#[derive(Debug, Clone)]
pub(crate) struct Quote {
    header: Ipv4Repr,
    ports: Vec<u8>,
}

impl Quote {
    pub(crate) fn of(packet: &Ipv4Packet<&[u8]>) -> Self {
        let payload = packet.payload();
        let header = Ipv4Repr {
            src_addr: packet.src_addr(),
            dst_addr: packet.dst_addr(),
            next_header: packet.next_header(),
            payload_len: payload.len(),
            hop_limit: packet.hop_limit(),
        };
        Self { header, ports: payload.get(..8).unwrap_or(payload).to_vec() }
    }
}

/// "`reason` unreachable", about a packet that the guest sent.
pub(crate) fn unreachable(
    to: EthernetAddress,
    from: Ipv4Addr,
    about: &Quote,
    reason: Icmpv4DstUnreachable,
) -> Vec<Frame> {
    let message = Icmpv4Repr::DstUnreachable { reason, header: about.header, data: &about.ports };
    icmp(to, from, about.header.src_addr, &message)
}

/// One TCP segment without payload.
pub(crate) fn segment(to: EthernetAddress, src: Ipv4Addr, dst: Ipv4Addr, tcp: &TcpRepr<'_>) -> Frame {
    let bytes = packet(&header(src, dst, IpProtocol::Tcp, tcp.buffer_len()), |bytes| {
        tcp.emit(
            &mut TcpPacket::new_unchecked(bytes),
            &src.into(),
            &dst.into(),
            &ChecksumCapabilities::default(),
        );
    });
    framed(to, &bytes)
}

/// The reset that answers a segment of the guest, or None for a reset.
pub(crate) fn reset(to: EthernetAddress, about: &Ipv4Packet<&[u8]>) -> Option<Frame> {
    let tcp = TcpPacket::new_checked(about.payload()).ok()?;
    if tcp.rst() {
        return None;
    }
    let (seq_number, ack_number) = if tcp.ack() {
        (tcp.ack_number(), None)
    } else {
        (TcpSeqNumber(0), Some(tcp.seq_number() + tcp.segment_len()))
    };
    let repr = TcpRepr {
        control: TcpControl::Rst,
        seq_number,
        ack_number,
        ..bare_segment(tcp.dst_port(), tcp.src_port())
    };
    Some(segment(to, about.dst_addr(), about.src_addr(), &repr))
}

/// A segment with nothing in it, to be filled in.
pub(crate) fn bare_segment(src_port: u16, dst_port: u16) -> TcpRepr<'static> {
    TcpRepr {
        src_port,
        dst_port,
        control: TcpControl::None,
        seq_number: TcpSeqNumber(0),
        ack_number: None,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}
