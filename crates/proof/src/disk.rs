//! The disk under a volume's log: it knows what was synced, so that a power cut can take the rest away.
//!
//! Files hold what the page cache would. Beside them, in memory, is what the platters surely hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use volume::simulation::{Disk, OsDisk, Segment};

use crate::chance::Chance;
use crate::sim::{Death, Sim};

const SECTOR: usize = 512;

/// Content by file name.
type Files = BTreeMap<String, Vec<u8>>;

#[derive(Debug)]
pub(crate) struct SimDisk {
    sim: Arc<Sim>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    dir: PathBuf,
    /// As of the last sync of each file.
    synced: Files,
    /// As of the last sync of the directory.
    synced_names: BTreeSet<String>,
    at_death: Files,
}

impl SimDisk {
    pub(crate) fn new(sim: &Arc<Sim>, dir: &Path) -> Arc<Self> {
        let state = State { dir: dir.to_owned(), ..State::default() };
        let disk = Arc::new(Self { sim: Arc::clone(sim), state: Mutex::new(state) });
        sim.add_disk(&disk);
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what the files hold now: the process has just died.
    pub(crate) fn remember(&self) {
        let mut state = self.state();
        state.at_death = read_dir(&state.dir);
    }

    /// What the next life finds, in a fresh directory.
    pub(crate) fn revive(&self, death: Death, dir: &Path) {
        let mut state = self.state();
        let mut files = std::mem::take(&mut state.at_death);
        if death == Death::PowerCut {
            files = state.torn(files, &mut self.sim.fork());
            state.synced = files.clone();
            state.synced_names = files.keys().cloned().collect();
        }
        write_dir(dir, &files);
        dir.clone_into(&mut state.dir);
    }

    fn effect(&self) -> io::Result<()> {
        if self.sim.passage() { Ok(()) } else { Err(io::Error::other("the process is dead")) }
    }
}

impl State {
    /// Any sectors and names that were not synced may be gone, or as they were before.
    fn torn(&self, now: Files, chance: &mut Chance) -> Files {
        let mut files = Files::new();
        for (name, bytes) in now {
            let is_log = name.starts_with("log-");
            if is_log && !self.synced_names.contains(&name) && chance.one_in(3) {
                continue;
            }
            let synced = self.synced.get(&name).map_or(&[][..], Vec::as_slice);
            let bytes = if is_log { tear(synced, bytes, chance) } else { bytes };
            files.insert(name, bytes);
        }
        for name in self.synced_names.iter().filter(|name| name.starts_with("log-")) {
            if !files.contains_key(name) && chance.one_in(2) {
                let bytes = self.synced.get(name).cloned().unwrap_or_default();
                files.insert(name.clone(), bytes);
            }
        }
        files
    }
}

/// A file of which `synced` is certain and `now` is wanted.
fn tear(synced: &[u8], now: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    if synced == now {
        return now;
    }
    let mut torn = synced.to_vec();
    torn.resize(synced.len().max(now.len()), 0);
    let sectors = torn.len().div_ceil(SECTOR);
    let (mode, cut) = (chance.below(5), chance.index(sectors + 1));
    for sector in 0..sectors {
        let arrived = match mode {
            0 => true,
            1 => false,
            2 => sector < cut,
            3 => sector >= cut,
            _ => chance.one_in(2),
        };
        let from = sector * SECTOR;
        let to = (from + SECTOR).min(now.len());
        if arrived && from < to {
            torn[from..to].copy_from_slice(&now[from..to]);
        }
    }
    // The length is metadata: it may be the old one, the new one, or on its way.
    let (short, long) = (synced.len().min(now.len()), synced.len().max(now.len()));
    let len = match chance.below(4) {
        0 => synced.len(),
        1 => short + chance.index((long - short) / SECTOR + 1) * SECTOR,
        _ => now.len(),
    };
    torn.truncate(len);
    torn
}

impl Disk for SimDisk {
    fn write(&self, segment: &Segment, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.effect()?;
        if self.sim.strikes(self.sim.weather().full_disk) {
            let bytes = parts.concat();
            OsDisk.write(segment, position, &[&bytes[..bytes.len() / 2]])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        OsDisk.write(segment, position, parts)?;
        self.effect()
    }

    fn sync(&self, segment: &Segment) -> io::Result<()> {
        self.effect()?;
        if self.sim.strikes(self.sim.weather().failed_sync) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let mut bytes = vec![0; usize::try_from(segment.file.metadata()?.len()).unwrap_or(0)];
        segment.file.read_exact_at(&mut bytes, 0)?;
        self.state().synced.insert(name(&segment.path), bytes);
        self.effect()
    }

    fn remove(&self, segment: &Segment) -> io::Result<()> {
        self.effect()?;
        OsDisk.remove(segment)?;
        self.effect()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.effect()?;
        let names = read_dir(dir).into_keys().collect();
        let mut state = self.state();
        state.synced_names = names;
        let State { synced, synced_names, .. } = &mut *state;
        synced.retain(|name, _| synced_names.contains(name));
        drop(state);
        self.effect()
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub(crate) fn read_dir(dir: &Path) -> Files {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((name(&entry.path()), fs::read(entry.path()).ok()?))).collect()
}

pub(crate) fn write_dir(dir: &Path, files: &Files) {
    fs::create_dir_all(dir).expect("the memory's file system takes a directory");
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).expect("the memory's file system takes a file");
    }
}
