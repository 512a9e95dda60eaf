//! Connections and datagrams of the guest through the host.

use std::net::SocketAddr;
use std::time::Duration;

use model::{Clock, SystemClock};
use smoltcp::socket::tcp::State;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, Ipv4Packet,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::config;
use super::guest::{World, ethernet, world};
use super::local::{echo_reply, echo_request};
use crate::{Cidr, HostService, Protocol, Rule};

/// A world whose guest reaches `host` at the gateway's port 1000.
fn world_with(host: SocketAddr) -> World {
    let mut config = config();
    config.host_services = vec![HostService { guest: "10.0.0.1:1000".parse().unwrap(), host }];
    world(config)
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn a_host_service_is_reached_at_the_gateway() {
    let (listener, address) = listener().await;
    let mut world = world_with(address);
    let handle = world.guest.dial("10.0.0.1:1000");
    assert!(world.guest.connected(handle).await);
    let (mut stream, _) = listener.accept().await.unwrap();
    world.guest.send(handle, b"hello").await;
    let mut bytes = [0; 5];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
    stream.write_all(b"world").await.unwrap();
    assert_eq!(world.guest.receive_exactly(handle, 5).await, b"world");
}

#[tokio::test]
async fn nothing_else_of_the_host_is_reached() {
    let (_listener, address) = listener().await;
    let mut world = world_with(address);
    let port = address.port();
    for forbidden in ["127.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.77", "169.254.10.10"] {
        let handle = world.guest.dial(&format!("{forbidden}:{port}"));
        assert!(!world.guest.connected(handle).await, "{forbidden}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_refused_and_a_reset_one_reset() {
    let (listener, address) = listener().await;
    let mut world = world_with(address);
    let handle = world.guest.dial("10.0.0.1:1000");
    assert!(world.guest.connected(handle).await);
    let (stream, _) = listener.accept().await.unwrap();
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop((stream, listener));
    world.guest.drive(|guest| (guest.tcp(handle).state() == State::Closed).then_some(())).await;
    let handle = world.guest.dial("10.0.0.1:1000");
    assert!(!world.guest.connected(handle).await);
}

#[tokio::test]
async fn a_reset_of_the_guest_resets_on_the_host() {
    let (listener, address) = listener().await;
    let mut world = world_with(address);
    let handle = world.guest.dial("10.0.0.1:1000");
    assert!(world.guest.connected(handle).await);
    let (mut stream, _) = listener.accept().await.unwrap();
    world.guest.tcp(handle).abort();
    let outcome = world.guest.beside(async move { stream.read_u8().await }).await;
    assert_eq!(outcome.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn each_side_may_finish_first_and_still_receive() {
    let (listener, address) = listener().await;
    let mut world = world_with(address);
    let handle = world.guest.dial("10.0.0.1:1000");
    assert!(world.guest.connected(handle).await);
    let (mut stream, _) = listener.accept().await.unwrap();
    world.guest.send(handle, b"question").await;
    world.guest.tcp(handle).close();
    world
        .guest
        .beside(async move {
            let mut question = Vec::new();
            stream.read_to_end(&mut question).await.unwrap();
            assert_eq!(question, b"question");
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.write_all(&vec![7; 300_000]).await.unwrap();
        })
        .await;
    assert_eq!(world.guest.receive_all(handle).await, vec![7; 300_000]);

    let handle = world.guest.dial("10.0.0.1:1000");
    assert!(world.guest.connected(handle).await);
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(world.guest.receive_all(handle).await.is_empty());
    let host = tokio::spawn(async move {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        all
    });
    world.guest.send(handle, &vec![8; 300_000]).await;
    world.guest.tcp(handle).close();
    world.guest.drive(|_| host.is_finished().then_some(())).await;
    assert_eq!(host.await.unwrap(), vec![8; 300_000]);
}

#[tokio::test]
async fn a_host_that_does_not_read_stops_the_guest() {
    let (listener, address) = listener().await;
    let mut world = world_with(address);
    let handle = world.guest.dial("10.0.0.1:1000");
    assert!(world.guest.connected(handle).await);
    let (mut stream, _) = listener.accept().await.unwrap();
    let chunk = vec![1; 65_536];
    let clock = SystemClock::new();
    let (mut sent, mut quiet_since) = (0, clock.monotonic());
    world
        .guest
        .drive(|guest| {
            let taken = guest.tcp(handle).send_slice(&chunk).unwrap();
            if taken > 0 {
                (sent, quiet_since) = (sent + taken, clock.monotonic());
            }
            (clock.monotonic().saturating_sub(quiet_since) > Duration::from_millis(300)).then_some(())
        })
        .await;
    world.guest.tcp(handle).close();
    let read = world
        .guest
        .beside(async move {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            all.len()
        })
        .await;
    assert_eq!(read, sent);
}

#[tokio::test]
async fn a_guest_that_does_not_receive_stops_the_host() {
    let (listener, address) = listener().await;
    let mut world = world_with(address);
    let handle = world.guest.dial("10.0.0.1:1000");
    assert!(world.guest.connected(handle).await);
    let (mut stream, _) = listener.accept().await.unwrap();
    // The card takes nothing meanwhile.
    let chunk = vec![3; 65_536];
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(300), stream.write(&chunk)).await {
        sent += written.unwrap();
    }
    assert!(sent > chunk.len() && world.port.counters().bytes_in < 4 << 20, "{sent}");
    stream.shutdown().await.unwrap();
    assert_eq!(world.guest.receive_all(handle).await.len(), sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_connections_at_once() {
    let (listener, address) = listener().await;
    let mut world = world_with(address);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
            });
        }
    });
    let handles: Vec<_> = (0..200).map(|_| world.guest.dial("10.0.0.1:1000")).collect();
    for (index, handle) in handles.iter().enumerate() {
        assert!(world.guest.connected(*handle).await);
        world.guest.send(*handle, format!("{index:04}").repeat(500).as_bytes()).await;
        world.guest.tcp(*handle).close();
    }
    for (index, handle) in handles.iter().enumerate() {
        assert_eq!(world.guest.receive_all(*handle).await, format!("{index:04}").repeat(500).as_bytes());
    }
}

#[tokio::test]
async fn datagrams_go_both_ways_whatever_their_size() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut world = world_with(socket.local_addr().unwrap());
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_535];
        while let Ok((len, from)) = socket.recv_from(&mut bytes).await {
            socket.send_to(&bytes[..len], from).await.unwrap();
        }
    });
    let handle = world.guest.udp(5000);
    assert_eq!(world.guest.ask(handle, "10.0.0.1:1000", b"ping").await, b"ping");
    let large: Vec<u8> = (0..1472u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    assert_eq!(world.guest.ask(handle, "10.0.0.1:1000", &large).await, large);
}

