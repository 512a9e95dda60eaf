//! The host's cache of sealed bytes: what was fetched once is not fetched again, by whichever process.
//!
//! A pack's file is the pack itself, with holes where nothing was fetched. So two processes that write the
//! same frame write the same bytes, and no lock is needed. Nothing is synced: a hole, a torn or a damaged
//! frame does not open under its seal and is fetched again. Objects that are kept whole end in their hash.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use model::Clock;
use serde::{Deserialize, Serialize};

use crate::format::seal::TAG_BYTES;
use crate::format::{Hash, PackId};

/// Open files that are kept; each is a pack that is being read.
const FILES_MAX: usize = 64;
const HASH_BYTES: usize = 32;

/// Where the cache is, and how large it may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheOptions {
    pub dir: PathBuf,
    pub bytes_max: u64,
}

#[derive(Debug)]
pub(crate) struct DiskCache {
    dir: PathBuf,
    bytes_max: u64,
    clock: Arc<dyn Clock>,
    /// Least recently opened first.
    files: Mutex<Vec<(PackId, Arc<File>)>>,
    /// Written since this process last counted.
    written: AtomicU64,
}

impl DiskCache {
    pub(crate) fn open(options: &CacheOptions, clock: Arc<dyn Clock>) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&options.dir)?;
        Ok(Self {
            dir: options.dir.clone(),
            bytes_max: options.bytes_max,
            clock,
            files: Mutex::default(),
            // The first write counts: another process may have left it full.
            written: AtomicU64::new(u64::MAX / 2),
        })
    }

    fn path(&self, kind: &str, id: &Hash) -> PathBuf {
        let name = hex::encode(id);
        self.dir.join(kind).join(name.get(..2).unwrap_or_default()).join(name)
    }

    /// Where in a pack these bytes are not there. A hole ends in zeros, a seal does not.
    pub(crate) fn is_missing(&self, pack: PackId, offset: u64, len: u32) -> bool {
        let Ok(file) = self.file(pack) else { return true };
        let mut tag = [0; TAG_BYTES];
        let at = (offset + u64::from(len)).saturating_sub(TAG_BYTES as u64);
        file.read_exact_at(&mut tag, at).is_err() || tag == [0; TAG_BYTES]
    }

    /// These bytes of a pack, sealed and unproved; None where they were not fetched yet.
    pub(crate) fn read(&self, pack: PackId, offset: u64, len: u32) -> Option<Bytes> {
        let file = self.file(pack).ok()?;
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, offset).ok()?;
        let is_there = bytes.last_chunk::<TAG_BYTES>().is_some_and(|tag| *tag != [0; TAG_BYTES]);
        is_there.then(|| bytes.into())
    }

    /// A cache that cannot be written is one that is empty.
    pub(crate) fn write(&self, pack: PackId, offset: u64, bytes: &[u8]) {
        let written = self.make(pack).and_then(|file| file.write_all_at(bytes, offset));
        self.note(written, bytes.len());
    }

    pub(crate) fn read_whole(&self, kind: &str, id: &Hash) -> Option<Bytes> {
        let path = self.path(kind, id);
        let mut bytes = fs::read(&path).ok()?;
        let (content, hash) = bytes.split_last_chunk::<HASH_BYTES>()?;
        if blake3::hash(content) != *hash {
            return None;
        }
        self.touch(&File::open(&path).ok()?);
        bytes.truncate(bytes.len() - HASH_BYTES);
        Some(bytes.into())
    }

    pub(crate) fn write_whole(&self, kind: &str, id: &Hash, bytes: &[u8]) {
        let path = self.path(kind, id);
        let write = || {
            let file = create(&path)?;
            file.set_len(0)?;
            file.write_all_at(bytes, 0)?;
            file.write_all_at(blake3::hash(bytes).as_bytes(), bytes.len() as u64)
        };
        self.note(write(), bytes.len());
    }

    pub(crate) fn forget_whole(&self, kind: &str, id: &Hash) {
        fs::remove_file(self.path(kind, id)).ok();
    }

    fn note(&self, written: io::Result<()>, len: usize) {
        if let Err(error) = written {
            tracing::debug!(%error, "the cache of frames could not be written");
        }
        let before = self.written.fetch_add(len as u64, Ordering::Relaxed);
        if before >= self.bytes_max / 16 {
            self.written.store(0, Ordering::Relaxed);
            self.sweep();
        }
    }

    fn file(&self, pack: PackId) -> io::Result<Arc<File>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = files.iter().position(|(id, _)| *id == pack) {
            let found = files.remove(at);
            let file = Arc::clone(&found.1);
            files.push(found);
            return Ok(file);
        }
        let file = OpenOptions::new().read(true).write(true).open(self.path("pack", &pack.0))?;
        self.touch(&file);
        Ok(keep(&mut files, pack, file))
    }

    fn make(&self, pack: PackId) -> io::Result<Arc<File>> {
        if let Ok(file) = self.file(pack) {
            return Ok(file);
        }
        let file = create(&self.path("pack", &pack.0))?;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(keep(&mut files, pack, file))
    }

    /// When a file was last opened decides when it goes.
    fn touch(&self, file: &File) {
        let since = Duration::from_millis(u64::try_from(self.clock.now().as_millis()).unwrap_or(0));
        file.set_modified(UNIX_EPOCH + since).ok();
    }

    /// Removes what was not opened for longest, until a tenth is free. Readers of a removed file
    /// keep it until they close it.
    fn sweep(&self) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut found = Vec::new();
        for kind in ["pack", "node", "trace"] {
            list(&self.dir.join(kind), &mut found);
        }
        let mut bytes: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
        if bytes <= self.bytes_max {
            return;
        }
        found.sort_unstable();
        for (_, size, path) in found {
            if bytes <= self.bytes_max / 10 * 9 {
                return;
            }
            if fs::remove_file(path).is_ok() {
                bytes -= size;
            }
        }
    }
}

