//! What the machine asks of a device over its socket: features, memory, rings, configuration.

use std::fs::File;
use std::sync::{Arc, PoisonError};

use model::Clock;
use tokio::runtime::Handle;
use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserSharedMsg,
    VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};
use virtio_queue::{Queue, QueueT as _};
use vm_memory::{GuestAddress, GuestAddressSpace as _};

use super::engine::Engine;
use super::memory::Memory;
use super::protocol::{CONFIG_WCE_OFFSET, config_space, feature};
use super::ring::{Call, Running, Setup};

const RING_SIZE_MAX: u16 = 1024;
/// Beyond its fields the configuration space is zeros.
const CONFIG_BYTES_MAX: u32 = 256;

/// One connection's device.
pub(super) struct Handler {
    engine: Arc<Engine>,
    runtime: Handle,
    clock: Arc<dyn Clock>,
    features: u64,
    memory: Memory,
    rings: Vec<Ring>,
}

#[derive(Default)]
struct Ring {
    size: u16,
    addresses: Option<Addresses>,
    next_avail: u16,
    kick: Option<File>,
    call: Call,
    is_enabled: bool,
    running: Option<Running>,
}

#[derive(Clone, Copy)]
struct Addresses {
    descriptors: GuestAddress,
    avail: GuestAddress,
    used: GuestAddress,
}

impl Ring {
    /// The next request to take is the one at which it stopped.
    fn stop(&mut self) {
        if let Some(next) = self.running.take().and_then(Running::stop) {
            self.next_avail = next;
        }
    }

    fn queue(&self, has_event_idx: bool) -> Option<Queue> {
        let addresses = self.addresses?;
        let mut queue = Queue::new(RING_SIZE_MAX).ok()?;
        queue.try_set_size(self.size).ok()?;
        queue.try_set_desc_table_address(addresses.descriptors).ok()?;
        queue.try_set_avail_ring_address(addresses.avail).ok()?;
        queue.try_set_used_ring_address(addresses.used).ok()?;
        queue.set_next_avail(self.next_avail);
        queue.set_event_idx(has_event_idx);
        queue.set_ready(true);
        Some(queue)
    }
}

impl Handler {
    pub(super) fn new(engine: Arc<Engine>, queue_count: u16, runtime: Handle, clock: Arc<dyn Clock>) -> Self {
        let rings = (0..queue_count).map(|_| Ring::default()).collect();
        Self { engine, runtime, clock, features: 0, memory: Memory::empty(), rings }
    }

    fn queue_count(&self) -> u16 {
        u16::try_from(self.rings.len()).unwrap_or(u16::MAX)
    }

    fn ring(&mut self, index: u32) -> Result<&mut Ring> {
        let ring = usize::try_from(index).ok().and_then(|index| self.rings.get_mut(index));
        ring.ok_or(Error::InvalidParam)
    }

    /// A ring whose place is being changed must not run.
    fn stopped_ring(&mut self, index: u32) -> Result<&mut Ring> {
        let ring = self.ring(index)?;
        if ring.running.is_some() { Err(Error::InvalidOperation("the ring runs")) } else { Ok(ring) }
    }

    /// Starts or stops a ring, as it is enabled and can be kicked, or not.
    fn settle(&mut self, index: u32) -> Result<()> {
        let has_event_idx = self.features & feature::EVENT_IDX != 0;
        let (shared, engine) = (self.memory.shared.clone(), Arc::clone(&self.engine));
        let (runtime, clock) = (self.runtime.clone(), Arc::clone(&self.clock));
        let has_memory = !self.memory.is_empty();
        let ring = self.ring(index)?;
        let kick = ring.kick.as_ref().filter(|_| ring.is_enabled);
        let Some(kick) = kick else {
            ring.stop();
            return Ok(());
        };
        if ring.running.is_some() {
            return Ok(());
        }
        let kick = kick.try_clone().map_err(Error::ReqHandlerError)?;
        let mut queue = ring.queue(has_event_idx).filter(|_| has_memory).ok_or(Error::InvalidParam)?;
        let memory = shared.memory();
        if !queue.is_valid(&*memory) {
            return Err(Error::InvalidParam);
        }
        // Only the guest's memory knows how far a ring that runs on was answered.
        let used = queue.used_idx(&*memory, std::sync::atomic::Ordering::Acquire);
        queue.set_next_used(used.map_err(|_| Error::InvalidParam)?.0);
        drop(memory);
        let setup =
            Setup { queue, memory: shared, kick, call: Arc::clone(&ring.call), engine, runtime, clock };
        ring.running = Some(Running::start(setup).map_err(Error::ReqHandlerError)?);
        Ok(())
    }

