//! The volume against its second implementation, on disks that forget and fail.

mod disk;
mod faults;
mod formats;
mod freezes;
mod model;
mod nbd_clients;
mod nbd_fuzz;
mod oracle;
mod snapshots;
mod vhost;
mod vhost_client;

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use crate::base::{Base, MemoryBase};
use crate::volume::{Options, Spec, Volume};
use disk::ForgetfulDisk;

/// Small enough that a test fills several.
const SEGMENT_BYTES: u64 = 48 << 10;
const VOLUME_BYTES: usize = 96 << 10;
/// The base ends in the middle of the volume, and not at a block.
const BASE_BYTES: usize = (64 << 10) + 512;

/// In memory where there is such a place: these tests sync all the time.
fn temp_dir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn base_bytes() -> Vec<u8> {
    noise(99, BASE_BYTES)
}

fn create(dir: &Path) {
    let spec = Spec { size_bytes: VOLUME_BYTES as u64, base_root: None, domain: None };
    Volume::create(dir, &spec).unwrap();
}

async fn open(dir: &Path, disk: &Arc<ForgetfulDisk>) -> crate::Result<Volume> {
    let base: Arc<dyn Base> = Arc::new(MemoryBase::new(base_bytes()));
    let disk = Arc::clone(disk) as _;
    Volume::open_with(dir, base, Options { disk, segment_bytes_max: Some(SEGMENT_BYTES) }).await
}

async fn content(volume: &Volume) -> Vec<u8> {
    let mut bytes = vec![0xee; usize::try_from(volume.size_bytes()).unwrap()];
    volume.read_at(0, &mut bytes).await.unwrap();
    bytes
}
