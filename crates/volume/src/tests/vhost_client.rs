//! A guest's driver over vhost-user, as small as it can be: for the tests, and for measuring.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fs::{MemfdFlags, SealFlags};
use vhost::vhost_user::message::{VhostUserConfigFlags, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend as _};
use vhost::{VhostBackend as _, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{Bytes as _, FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

pub(crate) const FLUSH: u64 = 1 << 9;
pub(crate) const CONFIG_WCE: u64 = 1 << 11;
pub(crate) const EVENT_IDX: u64 = 1 << 29;
const PROTOCOL_FEATURES: u64 = 1 << 30;
const VERSION_1: u64 = 1 << 32;

/// What this side calls the guest's address 0.
const OUR_BASE: u64 = 0x10_0000_0000;
const RING_SIZE: u16 = 128;
const AVAIL_AT: u64 = 0x8000;
const USED_AT: u64 = 0xc000;
const SLOTS_AT: u64 = 0x1_0000;
const SLOT_BYTES: u64 = 64;
const STATUS_AT: u64 = 32;
const DATA_AT: u64 = 0x2_0000;
/// Requests a ring can hold: each takes three descriptors.
pub(crate) const SLOTS: u16 = RING_SIZE / 3;

const DESCRIPTOR_NEXT: u16 = 1;
const DESCRIPTOR_WRITE: u16 = 2;

pub(crate) struct Client {
    pub(crate) frontend: Frontend,
    pub(crate) memory: GuestMemoryMmap,
    pub(crate) rings: Vec<Driver>,
}

/// The guest's side of one ring.
pub(crate) struct Driver {
    memory: GuestMemoryMmap,
    pub(crate) base: u64,
    data_bytes_max: u64,
    index: usize,
    avail: u16,
    kicked: u16,
    used: u16,
    kick: EventFd,
    pub(crate) call: EventFd,
    has_event_idx: bool,
}

/// Which way the data of a request goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Data {
    ToGuest(u32),
    FromGuest(u32),
}

fn shared_memory(len: u64, seals: SealFlags) -> File {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create("guest", flags).unwrap());
    file.set_len(len).unwrap();
    rustix::fs::fcntl_add_seals(&file, seals).unwrap();
    file
}

impl Client {
    /// Connects as QEMU does. The features beside those that everybody needs.
    pub(crate) fn connect(path: &Path, ring_count: u16, data_bytes_max: u32, features: u64) -> Self {
        Self::connect_with(path, ring_count, data_bytes_max, features, SealFlags::SHRINK).unwrap()
    }

    pub(crate) fn connect_with(
        path: &Path,
        ring_count: u16,
        data_bytes_max: u32,
        features: u64,
        seals: SealFlags,
    ) -> Result<Self, vhost::Error> {
        let stream = UnixStream::connect(path).unwrap();
        let mut frontend = Frontend::from_stream(stream, u64::from(ring_count));
        frontend.set_owner()?;
        let wanted = VERSION_1 | PROTOCOL_FEATURES | features;
        assert_eq!(frontend.get_features()? & wanted, wanted, "the device lacks a feature");
        let offered = frontend.get_protocol_features()?;
        let used = VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::REPLY_ACK;
        frontend.set_protocol_features(used & offered)?;
        frontend.set_hdr_flags(vhost::vhost_user::message::VhostUserHeaderFlag::NEED_REPLY);
        frontend.set_features(wanted)?;
        let area = DATA_AT + u64::from(SLOTS) * u64::from(data_bytes_max);
        let area = area.next_multiple_of(4096);
        let len = area * u64::from(ring_count);
        let file = shared_memory(len, seals);
        frontend.set_mem_table(&[VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: len,
            userspace_addr: OUR_BASE,
            mmap_offset: 0,
            mmap_handle: file.as_raw_fd(),
        }])?;
        let mapping = MmapRegion::from_file(FileOffset::new(file, 0), usize::try_from(len).unwrap()).unwrap();
        let region = GuestRegionMmap::new(mapping, GuestAddress(0)).unwrap();
        let memory = GuestMemoryMmap::from_regions(vec![region]).unwrap();
        let driver = |index: u16| Driver {
            memory: memory.clone(),
            base: u64::from(index) * area,
            data_bytes_max: u64::from(data_bytes_max),
            index: usize::from(index),
            avail: 0,
            kicked: 0,
            used: 0,
            kick: EventFd::new(0).unwrap(),
            call: EventFd::new(EFD_NONBLOCK).unwrap(),
            has_event_idx: features & EVENT_IDX != 0,
        };
        let rings = (0..ring_count).map(driver).collect();
        let mut client = Self { frontend, memory, rings };
        (0..client.rings.len()).try_for_each(|index| client.start(index, 0))?;
        Ok(client)
    }

    pub(crate) fn start(&mut self, index: usize, next_avail: u16) -> Result<(), vhost::Error> {
        let ring = &self.rings[index];
        let config = VringConfigData {
            queue_max_size: RING_SIZE,
            queue_size: RING_SIZE,
            flags: 0,
            desc_table_addr: OUR_BASE + ring.base,
            used_ring_addr: OUR_BASE + ring.base + USED_AT,
            avail_ring_addr: OUR_BASE + ring.base + AVAIL_AT,
            log_addr: None,
        };
        self.frontend.set_vring_num(index, RING_SIZE)?;
        self.frontend.set_vring_base(index, next_avail)?;
        self.frontend.set_vring_addr(index, &config)?;
        self.frontend.set_vring_call(index, &ring.call)?;
        self.frontend.set_vring_kick(index, &ring.kick)?;
        self.frontend.set_vring_enable(index, true)
    }

    /// Stops a ring; returns where the device would go on.
    pub(crate) fn stop(&mut self, index: usize) -> u32 {
        self.frontend.get_vring_base(index).unwrap()
    }

    pub(crate) fn config(&mut self) -> Vec<u8> {
        let (_, config) = self.frontend.get_config(0, 60, VhostUserConfigFlags::WRITABLE, &[0; 60]).unwrap();
        config
    }
}

