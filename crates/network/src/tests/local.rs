//! What the port answers itself: DHCP, ARP, echo, DNS, metadata.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::dhcpv4;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet,
    Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::guest::{Guest, ethernet, ip, world};
use super::{config, dns_query};

#[tokio::test]
async fn a_guest_gets_its_address_router_and_resolvers() {
    let mut world = world(config());
    world.guest.interface.update_ip_addrs(|ips| {
        ips.pop();
    });
    let handle = world.guest.add(dhcpv4::Socket::new());
    let lease = world
        .guest
        .drive(|guest| match guest.sockets.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
            Some(dhcpv4::Event::Configured(lease)) => {
                Some((lease.address, lease.router, lease.dns_servers.to_vec()))
            }
            Some(dhcpv4::Event::Deconfigured) | None => None,
        })
        .await;
    assert_eq!(lease.0.to_string(), "10.0.0.5/24");
    assert_eq!((lease.1, lease.2), (Some(config().gateway), config().dns));
}

fn arp(sender: [u8; 6], asker: &str, wanted: &str) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(sender),
        source_protocol_addr: ip(asker),
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: ip(wanted),
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut ArpPacket::new_unchecked(&mut bytes));
    ethernet(config().mac, EthernetProtocol::Arp, &bytes)
}

/// The address that an ARP reply speaks of.
fn arp_reply(frame: &[u8]) -> Option<std::net::Ipv4Addr> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let repr = ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).ok()?).ok()?;
    let ArpRepr::EthernetIpv4 { operation: ArpOperation::Reply, source_protocol_addr, .. } = repr else {
        return None;
    };
    (frame.ethertype() == EthernetProtocol::Arp).then_some(source_protocol_addr)
}

#[tokio::test]
async fn every_address_but_the_guests_own_is_at_the_router() {
    let mut world = world(config());
    for wanted in ["10.0.0.1", "10.0.0.2", "10.0.0.200", "169.254.169.254", "169.254.169.253"] {
        let answer = world.guest.exchange(&arp(config().mac, "10.0.0.5", wanted), arp_reply).await;
        assert_eq!(answer, ip(wanted));
    }
    // A probe for its own address, an address elsewhere, and two lies stay without an answer: the
    // next answer is about the last question.
    for unanswered in [
        arp(config().mac, "0.0.0.0", "10.0.0.5"),
        arp(config().mac, "10.0.0.5", "192.0.2.1"),
        arp([2, 0, 0, 0, 0, 9], "10.0.0.5", "10.0.0.1"),
        arp(config().mac, "10.0.0.6", "10.0.0.1"),
    ] {
        world.guest.send_frame(&unanswered).await;
    }
    let answer = world.guest.exchange(&arp(config().mac, "0.0.0.0", "10.0.0.9"), arp_reply).await;
    assert_eq!(answer, ip("10.0.0.9"));
    assert_eq!(world.port.counters().dropped_spoofed, 2);
}

pub(super) fn echo_request(src: &str, dst: &str, seq_no: u16, data: &[u8]) -> Vec<u8> {
    let echo = Icmpv4Repr::EchoRequest { ident: 77, seq_no, data };
    let repr = Ipv4Repr {
        src_addr: ip(src),
        dst_addr: ip(dst),
        next_header: IpProtocol::Icmp,
        payload_len: echo.buffer_len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; 20 + echo.buffer_len()];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    echo.emit(&mut Icmpv4Packet::new_unchecked(&mut packet.payload_mut()), &ChecksumCapabilities::default());
    ethernet(config().mac, EthernetProtocol::Ipv4, &bytes)
}

/// Source, sequence number and data of an echo reply to this guest.
pub(super) fn echo_reply(frame: &[u8]) -> Option<(std::net::Ipv4Addr, u16, Vec<u8>)> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let message = Icmpv4Packet::new_checked(packet.payload()).ok()?;
    let repr = Icmpv4Repr::parse(&message, &ChecksumCapabilities::default()).ok()?;
    let Icmpv4Repr::EchoReply { ident: 77, seq_no, data } = repr else { return None };
    Some((packet.src_addr(), seq_no, data.to_vec()))
}

#[tokio::test]
async fn the_router_and_the_services_answer_pings() {
    let mut world = world(config());
    for (seq, dst) in (0..).zip(["10.0.0.1", "10.0.0.2", "169.254.169.254"]) {
        let answer = world.guest.exchange(&echo_request("10.0.0.5", dst, seq, b"ping"), echo_reply).await;
        assert_eq!(answer, (ip(dst), seq, b"ping".to_vec()));
    }
}

#[tokio::test]
async fn frames_from_other_sources_are_dropped() {
    let mut world = world(config());
    let mut other_mac = echo_request("10.0.0.5", "10.0.0.1", 1, b"");
    other_mac[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 6]);
    world.guest.send_frame(&other_mac).await;
    world.guest.send_frame(&echo_request("10.0.0.6", "10.0.0.1", 2, b"")).await;
    world.guest.send_frame(&echo_request("0.0.0.0", "10.0.0.1", 3, b"")).await;
    let answer = world.guest.exchange(&echo_request("10.0.0.5", "10.0.0.1", 4, b""), echo_reply).await;
    assert_eq!(answer.1, 4);
    let counters = world.port.counters();
    assert_eq!((counters.dropped_spoofed, counters.packets_out, counters.packets_in), (3, 4, 1));
}

