//! The guest's memory as the machine shares it.

use std::fs::File;
use std::sync::Arc;

use rustix::fs::SealFlags;
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vm_memory::{
    GuestAddress, GuestAddressSpace as _, GuestMemoryAtomic, GuestMemoryBackend as _, GuestMemoryMmap,
    GuestRegionMmap,
};

/// The rings look at the memory through this, and see a new table at their next look.
pub(super) type SharedMemory = GuestMemoryAtomic<GuestMemoryMmap>;

/// The memory table: what is mapped, and the addresses of the other process that name it.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) shared: SharedMemory,
    regions: Vec<Region>,
}

#[derive(Debug)]
struct Region {
    their_address: u64,
    len_bytes: u64,
    guest_address: u64,
}

impl Memory {
    pub(super) fn empty() -> Self {
        Self { shared: SharedMemory::new(GuestMemoryMmap::new()), regions: Vec::new() }
    }

    /// Maps a new table. None when it cannot be, or must not be, mapped; the old one then stays.
    pub(super) fn replace(&mut self, table: &[VhostUserMemoryRegion], files: Vec<File>) -> Option<()> {
        if table.len() != files.len() {
            return None;
        }
        let mut mapped: Vec<Arc<GuestRegionMmap>> = Vec::with_capacity(table.len());
        for (region, file) in table.iter().zip(files) {
            stays_whole(region, &file).then_some(())?;
            let mapping = region.mmap_region(file).ok()?;
            mapped.push(Arc::new(GuestRegionMmap::new(mapping, GuestAddress(region.guest_phys_addr))?));
        }
        mapped.sort_by_key(|region| vm_memory::GuestMemoryRegion::start_addr(region.as_ref()));
        let memory = GuestMemoryMmap::from_arc_regions(mapped).ok()?;
        self.shared.lock().ok()?.replace(memory);
        self.regions = table
            .iter()
            .map(|region| Region {
                their_address: region.user_addr,
                len_bytes: region.memory_size,
                guest_address: region.guest_phys_addr,
            })
            .collect();
        Some(())
    }

    /// The guest's address for one of the other process, in which it tells where rings are.
    pub(super) fn translate(&self, their_address: u64) -> Option<GuestAddress> {
        self.regions.iter().find_map(|region| {
            let offset = their_address.checked_sub(region.their_address)?;
            (offset < region.len_bytes).then(|| GuestAddress(region.guest_address + offset))
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shared.memory().num_regions() == 0
    }
}

/// Whether the file is there in its whole length and must stay so: to touch a page that is cut away later
/// would end this process.
fn stays_whole(region: &VhostUserMemoryRegion, file: &File) -> bool {
    let (offset, len) = (region.mmap_offset, region.memory_size);
    let is_sealed = rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
    let is_long =
        file.metadata().is_ok_and(|about| offset.checked_add(len).is_some_and(|end| end <= about.len()));
    is_sealed && is_long
}