fn keep(files: &mut Vec<(PackId, Arc<File>)>, pack: PackId, file: File) -> Arc<File> {
    if files.len() >= FILES_MAX {
        files.remove(0);
    }
    let file = Arc::new(file);
    files.push((pack, Arc::clone(&file)));
    file
}

fn create(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// When each file was last opened, the bytes that it takes on the disk, and its name.
fn list(dir: &Path, found: &mut Vec<(i64, u64, PathBuf)>) {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
    for shard in entries(dir) {
        for entry in entries(&shard.path()) {
            if let Ok(metadata) = entry.metadata() {
                found.push((metadata.mtime(), metadata.blocks() * 512, entry.path()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::SystemClock;

    fn cache(dir: &Path, bytes_max: u64) -> DiskCache {
        let options = CacheOptions { dir: dir.to_owned(), bytes_max };
        DiskCache::open(&options, Arc::new(SystemClock::new())).unwrap()
    }

    #[test]
    fn what_one_process_wrote_another_reads_and_holes_are_not_there() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (cache(home.path(), 1 << 20), cache(home.path(), 1 << 20));
        let pack = PackId([7; 32]);
        assert!(other.is_missing(pack, 0, 100) && other.read(pack, 0, 100).is_none());
        one.write(pack, 5000, &[9; 300]);
        assert_eq!(other.read(pack, 5000, 300).unwrap(), [9; 300][..]);
        assert!(!other.is_missing(pack, 5000, 300));
        for (offset, len) in [(0, 5000), (5300, 10), (5000, 301)] {
            assert!(other.is_missing(pack, offset, len) && other.read(pack, offset, len).is_none());
        }
    }

    #[test]
    fn a_whole_object_is_whole_or_not_there() {
        let home = tempfile::tempdir().unwrap();
        let cache = cache(home.path(), 1 << 20);
        cache.write_whole("node", &[1; 32], b"nodes");
        assert_eq!(cache.read_whole("node", &[1; 32]).unwrap(), b"nodes"[..]);
        let path = cache.path("node", &[1; 32]);
        for len in 0..fs::metadata(&path).unwrap().len() {
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..usize::try_from(len).unwrap()]).unwrap();
            assert!(cache.read_whole("node", &[1; 32]).is_none());
            fs::write(&path, bytes).unwrap();
        }
    }

    #[test]
    fn it_stays_near_its_size_and_keeps_what_was_opened_last() {
        let home = tempfile::tempdir().unwrap();
        let cache = cache(home.path(), 1 << 20);
        let pack = |n: u8| PackId([n; 32]);
        for n in 0..40 {
            cache.write(pack(n), 0, &vec![1; 64 << 10]);
            let file = File::options().write(true).open(cache.path("pack", &pack(n).0)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(u64::from(n))).unwrap();
        }
        let mut found = Vec::new();
        list(&home.path().join("pack"), &mut found);
        let bytes: u64 = found.iter().map(|(_, bytes, _)| bytes).sum();
        assert!((1 << 19..1_300_000).contains(&bytes), "{bytes}");
        assert!(cache.read(pack(0), 0, 64 << 10).is_none() && cache.read(pack(39), 0, 64 << 10).is_some());
    }
}