    fn stop_all(&mut self) {
        self.rings.iter_mut().for_each(Ring::stop);
    }

    /// Without a flush there is no cache to be written through; with one, the guest may still ask for it.
    fn note_cache(&self, write_cache: bool) {
        let has_flush = self.features & feature::FLUSH != 0;
        self.engine.set_write_through(!write_cache || !has_flush);
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.stop_all();
    }
}

impl VhostUserBackendReqHandlerMut for Handler {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.reset_device()
    }

    fn reset_device(&mut self) -> Result<()> {
        self.stop_all();
        let count = self.rings.len();
        self.rings = (0..count).map(|_| Ring::default()).collect();
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(feature::all(self.queue_count()))
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !feature::all(self.queue_count()) != 0 {
            return Err(Error::InvalidParam);
        }
        self.features = features;
        self.note_cache(true);
        if features & feature::PROTOCOL_FEATURES == 0 {
            self.rings.iter_mut().for_each(|ring| ring.is_enabled = true);
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        table: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        self.memory.replace(table, files).ok_or(Error::InvalidParam)?;
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let size = u16::try_from(num).ok().filter(|size| size.is_power_of_two() && *size <= RING_SIZE_MAX);
        self.stopped_ring(index)?.size = size.ok_or(Error::InvalidParam)?;
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _: u64,
    ) -> Result<()> {
        let place = |address| self.memory.translate(address).ok_or(Error::InvalidParam);
        let addresses =
            Addresses { descriptors: place(descriptor)?, avail: place(available)?, used: place(used)? };
        self.stopped_ring(index)?.addresses = Some(addresses);
        Ok(())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let base = u16::try_from(base).map_err(|_| Error::InvalidParam)?;
        self.stopped_ring(index)?.next_avail = base;
        Ok(())
    }

    /// Stops the ring: when this is answered, nothing touches the guest's memory for it any more.
    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let ring = self.ring(index)?;
        ring.stop();
        ring.kick = None;
        Ok(VhostUserVringState::new(index, u32::from(ring.next_avail)))
    }

    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        let ring = self.ring(u32::from(index))?;
        ring.stop();
        ring.kick = fd;
        self.settle(u32::from(index))
    }

    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        let ring = self.ring(u32::from(index))?;
        *ring.call.lock().unwrap_or_else(PoisonError::into_inner) = fd;
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, _: Option<File>) -> Result<()> {
        self.ring(u32::from(index)).map(drop)
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::RESET_DEVICE)
    }

    fn set_protocol_features(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(u64::from(self.queue_count()))
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.ring(index)?.is_enabled = enable;
        self.settle(index)
    }

    fn get_config(&mut self, offset: u32, size: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        let end =
            offset.checked_add(size).filter(|end| *end <= CONFIG_BYTES_MAX).ok_or(Error::InvalidParam)?;
        let write_cache = !self.engine.is_write_through();
        let config = config_space(self.engine.size_bytes(), self.queue_count(), write_cache);
        let byte = |at: u32| config.get(at as usize).copied().unwrap_or_default();
        Ok((offset..end).map(byte).collect())
    }

    /// Only the write cache can be set.
    fn set_config(&mut self, offset: u32, buf: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        match (offset, buf) {
            (CONFIG_WCE_OFFSET, [write_cache @ (0 | 1)]) if self.features & feature::CONFIG_WCE != 0 => {
                self.note_cache(*write_cache == 1);
                Ok(())
            }
            _ => Err(Error::InvalidParam),
        }
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        Err(not_offered())
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        Err(not_offered())
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        Err(not_offered())
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        Err(not_offered())
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Err(not_offered())
    }

    fn add_mem_region(
        &mut self,
        _: &VhostUserSingleMemoryRegion,
        _: File,
        _: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        Err(not_offered())
    }

    fn remove_mem_region(&mut self, _: &VhostUserSingleMemoryRegion) -> Result<()> {
        Err(not_offered())
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        Err(not_offered())
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(not_offered())
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(not_offered())
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        Err(not_offered())
    }
}

const fn not_offered() -> Error {
    Error::InvalidOperation("not offered")
}
