//! A disk that keeps account of what was never synced, so that a power cut can take it away; and that fails
//! when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::disk::{Disk, OsDisk};
use crate::format::SECTOR_BYTES;
use crate::segment::Segment;

#[derive(Debug, Default)]
pub(super) struct ForgetfulDisk {
    unsynced: Mutex<Unsynced>,
    pub(super) fail_write: AtomicBool,
    pub(super) fail_sync: AtomicBool,
    /// No write has space.
    pub(super) is_full: AtomicBool,
    pub(super) syncs: AtomicU64,
}

#[derive(Debug, Default)]
struct Unsynced {
    /// Position and length of writes, by file name.
    writes: BTreeMap<String, Vec<(u64, u64)>>,
    /// Names that the directory may lose.
    names: BTreeSet<String>,
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

impl Disk for ForgetfulDisk {
    fn write(&self, segment: &Segment, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut unsynced = self.unsynced.lock().unwrap();
        let name = name(&segment.path);
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.fail_write.swap(false, Ordering::SeqCst) {
            // What a full disk does: the beginning is written.
            let bytes = parts.concat();
            OsDisk.write(segment, position, &[&bytes[..bytes.len() / 2]])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        if position == 0 {
            unsynced.names.insert(name.clone());
        }
        unsynced.writes.entry(name).or_default().push((position, parts.concat().len() as u64));
        OsDisk.write(segment, position, parts)
    }

    fn sync(&self, segment: &Segment) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.fail_sync.swap(false, Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.unsynced.lock().unwrap().writes.remove(&name(&segment.path));
        Ok(())
    }

    fn remove(&self, segment: &Segment) -> io::Result<()> {
        OsDisk.remove(segment)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.unsynced.lock().unwrap().names.clear();
        Ok(())
    }
}

impl ForgetfulDisk {
    /// Copies the directory as it may look after a power cut: of what was not synced, any sectors and names.
    pub(super) fn power_cut(&self, from: &Path, to: &Path, seed: u64) {
        let unsynced = self.unsynced.lock().unwrap();
        let mut chance = Chance(seed);
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let name = name(&entry.path());
            if unsynced.names.contains(&name) && chance.below(4) == 0 {
                continue;
            }
            let mut bytes = fs::read(entry.path()).unwrap();
            for (position, len) in unsynced.writes.get(&name).into_iter().flatten() {
                tear(&mut bytes, *position, *len, &mut chance);
            }
            fs::write(to.join(name), bytes).unwrap();
        }
    }

    /// After a power cut: what is on the disk now is durable.
    pub(super) fn forget_all(&self) {
        *self.unsynced.lock().unwrap() = Unsynced::default();
    }
}

fn tear(bytes: &mut Vec<u8>, position: u64, len: u64, chance: &mut Chance) {
    let fate = chance.below(5);
    for sector in 0..len / SECTOR_BYTES {
        let from = usize::try_from(position + sector * SECTOR_BYTES).unwrap();
        let lost = match fate {
            0 => true,
            1 => chance.below(2) == 0,
            _ => false,
        };
        if let Some(sector) = bytes.get_mut(from..from + 512).filter(|_| lost) {
            sector.fill(0);
        }
    }
    if fate == 4 && chance.below(4) == 0 {
        // The file's new length never reached the disk.
        bytes.truncate(usize::try_from(position + chance.below(len)).unwrap());
    }
}

pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
