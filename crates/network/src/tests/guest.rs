//! A guest made of the same TCP/IP stack's other half, on the far end of a stream of frames.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use model::{Clock, IdGen, SeededIdGen, SystemClock};
use smoltcp::iface::{Config as StackConfig, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{AnySocket, tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, HardwareAddress, IpCidr, IpEndpoint,
    Ipv4Cidr,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::config;
use crate::frame::ROUTER_MAC;
use crate::{Config, Frames, MetadataStream, Port};

/// Longer than anything takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
const SOCKET_BYTES: usize = 256 * 1024;

/// A port, its guest, and the metadata connections that the guest makes.
pub(super) struct World {
    pub(super) port: Port,
    pub(super) guest: Guest,
    pub(super) metadata: mpsc::Receiver<MetadataStream>,
}

/// A port for `config` with a guest that has its address already.
pub(super) fn world(config: Config) -> World {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (port, metadata) = port(config, Frames::Stream(theirs));
    World { port, guest: Guest::new(ours), metadata }
}

pub(super) fn port(config: Config, frames: Frames) -> (Port, mpsc::Receiver<MetadataStream>) {
    let (sender, metadata) = mpsc::channel(64);
    let ids: Arc<dyn IdGen> = Arc::new(SeededIdGen::new(7));
    (Port::spawn(config, frames, sender, Arc::new(SystemClock::new()), ids), metadata)
}

pub(super) struct Guest {
    clock: SystemClock,
    pub(super) interface: Interface,
    pub(super) sockets: SocketSet<'static>,
    pub(super) wire: Wire,
    next_port: u16,
}

/// The card: frames that came and bytes to send.
pub(super) struct Wire {
    stream: UnixStream,
    received: BytesMut,
    frames: VecDeque<Vec<u8>>,
    /// Copies of what came, for tests that look at frames; kept only when wanted.
    pub(super) log: Option<Vec<Vec<u8>>>,
    outgoing: Vec<u8>,
}

impl Guest {
    pub(super) fn new(stream: UnixStream) -> Self {
        let clock = SystemClock::new();
        let mut wire = Wire {
            stream,
            received: BytesMut::new(),
            frames: VecDeque::new(),
            log: None,
            outgoing: Vec::new(),
        };
        let mut stack = StackConfig::new(HardwareAddress::Ethernet(EthernetAddress(config().mac)));
        stack.random_seed = 99;
        let mut interface = Interface::new(stack, &mut wire, now(&clock));
        interface.update_ip_addrs(|ips| {
            ips.push(IpCidr::Ipv4(Ipv4Cidr::new(config().private_ip, 24))).unwrap();
        });
        interface.routes_mut().add_default_ipv4_route(config().gateway).unwrap();
        Self { clock, interface, sockets: SocketSet::new(vec![]), wire, next_port: 49_152 }
    }

    /// Runs the guest until `step` has a result.
    pub(super) async fn drive<T>(&mut self, step: impl FnMut(&mut Self) -> Option<T>) -> T {
        let driven = tokio::time::timeout(PATIENCE, self.drive_patiently(step)).await;
        driven.expect("the guest waited too long")
    }

    async fn drive_patiently<T>(&mut self, mut step: impl FnMut(&mut Self) -> Option<T>) -> T {
        loop {
            self.interface.poll(now(&self.clock), &mut self.wire, &mut self.sockets);
            let done = step(self);
            self.interface.poll(now(&self.clock), &mut self.wire, &mut self.sockets);
            self.wire.flush().await;
            if let Some(done) = done {
                return done;
            }
            let pause = self.interface.poll_delay(now(&self.clock), &self.sockets);
            let pause = pause.map_or(Duration::from_millis(5), Duration::from).min(Duration::from_millis(5));
            self.wire.receive(pause).await;
        }
    }

    /// Runs the guest for a while.
    pub(super) async fn idle(&mut self, time: Duration) {
        let until = self.clock.monotonic() + time;
        self.drive(|guest| (guest.clock.monotonic() >= until).then_some(())).await;
    }

    /// Runs the guest beside a task of the host.
    pub(super) async fn beside<T: Send + 'static>(
        &mut self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let task = tokio::spawn(task);
        self.drive(|_| task.is_finished().then_some(())).await;
        task.await.unwrap()
    }

    pub(super) fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub(super) fn add<T: AnySocket<'static>>(&mut self, socket: T) -> SocketHandle {
        self.sockets.add(socket)
    }

    fn new_tcp(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; SOCKET_BYTES]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_ack_delay(None);
        self.add(socket)
    }

    /// Begins a connection.
    pub(super) fn dial(&mut self, to: &str) -> SocketHandle {
        let to: SocketAddrV4 = to.parse().unwrap();
        let handle = self.new_tcp();
        self.next_port += 1;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.connect(self.interface.context(), to, self.next_port).unwrap();
        handle
    }

    pub(super) fn listen(&mut self, port: u16) -> SocketHandle {
        let handle = self.new_tcp();
        self.tcp(handle).listen(port).unwrap();
        handle
    }

    /// Waits for a connection to be made (true) or refused (false).
    pub(super) async fn connected(&mut self, handle: SocketHandle) -> bool {
        self.drive(|guest| {
            let socket = guest.tcp(handle);
            (socket.may_send() || !socket.is_open()).then_some(socket.may_send())
        })
        .await
    }

    pub(super) async fn send(&mut self, handle: SocketHandle, bytes: &[u8]) {
        let mut rest = bytes;
        self.drive(|guest| {
            let sent = guest.tcp(handle).send_slice(rest).unwrap();
            rest = &rest[sent..];
            rest.is_empty().then_some(())
        })
        .await;
    }

    /// Everything up to the end of the stream.
    pub(super) async fn receive_all(&mut self, handle: SocketHandle) -> Vec<u8> {
        let mut all = Vec::new();
        self.drive(|guest| {
            let socket = guest.tcp(handle);
            while socket.can_recv() {
                socket.recv(|bytes| (bytes.len(), all.extend_from_slice(bytes))).unwrap();
            }
            (!socket.may_recv()).then_some(())
        })
        .await;
        all
    }

    pub(super) async fn receive_exactly(&mut self, handle: SocketHandle, len: usize) -> Vec<u8> {
        let mut all = vec![0; len];
        let mut filled = 0;
        self.drive(|guest| {
            filled += guest.tcp(handle).recv_slice(&mut all[filled..]).unwrap();
            (filled == len).then_some(())
        })
        .await;
        all
    }

    pub(super) fn udp(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 65_536]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.add(socket)
    }

    /// Sends a datagram and waits for the answer.
    pub(super) async fn ask(&mut self, handle: SocketHandle, to: &str, bytes: &[u8]) -> Vec<u8> {
        let to: SocketAddrV4 = to.parse().unwrap();
        self.sockets.get_mut::<udp::Socket<'_>>(handle).send_slice(bytes, IpEndpoint::from(to)).unwrap();
        self.drive(|guest| {
            let socket = guest.sockets.get_mut::<udp::Socket<'_>>(handle);
            socket.recv().ok().map(|(bytes, from)| {
                assert_eq!(from.endpoint, to.into());
                bytes.to_vec()
            })
        })
        .await
    }

    /// Sends a frame as it is.
    pub(super) async fn send_frame(&mut self, frame: &[u8]) {
        self.wire.queue(frame);
        self.wire.flush().await;
    }

    /// Sends a frame and returns the first that comes and pleases.
    pub(super) async fn exchange<T>(&mut self, frame: &[u8], find: impl Fn(&[u8]) -> Option<T>) -> T {
        self.wire.log = Some(Vec::new());
        self.send_frame(frame).await;
        self.drive(|guest| guest.wire.log.iter().flatten().find_map(|frame| find(frame))).await
    }
}