impl Driver {
    fn slot(&self, slot: u16) -> u64 {
        self.base + SLOTS_AT + u64::from(slot) * SLOT_BYTES
    }

    pub(crate) fn data_address(&self, slot: u16) -> GuestAddress {
        GuestAddress(self.base + DATA_AT + u64::from(slot) * self.data_bytes_max)
    }

    pub(crate) fn put(&self, slot: u16, data: &[u8]) {
        self.memory.write_slice(data, self.data_address(slot)).unwrap();
    }

    pub(crate) fn get(&self, slot: u16, len: u32) -> Vec<u8> {
        let mut data = vec![0; len as usize];
        self.memory.read_slice(&mut data, self.data_address(slot)).unwrap();
        data
    }

    pub(crate) fn status(&self, slot: u16) -> u8 {
        self.memory.read_obj(GuestAddress(self.slot(slot) + STATUS_AT)).unwrap()
    }

    /// Writes one descriptor of the table.
    pub(crate) fn describe(&self, at: u16, address: u64, len: u32, flags: u16, next: u16) {
        let number =
            u128::from(address) | u128::from(len) << 64 | u128::from(flags) << 96 | u128::from(next) << 112;
        let place = GuestAddress(self.base + u64::from(at) * 16);
        self.memory.write_slice(&number.to_le_bytes(), place).unwrap();
    }

    /// Puts a request into the ring. The device looks when it is kicked, or before.
    pub(crate) fn submit(&mut self, slot: u16, kind: u32, sector: u64, data: Data) {
        let header = u128::from(kind) | u128::from(sector) << 64;
        let place = self.slot(slot);
        self.memory.write_slice(&header.to_le_bytes(), GuestAddress(place)).unwrap();
        self.memory.write_obj(0xff_u8, GuestAddress(place + STATUS_AT)).unwrap();
        let (len, flags) = match data {
            Data::ToGuest(len) => (len, DESCRIPTOR_NEXT | DESCRIPTOR_WRITE),
            Data::FromGuest(len) => (len, DESCRIPTOR_NEXT),
        };
        let head = slot * 3;
        self.describe(head, place, 16, DESCRIPTOR_NEXT, head + if len > 0 { 1 } else { 2 });
        self.describe(head + 1, self.data_address(slot).0, len, flags, head + 2);
        self.describe(head + 2, place + STATUS_AT, 1, DESCRIPTOR_WRITE, 0);
        self.offer(head);
    }

    /// Puts a chain into the ring, whatever it is.
    pub(crate) fn offer(&mut self, head: u16) {
        let avail = self.base + AVAIL_AT;
        let entry = avail + 4 + u64::from(self.avail % RING_SIZE) * 2;
        self.memory.write_slice(&head.to_le_bytes(), GuestAddress(entry)).unwrap();
        self.avail = self.avail.wrapping_add(1);
        self.memory.store(self.avail, GuestAddress(avail + 2), Ordering::Release).unwrap();
    }

    pub(crate) fn set_avail(&mut self, index: u16) {
        self.memory.store(index, GuestAddress(self.base + AVAIL_AT + 2), Ordering::Release).unwrap();
    }

    /// Tells the device about the new requests, if it wants to be told.
    pub(crate) fn kick(&mut self) {
        let count = self.avail.wrapping_sub(self.kicked);
        self.kicked = self.avail;
        std::sync::atomic::fence(Ordering::SeqCst);
        let used = self.base + USED_AT;
        let wanted = if self.has_event_idx {
            let at = GuestAddress(used + 4 + u64::from(RING_SIZE) * 8);
            let event: u16 = self.memory.load(at, Ordering::Relaxed).unwrap();
            self.avail.wrapping_sub(event).wrapping_sub(1) < count
        } else {
            self.memory.load::<u16>(GuestAddress(used), Ordering::Relaxed).unwrap() & 1 == 0
        };
        if wanted {
            self.kick.write(1).unwrap();
        }
    }

    /// The next request that is answered.
    pub(crate) fn answered(&mut self) -> Option<u16> {
        let used = self.base + USED_AT;
        let index: u16 = self.memory.load(GuestAddress(used + 2), Ordering::Acquire).unwrap();
        if index == self.used {
            return None;
        }
        let entry = used + 4 + u64::from(self.used % RING_SIZE) * 8;
        let head: u32 = self.memory.read_obj(GuestAddress(entry)).unwrap();
        self.used = self.used.wrapping_add(1);
        Some(u16::try_from(head / 3).unwrap())
    }

    /// Asks to be called at the next answer; true when one is already there.
    pub(crate) fn await_call(&self) -> bool {
        let event = self.base + AVAIL_AT + 4 + u64::from(RING_SIZE) * 2;
        self.memory.store(self.used, GuestAddress(event), Ordering::Relaxed).unwrap();
        std::sync::atomic::fence(Ordering::SeqCst);
        let used: u16 = self.memory.load(GuestAddress(self.base + USED_AT + 2), Ordering::Acquire).unwrap();
        used != self.used
    }

    /// Whether the device has called since the last time.
    pub(crate) fn was_called(&self) -> bool {
        match self.call.read() {
            Ok(_) => true,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => false,
            Err(e) => panic!("{e}"),
        }
    }

    pub(crate) const fn number(&self) -> usize {
        self.index
    }
}
