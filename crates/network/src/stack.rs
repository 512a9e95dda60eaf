//! The TCP/IP stack of one conversation: a single socket with a single address, between a queue of
//! the guest's packets and the queue of frames to it.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use model::id_gen::random_bytes;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};
use tokio::sync::mpsc::{self, OwnedPermit, Permit};

use crate::flows::Packet;
use crate::frame::Frame;
use crate::port::Shared;

/// Each way and conversation. The memory is touched only as far as a conversation fills it.
const BUFFER_BYTES: usize = 128 * 1024;
/// How long a guest may leave a connection request without an answer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// One socket, one address, and the queues of packets.
pub(crate) struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    pub(crate) device: Queues,
}

impl Stack {
    pub(crate) fn new(shared: &Shared, remote: SocketAddrV4, now: Instant) -> Self {
        let mut device = Queues {
            from_guest: VecDeque::new(),
            to_guest: shared.to_guest.clone(),
            permit: None,
            blocked: false,
            guest: EthernetAddress(shared.config.mac),
            mtu: shared.config.mtu(),
        };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = u64::from_le_bytes(random_bytes(shared.ids.as_ref()));
        let mut interface = Interface::new(config, &mut device, now);
        let own = IpAddress::Ipv4(*remote.ip());
        interface.update_ip_addrs(|addresses| {
            addresses.push(IpCidr::new(own, 32)).expect("a new interface has room for an address");
        });
        let routed = interface.routes_mut().add_default_ipv4_route(*remote.ip());
        routed.expect("a new interface has room for a route");
        let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        // Packets come in batches and each batch is acknowledged once: a delay would gain nothing.
        socket.set_ack_delay(None);
        socket.set_timeout(Some(HANDSHAKE_TIMEOUT.into()));
        // Set later, it would probe at once.
        socket.set_keep_alive(Some(KEEP_ALIVE.into()));
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let socket = sockets.add(socket);
        Self { interface, sockets, socket, device }
    }

    pub(crate) fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }

    pub(crate) fn listen(&mut self, own: SocketAddrV4, syn: Packet) {
        if let Err(error) = self.socket().listen(own) {
            tracing::debug!(%error, %own, "a connection request to nowhere");
        }
        self.device.from_guest.push_back(syn);
    }

    pub(crate) fn connect(&mut self, own: SocketAddrV4, guest: SocketAddrV4) {
        let socket = self.sockets.get_mut::<Socket<'static>>(self.socket);
        if let Err(error) = socket.connect(self.interface.context(), guest, own) {
            tracing::debug!(%error, %guest, "a forward to nowhere");
        }
    }

    pub(crate) fn poll(&mut self, now: Instant) {
        self.device.blocked = false;
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }

    pub(crate) fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        self.interface.poll_at(now, &self.sockets)
    }
}

/// The stack's view of the link: packets of the guest waiting, and room in the queue to it.
pub(crate) struct Queues {
    pub(crate) from_guest: VecDeque<Packet>,
    pub(crate) to_guest: mpsc::Sender<Frame>,
    pub(crate) permit: Option<OwnedPermit<Frame>>,
    /// The stack wanted to send and there was no room.
    pub(crate) blocked: bool,
    guest: EthernetAddress,
    mtu: u16,
}

pub(crate) enum Slot<'a> {
    Borrowed(Permit<'a, Frame>),
    Owned(OwnedPermit<Frame>),
}

pub(crate) struct Outgoing<'a> {
    slot: Slot<'a>,
    guest: EthernetAddress,
}

pub(crate) struct Incoming(Packet);

impl Queues {
    fn slot(&mut self) -> Option<Outgoing<'_>> {
        let guest = self.guest;
        if let Some(permit) = self.permit.take() {
            return Some(Outgoing { slot: Slot::Owned(permit), guest });
        }
        let slot = self.to_guest.try_reserve().ok();
        self.blocked |= slot.is_none();
        slot.map(|permit| Outgoing { slot: Slot::Borrowed(permit), guest })
    }
}

impl Device for Queues {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Incoming, Outgoing<'_>)> {
        let packet = self.from_guest.pop_front()?;
        if self.permit.is_none() {
            // A packet may want an answer: it waits until there is room for one.
            let Ok(permit) = self.to_guest.clone().try_reserve_owned() else {
                self.from_guest.push_front(packet);
                self.blocked = true;
                return None;
            };
            self.permit = Some(permit);
        }
        self.slot().map(|slot| (Incoming(packet), slot))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_>> {
        self.slot()
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(self.mtu);
        // Bytes come over a local stream, which does not flip bits.
        let mut checksum = ChecksumCapabilities::default();
        checksum.ipv4 = Checksum::Tx;
        checksum.tcp = Checksum::Tx;
        capabilities.checksum = checksum;
        capabilities
    }
}

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut result = None;
        let frame = Frame::ipv4(self.guest, len, |bytes| result = Some(f(bytes)));
        match self.slot {
            Slot::Borrowed(permit) => permit.send(frame),
            Slot::Owned(permit) => drop(permit.send(frame)),
        }
        result.expect("a frame is always filled")
    }
}