#[tokio::test]
async fn a_large_datagram_arrives_as_fragments_that_fit_together() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut world = world_with(socket.local_addr().unwrap());
    world.guest.wire.log = Some(Vec::new());
    let handle = world.guest.udp(5000);
    let guest = tokio::spawn(async move {
        let mut byte = [0];
        let (_, from) = socket.recv_from(&mut byte).await.unwrap();
        socket.send_to(&[9; 4000], from).await.unwrap();
    });
    let udp = world.guest.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(handle);
    udp.send_slice(b"x", "10.0.0.1:1000".parse::<std::net::SocketAddrV4>().unwrap()).unwrap();
    let mut payload = Vec::new();
    world
        .guest
        .drive(|guest| {
            payload.clear();
            for frame in guest.wire.log.iter().flatten() {
                let frame = EthernetFrame::new_checked(frame.as_slice()).unwrap();
                let Ok(packet) = Ipv4Packet::new_checked(frame.payload()) else { continue };
                if frame.ethertype() == EthernetProtocol::Ipv4 {
                    assert!(packet.verify_checksum() && packet.total_len() <= 1500);
                    assert_eq!(usize::from(packet.frag_offset()), payload.len());
                    payload.extend_from_slice(packet.payload());
                }
            }
            (payload.len() == 4008).then_some(())
        })
        .await;
    assert_eq!(payload[8..], [9; 4000]);
    guest.await.unwrap();
}