impl Wire {
    fn queue(&mut self, frame: &[u8]) {
        self.outgoing.extend(u32::try_from(frame.len()).unwrap().to_be_bytes());
        self.outgoing.extend(frame);
    }

    async fn flush(&mut self) {
        self.stream.write_all(&self.outgoing).await.unwrap();
        self.outgoing.clear();
    }

    async fn receive(&mut self, pause: Duration) {
        self.received.reserve(65_536);
        if let Ok(read) = tokio::time::timeout(pause, self.stream.read_buf(&mut self.received)).await {
            assert_ne!(read.unwrap(), 0, "the port hung up");
        }
        while let Some(prefix) = self.received.first_chunk::<4>() {
            let len = usize::try_from(u32::from_be_bytes(*prefix)).unwrap();
            if self.received.len() < 4 + len {
                return;
            }
            self.received.advance(4);
            let frame = self.received.split_to(len).to_vec();
            self.log.iter_mut().for_each(|log| log.push(frame.clone()));
            self.frames.push_back(frame);
        }
    }
}

fn now(clock: &SystemClock) -> Instant {
    Instant::from_micros(i64::try_from(clock.monotonic().as_micros()).unwrap())
}

/// An Ethernet frame of the guest to the router.
pub(super) fn ethernet(src: [u8; 6], ethertype: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 14 + payload.len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    EthernetRepr { src_addr: EthernetAddress(src), dst_addr: ROUTER_MAC, ethertype }.emit(&mut frame);
    frame.payload_mut().copy_from_slice(payload);
    bytes
}

pub(super) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(super) struct Received(Vec<u8>);

pub(super) struct Sending<'a>(&'a mut Wire);

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let frame = self.frames.pop_front()?;
        Some((Received(frame), Sending(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 9001 + 14;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.queue(&frame);
        result
    }
}