/// Answers every query with its own bytes, reversed after the id.
async fn resolver() -> std::net::SocketAddr {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_535];
        while let Ok((len, from)) = udp.recv_from(&mut bytes).await {
            bytes[2..len].reverse();
            udp.send_to(&bytes[..len], from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut query).await.unwrap();
            query[2..].reverse();
            stream.write_u16(u16::try_from(query.len()).unwrap()).await.unwrap();
            stream.write_all(&query).await.unwrap();
        }
    });
    address
}

fn reversed(query: &[u8]) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2..].reverse();
    answer
}

#[tokio::test]
async fn names_are_resolved_by_the_hosts_resolvers_or_here() {
    let mut config = config();
    // The first resolver is not there: its port was free a moment ago.
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    config.resolvers = vec![gone, resolver().await];
    let mut world = world(config);
    let socket = world.guest.udp(5353);
    let query = dns_query(7, "example.com", 1);
    for server in ["10.0.0.2:53", "169.254.169.253:53"] {
        assert_eq!(world.guest.ask(socket, server, &query).await, reversed(&query));
    }
    let own = world.guest.ask(socket, "10.0.0.2:53", &dns_query(8, "ip-10-0-0-5", 1)).await;
    assert!(own.ends_with(&[10, 0, 0, 5]));
    // The first connection also finds its way past the missing resolver.
    assert_eq!(dns_over_tcp(&mut world.guest, &query).await, reversed(&query));
    let own = dns_over_tcp(&mut world.guest, &dns_query(8, "ip-10-0-0-5", 1)).await;
    assert!(own.ends_with(&[10, 0, 0, 5]));
}

async fn dns_over_tcp(guest: &mut Guest, query: &[u8]) -> Vec<u8> {
    let handle = guest.dial("10.0.0.2:53");
    assert!(guest.connected(handle).await);
    let len = u16::try_from(query.len()).unwrap();
    guest.send(handle, &[&len.to_be_bytes(), query].concat()).await;
    let len = guest.receive_exactly(handle, 2).await;
    guest.receive_exactly(handle, usize::from(u16::from_be_bytes([len[0], len[1]]))).await
}

#[tokio::test]
async fn without_a_resolver_lookups_fail() {
    let mut world = world(config());
    let socket = world.guest.udp(5353);
    let failed = world.guest.ask(socket, "10.0.0.2:53", &dns_query(7, "example.com", 1)).await;
    assert_eq!(failed[3] & 0xf, 2);
}

#[tokio::test]
async fn metadata_connections_reach_the_caller_with_the_hop_limit_it_sets() {
    let mut world = world(config());
    world.guest.wire.log = Some(Vec::new());
    let handle = world.guest.dial("169.254.169.254:80");
    assert!(world.guest.connected(handle).await);
    let mut stream = world.metadata.recv().await.unwrap();
    world.guest.send(handle, b"PUT /latest/api/token HTTP/1.0\r\n\r\n").await;
    let request = world
        .guest
        .beside(async move {
            let mut request = vec![0; 34];
            stream.read_exact(&mut request).await.unwrap();
            stream.set_hop_limit(1);
            stream.write_all(b"token").await.unwrap();
            request
        })
        .await;
    assert!(request.starts_with(b"PUT /latest"));
    assert_eq!(world.guest.receive_all(handle).await, b"token");
    let hop_limit_of = |payload: &[u8]| {
        let frames = world.guest.wire.log.iter().flatten();
        frames.filter(|frame| frame.ends_with(payload)).map(|frame| frame[14 + 8]).next_back()
    };
    assert_eq!(hop_limit_of(b"token"), Some(1));
    let first = world.guest.wire.log.iter().flatten().find(|frame| frame[14 + 9] == 6).unwrap();
    assert_eq!(first[14 + 8], 64);
    world.guest.tcp(handle).close();
    world
        .guest
        .drive(|guest| (guest.tcp(handle).state() != smoltcp::socket::tcp::State::LastAck).then_some(()))
        .await;
}

#[tokio::test]
async fn the_time_service_answers() {
    let mut world = world(config());
    let socket = world.guest.udp(5353);
    let mut question = [0; 48];
    question[0] = 0x23;
    let answer = world.guest.ask(socket, "169.254.169.123:123", &question).await;
    assert_eq!((answer.len(), answer[0]), (48, 0x24));
}

#[tokio::test]
async fn metadata_connections_are_refused_when_nobody_takes_them() {
    let mut world = world(config());
    world.metadata.close();
    let handle = world.guest.dial("169.254.169.254:80");
    assert!(!world.guest.connected(handle).await);
    let handle = world.guest.dial("169.254.169.254:81");
    assert!(!world.guest.connected(handle).await);
}