#[tokio::test]
async fn a_datagram_to_nobody_is_reported() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut world = world_with(socket.local_addr().unwrap());
    drop(socket);
    let handle = world.guest.udp(5000);
    world.guest.wire.log = Some(Vec::new());
    for to in ["10.0.0.1:1000", "10.0.0.1:1001"] {
        let to: std::net::SocketAddrV4 = to.parse().unwrap();
        let udp = world.guest.sockets.get_mut::<smoltcp::socket::udp::Socket<'_>>(handle);
        udp.send_slice(b"anyone?", to).unwrap();
        let unreachable_port = |frame: &Vec<u8>| {
            let packet = Ipv4Packet::new_checked(frame.get(14..)?).ok()?;
            let message = Icmpv4Packet::new_checked(packet.payload()).ok()?;
            let reported = message.msg_type() == Icmpv4Message::DstUnreachable
                && message.msg_code() == u8::from(Icmpv4DstUnreachable::PortUnreachable);
            let quoted = message.data().get(22..24)?;
            reported.then(|| u16::from_be_bytes([quoted[0], quoted[1]]))
        };
        world
            .guest
            .drive(|guest| {
                guest
                    .wire
                    .log
                    .iter()
                    .flatten()
                    .filter_map(unreachable_port)
                    .any(|p| p == to.port())
                    .then_some(())
            })
            .await;
    }
}

#[tokio::test]
async fn egress_rules_drop_in_silence_and_change_live() {
    let mut config = config();
    config.egress = Some(vec![]);
    let mut world = world(config);
    let handle = world.guest.dial("192.0.2.1:443");
    world.guest.drive(|_| (world.port.counters().dropped_by_rule > 0).then_some(())).await;
    assert_eq!(world.guest.tcp(handle).state(), State::SynSent);
    let rule = Rule { protocol: Protocol::Tcp, ports: 80..=80, cidrs: vec![Cidr::ANY] };
    world.port.set_egress(Some(vec![rule]));
    let dropped = world.port.counters().dropped_by_rule;
    let handle = world.guest.dial("192.0.2.1:81");
    world.guest.drive(|_| (world.port.counters().dropped_by_rule > dropped).then_some(())).await;
    assert_eq!(world.guest.tcp(handle).state(), State::SynSent);
}

#[tokio::test]
async fn segments_of_no_conversation_are_reset() {
    let mut world = world(config());
    let mut tcp = crate::frame::bare_segment(4000, 5000);
    tcp.ack_number = Some(smoltcp::wire::TcpSeqNumber(77));
    let (own, far) = (config().private_ip, "192.0.2.1".parse().unwrap());
    let frame = crate::frame::segment(crate::frame::ROUTER_MAC, own, far, &tcp);
    let mut bytes = frame.on_stream()[4..].to_vec();
    bytes[6..12].copy_from_slice(&config().mac);
    let reset = world
        .guest
        .exchange(&bytes, |frame| {
            let packet = Ipv4Packet::new_checked(frame.get(14..)?).ok()?;
            let segment = smoltcp::wire::TcpPacket::new_checked(packet.payload()).ok()?;
            segment.rst().then(|| segment.seq_number().0)
        })
        .await;
    assert_eq!(reset, 77);
}

