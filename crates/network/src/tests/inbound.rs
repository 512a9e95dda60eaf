//! Connections from the host into the guest.

use std::net::SocketAddr;
use std::time::Duration;

use smoltcp::socket::tcp::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::config;
use super::guest::{PATIENCE, World, world};
use super::local::echo_request;
use crate::{Forward, Port, Protocol, Rule};

const PUBLIC_IP: [u8; 4] = [127, 83, 17, 5];

fn allow(port: u16, cidr: &str) -> Rule {
    Rule { protocol: Protocol::Tcp, ports: port..=port, cidrs: vec![cidr.parse().unwrap()] }
}

/// A guest that has said something already: before, nobody asks it anything.
async fn world_with(rules: Vec<Rule>, last_octet: u8) -> World {
    let mut config = config();
    let [a, b, c, _] = PUBLIC_IP;
    config.public_ip = Some([a, b, c, last_octet].into());
    config.ingress = rules;
    let mut world = world(config);
    world.guest.send_frame(&echo_request("10.0.0.5", "10.0.0.1", 0, b"")).await;
    world
}

async fn forwards(port: &Port, wanted: &[u16]) -> Vec<Forward> {
    let mut forwards = port.forwards();
    let ports = |forwards: &Vec<Forward>| forwards.iter().map(|f| f.guest_port).collect::<Vec<_>>() == wanted;
    let found = tokio::time::timeout(PATIENCE, forwards.wait_for(ports)).await.unwrap();
    found.unwrap().clone()
}

/// Connects as soon as the forward listens, while the guest runs.
async fn dial(world: &mut World, host: SocketAddr) -> TcpStream {
    world
        .guest
        .beside(async move {
            loop {
                match TcpStream::connect(host).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        })
        .await
}

#[tokio::test]
async fn a_client_of_the_host_reaches_a_port_of_the_guest() {
    let mut world = world_with(vec![allow(8022, "0.0.0.0/0")], 5).await;
    let host = forwards(&world.port, &[8022]).await[0].host;
    assert_eq!(host, (PUBLIC_IP, 8022).into());
    let handle = world.guest.listen(8022);
    let mut stream = dial(&mut world, host).await;
    assert!(world.guest.connected(handle).await);
    assert_eq!(world.guest.tcp(handle).remote_endpoint().unwrap().addr, config().gateway.into());
    world.guest.send(handle, b"SSH-2.0-guest").await;
    let greeting = world
        .guest
        .beside(async move {
            let mut greeting = [0; 13];
            stream.read_exact(&mut greeting).await.unwrap();
            stream.write_all(b"SSH-2.0-host").await.unwrap();
            greeting
        })
        .await;
    assert_eq!(&greeting, b"SSH-2.0-guest");
    assert_eq!(world.guest.receive_all(handle).await, b"SSH-2.0-host");
}

#[tokio::test]
async fn a_port_that_the_guest_does_not_open_refuses_on_the_host() {
    let mut world = world_with(vec![allow(8022, "0.0.0.0/0")], 6).await;
    let host = forwards(&world.port, &[8022]).await[0].host;
    world.guest.idle(Duration::from_millis(600)).await;
    assert_eq!(TcpStream::connect(host).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let handle = world.guest.listen(8022);
    let stream = dial(&mut world, host).await;
    assert!(world.guest.connected(handle).await);
    // When the guest closes its port, the host's closes after the next client finds out.
    world.guest.tcp(handle).abort();
    drop(stream);
    let refused = world.guest.beside(async move {
        while TcpStream::connect(host).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    refused.await;
}

#[tokio::test]
async fn rules_change_live_and_established_connections_stay() {
    let mut world = world_with(vec![allow(8022, "127.0.0.1/32")], 7).await;
    let host = forwards(&world.port, &[8022]).await[0].host;
    let handle = world.guest.listen(8022);
    let mut stream = dial(&mut world, host).await;
    assert!(world.guest.connected(handle).await);
    world.port.set_ingress(vec![allow(8080, "0.0.0.0/0"), allow(8081, "203.0.113.0/24")]);
    let forwards = forwards(&world.port, &[8080]).await;
    world.guest.idle(Duration::from_millis(50)).await;
    assert!(TcpStream::connect(host).await.is_err());
    world.guest.send(handle, b"still here").await;
    let mut bytes = [0; 10];
    stream.read_exact(&mut bytes).await.unwrap();
    let web = world.guest.listen(8080);
    let _web = dial(&mut world, forwards[0].host).await;
    assert!(world.guest.connected(web).await);
    assert_eq!(world.guest.tcp(handle).state(), State::Established);
}

#[tokio::test]
async fn clients_outside_the_rules_are_turned_away() {
    let mut world = world_with(vec![allow(8022, "127.9.9.9/32")], 8).await;
    let host = forwards(&world.port, &[8022]).await[0].host;
    let handle = world.guest.listen(8022);
    let reset = async move {
        loop {
            // The reset may come before or after the connection counts as made.
            let outcome = match TcpStream::connect(host).await {
                Ok(mut stream) => stream.read(&mut [0]).await.map(|_| ()),
                Err(error) => Err(error),
            };
            match outcome.map_err(|error| error.kind()) {
                Err(std::io::ErrorKind::ConnectionReset) => return,
                Err(std::io::ErrorKind::ConnectionRefused) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => panic!("{other:?}"),
            }
        }
    };
    world.guest.beside(reset).await;
    assert_eq!(world.guest.tcp(handle).state(), State::Listen);
    assert_eq!(world.port.counters().dropped_by_rule, 1);
}

#[tokio::test]
async fn a_port_that_is_taken_on_the_host_moves() {
    let taken = TcpListener::bind("127.83.17.9:2022").await.unwrap();
    let port = 2022;
    let mut world = world_with(vec![allow(port, "0.0.0.0/0")], 9).await;
    let host = forwards(&world.port, &[port]).await[0].host;
    assert_eq!(host.ip(), taken.local_addr().unwrap().ip());
    assert_eq!(host.port(), 12_022, "the same at each start");
    let handle = world.guest.listen(port);
    let _stream = dial(&mut world, host).await;
    assert!(world.guest.connected(handle).await);
}