#[tokio::test]
async fn pings_to_the_outside_use_the_hosts_sockets_where_it_allows_them() {
    let mut config = config();
    let host = "127.0.0.1:0".parse().unwrap();
    config.host_services = vec![HostService { guest: "10.0.0.99:0".parse().unwrap(), host }];
    let mut world = world(config);
    if crate::datagram::host_allows_echo() {
        let request = echo_request("10.0.0.5", "10.0.0.99", 3, b"far");
        assert_eq!(world.guest.exchange(&request, echo_reply).await.2, b"far");
    }
    // Forbidden ones have no answer either way; the router still does.
    world.guest.send_frame(&echo_request("10.0.0.5", "127.0.0.1", 4, b"")).await;
    let answer = world.guest.exchange(&echo_request("10.0.0.5", "10.0.0.1", 5, b""), echo_reply).await;
    assert_eq!(answer.1, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throughput_is_printed() {
    const BYTES: usize = 64 << 20;
    let clock = SystemClock::new();
    let (listener, address) = listener().await;
    let mut world = world_with(address);
    let host = tokio::spawn(async move {
        let (mut upload, _) = listener.accept().await.unwrap();
        let mut sink = vec![0; 1 << 20];
        let mut total = 0;
        while total < BYTES {
            total += upload.read(&mut sink).await.unwrap();
        }
        upload.write_u8(1).await.unwrap();
        let (mut download, _) = listener.accept().await.unwrap();
        let chunk = vec![5; 1 << 20];
        for _ in 0..BYTES >> 20 {
            download.write_all(&chunk).await.unwrap();
        }
    });
    let start = clock.monotonic();
    let handle = world.guest.dial("10.0.0.1:1000");
    assert!(world.guest.connected(handle).await);
    world.guest.send(handle, &vec![6; BYTES]).await;
    world.guest.receive_exactly(handle, 1).await;
    let up = clock.monotonic().saturating_sub(start);
    let start = clock.monotonic();
    let handle = world.guest.dial("10.0.0.1:1000");
    assert!(world.guest.connected(handle).await);
    let mut got = 0;
    world
        .guest
        .drive(|guest| {
            got += guest.tcp(handle).recv(|bytes| (bytes.len(), bytes.len())).unwrap_or(0);
            (got == BYTES).then_some(())
        })
        .await;
    host.await.unwrap();
    let down = clock.monotonic().saturating_sub(start);
    println!("{} MiB up in {up:?}, down in {down:?}", BYTES >> 20);
}

#[tokio::test]
async fn frames_of_noise_change_nothing() {
    use model::{IdGen, SeededIdGen};
    let mut world = world(config());
    let noise = SeededIdGen::new(3);
    let valid = echo_request("10.0.0.5", "10.0.0.1", 1, b"data");
    for round in 0..4000 {
        let mut random = [0; 64];
        noise.fill(&mut random);
        let frame = match round % 4 {
            0 => random.to_vec(),
            1 => ethernet(config().mac, EthernetProtocol::Ipv4, &random),
            2 => ethernet(config().mac, EthernetProtocol::Arp, &random),
            _ => mutated(&valid, &random, round),
        };
        world.guest.wire.log = None;
        world.guest.send_frame(&frame).await;
    }
    world.guest.send_frame(&[]).await;
    let request = echo_request("10.0.0.5", "10.0.0.1", 999, b"");
    assert_eq!(world.guest.exchange(&request, echo_reply).await.1, 999);
}

/// A valid packet of every protocol with a valid IP header, and noise in the rest.
fn mutated(valid: &[u8], random: &[u8; 64], round: u16) -> Vec<u8> {
    let mut frame = valid.to_vec();
    frame.resize(14 + 20 + 40, 0);
    frame[14 + 20..].copy_from_slice(&random[..40]);
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
    packet.set_total_len(20 + u16::from(random[40]) % 41);
    packet.set_next_header([1, 6, 17].map(smoltcp::wire::IpProtocol::from)[usize::from(round / 4 % 3)]);
    // Ports of services, so that their parsers see noise as well.
    packet.set_dst_addr(
        [[10, 0, 0, 1], [10, 0, 0, 2], [169, 254, 169, 254]][usize::from(random[41]) % 3].into(),
    );
    packet.fill_checksum();
    if random[42] & 1 == 0 {
        // A connection request or question to one of those services, with noise for the rest.
        let port = [53, 80, 123, 67][usize::from(random[43] & 3)];
        frame[14 + 22..14 + 24].copy_from_slice(&[0, port]);
        frame[14 + 32..14 + 34].copy_from_slice(&[0x50 + (random[44] & 0x50), 0x02]);
    }
    frame
}

#[tokio::test]
async fn the_end_of_a_port_ends_its_connections() {
    let (listener, address) = listener().await;
    let mut world = world_with(address);
    let handle = world.guest.dial("10.0.0.1:1000");
    assert!(world.guest.connected(handle).await);
    let (mut stream, _): (TcpStream, _) = listener.accept().await.unwrap();
    world.port.shutdown().await;
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
}
