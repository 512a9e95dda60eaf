//! A writable volume: a base, and a log of everything written over it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use blockstore::{durable, offload};
use rustix::fs::FlockOperation;
use tokio_util::task::TaskTracker;

use crate::base::Base;
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, Result};
use crate::extent_map::ExtentMap;
use crate::format::{Body, SECTOR_BYTES};
use crate::log::{AppendError, Appended, Log, segment_bytes_max};
use crate::metadata::Metadata;
use crate::recovery::{Replayed, insert_writes, replay};
use crate::segment::{Segment, Segments, blocking};

const LOCK_FILE: &str = "lock";
/// Holds the last durable sequence number of an owner whose sync failed.
const POISON_FILE: &str = "poisoned";
/// Groups up to this size are written on the caller's thread: a copy into the page cache.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// What a volume is made as. `base_root` and `domain` are opaque here; the opener turns them into a [`Base`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub size_bytes: u64,
    pub base_root: Option<String>,
    pub domain: Option<String>,
}

/// An open volume and the only owner of its directory. Clones share it.
#[derive(Clone)]
pub struct Volume {
    pub(crate) inner: Arc<Inner>,
}

/// Figures for operators and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    pub generation: u64,
    /// Bytes of all segment files.
    pub log_bytes: u64,
    /// Bytes of data in them that nothing newer covers.
    pub live_bytes: u64,
    pub segment_count: usize,
    pub extent_count: usize,
    pub written_seq: u64,
    pub durable_seq: u64,
    /// A sync failed: the volume is read-only until it is opened anew.
    pub poisoned: bool,
}

pub(crate) struct Inner {
    pub(crate) dir: PathBuf,
    pub(crate) spec: Spec,
    pub(crate) base: Arc<dyn Base>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) view: RwLock<View>,
    /// Lock order: `cleaning`, `metadata`, `sync`, `log`, `view`.
    pub(crate) log: Mutex<Log>,
    pub(crate) metadata: tokio::sync::Mutex<Metadata>,
    pub(crate) sync: Arc<tokio::sync::Mutex<()>>,
    /// Held by the one cleaner.
    pub(crate) cleaning: tokio::sync::Mutex<()>,
    pub(crate) tasks: TaskTracker,
    pub(crate) written_seq: AtomicU64,
    pub(crate) durable_seq: AtomicU64,
    poisoned: AtomicBool,
    closed: AtomicBool,
    /// A segment was sealed since somebody last asked.
    sealed: AtomicBool,
    generation: u64,
    lock: Mutex<Option<File>>,
}

/// What reads need; held for no longer than a look-up.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) map: ExtentMap,
    pub(crate) segments: Segments,
}

/// How a volume is opened; tests put another disk and smaller segments here.
#[derive(Debug, Clone)]
pub struct Options {
    pub disk: Arc<dyn Disk>,
    pub segment_bytes_max: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { disk: Arc::new(OsDisk), segment_bytes_max: None }
    }
}

impl Volume {
    /// Makes an empty volume, whatever its size, in constant time. Making it again is no error.
    ///
    /// # Errors
    /// `Conflict` when the directory holds a volume of another specification, `Invalid` for a size that is
    /// zero or no multiple of 512.
    pub fn create(dir: &Path, spec: &Spec) -> Result<()> {
        if spec.size_bytes == 0 || !spec.size_bytes.is_multiple_of(SECTOR_BYTES) {
            return Err(Error::invalid(format!("a volume of {} bytes", spec.size_bytes)));
        }
        if let Some(found) = existing(dir)? {
            return same_spec(&found, spec);
        }
        durable::create_dir_all(dir).map_err(|e| Error::io("create the volume's directory", e))?;
        let _lock = lock_dir(dir)?;
        match existing(dir)? {
            Some(found) => same_spec(&found, spec),
            None => Metadata::new(spec.size_bytes, spec.base_root.clone(), spec.domain.clone()).write(dir),
        }
    }

    /// What the volume in `dir` was made as. Needs no ownership.
    pub fn spec_of(dir: &Path) -> Result<Spec> {
        Metadata::read(dir).map(|metadata| spec(&metadata))
    }

    /// Opens the volume in `dir` over its base, as its only owner, and recovers what was written.
    ///
    /// # Errors
    /// `Conflict` when it has an owner, `NotFound` when there is no volume, `Corrupt` when writes that were
    /// durable are no longer there.
    pub async fn open(dir: &Path, base: Arc<dyn Base>) -> Result<Self> {
        Self::open_with(dir, base, Options::default()).await
    }

    #[doc(hidden)]
    pub async fn open_with(dir: &Path, base: Arc<dyn Base>, options: Options) -> Result<Self> {
        let dir = dir.to_owned();
        let opened = offload(move || Inner::open(dir, base, options)).await;
        let inner = opened.map_err(|e| Error::unavailable("open the volume").with_source(e))??;
        Ok(Self { inner: Arc::new(inner) })
    }

    pub fn size_bytes(&self) -> u64 {
        self.inner.spec.size_bytes
    }

    /// Has the file of the next segment ready. Where that fails, whoever needs the segment meets the reason.
    pub(crate) async fn make_spare(&self) {
        let inner = Arc::clone(&self.inner);
        if let Ok(Err(error)) = offload(move || inner.make_spare()).await {
            tracing::debug!(%error, "the next log segment was not created in advance");
        }
    }

    /// Has the file of the next segment created in the background, if the volume is still wanted then.
    pub(crate) fn prepare(&self) {
        let inner = Arc::downgrade(&self.inner);
        self.inner.tasks.spawn(async move {
            if let Some(inner) = inner.upgrade() {
                Self { inner }.make_spare().await;
            }
        });
    }

    pub fn spec(&self) -> &Spec {
        &self.inner.spec
    }

    pub fn stats(&self) -> Result<Stats> {
        let inner = &*self.inner;
        let log = inner.lock_log()?;
        let view = inner.view.read().unwrap_or_else(PoisonError::into_inner);
        Ok(Stats {
            generation: inner.generation,
            log_bytes: log.bytes(),
            live_bytes: view.map.live_bytes(),
            segment_count: view.segments.len(),
            extent_count: view.map.extent_count(),
            written_seq: inner.written_seq.load(Ordering::Acquire),
            durable_seq: inner.durable_seq.load(Ordering::Acquire),
            poisoned: inner.is_poisoned(),
        })
    }

    /// Makes every acknowledged write durable and gives up ownership. Later calls on any clone are refused.
    pub async fn close(&self) -> Result<()> {
        self.inner.closed.store(true, Ordering::Release);
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        // A writer that saw the volume open holds this lock; after it nothing is appended any more.
        self.inner.lock_log()?.close();
        let mut closed = self.flush_all().await;
        if closed.is_ok() {
            closed = self.inner.note_durable().await;
        }
        self.inner.unlock();
        closed
    }
}

impl Inner {
    /// Order: what recovery leaves out is gone for good, and the generation bumped, before anything is written.
    fn open(dir: PathBuf, base: Arc<dyn Base>, options: Options) -> Result<Self> {
        let mut metadata = Metadata::read(&dir)?;
        let lock = lock_dir(&dir)?;
        // The last owner may have written it while the lock was not yet ours.
        metadata.clone_from(&Metadata::read(&dir)?);
        let segments = Segment::open_all(&dir, true)?;
        let next_id = segments.last_key_value().map_or(1, |(id, _)| id + 1);
        let up_to_seq = read_poison(&dir)?.unwrap_or(u64::MAX);
        let replayed = replay(&metadata, &segments, up_to_seq)?;
        if replayed.last.seq < metadata.durable_seq {
            let (found, durable) = (replayed.last.seq, metadata.durable_seq);
            return Err(Error::corrupt(format!("the log ends at {found}, but was durable up to {durable}")));
        }
        settle(&dir, &*options.disk, &metadata, &replayed)?;
        metadata.generation += 1;
        metadata.durable_seq = replayed.last.seq;
        for (key, seq) in &replayed.frozen {
            metadata.set_frozen(key, *seq);
        }
        metadata.write(&dir)?;
        clear_poison(&dir).map_err(|e| Error::io("clear the poison mark", e))?;
        let Replayed { map, chain, last, .. } = replayed;
        let segments = chain.iter().map(|s| (s.segment.id, Arc::clone(&s.segment))).collect();
        let recovered = (last, chain, next_id);
        let disk = options.disk;
        let generation = metadata.generation;
        let segment_bytes = options.segment_bytes_max.unwrap_or(segment_bytes_max(metadata.size_bytes));
        let log = Log::new(dir.clone(), Arc::clone(&disk), generation, segment_bytes, recovered);
        Ok(Self {
            spec: spec(&metadata),
            generation,
            dir,
            base,
            disk,
            view: RwLock::new(View { map, segments }),
            log: Mutex::new(log),
            metadata: tokio::sync::Mutex::new(metadata),
            sync: Arc::default(),
            cleaning: tokio::sync::Mutex::default(),
            tasks: TaskTracker::new(),
            written_seq: AtomicU64::new(last.seq),
            durable_seq: AtomicU64::new(last.seq),
            poisoned: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Refused after a panic in a writer, whose state nobody can know.
    pub(crate) fn lock_log(&self) -> Result<MutexGuard<'_, Log>> {
        self.log.lock().map_err(|_| Error::unavailable("a writer of this volume panicked"))
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    pub(crate) fn take_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire) && self.sealed.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::invalid("the volume is closed"));
        }
        Ok(())
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        self.check_healthy()
    }

    pub(crate) fn check_healthy(&self) -> Result<()> {
        if self.is_poisoned() {
            return Err(Error::unavailable("the volume is read-only since a sync failed"));
        }
        Ok(())
    }

    /// Appends writes and shows them to readers, unless `still` says that what they build on has changed.
    /// None when they were not appended.
    pub(crate) fn append_if(
        &self,
        body: &Body,
        data: &[&[u8]],
        still: impl FnOnce(&ExtentMap) -> bool,
    ) -> Result<Option<Appended>> {
        let append = || {
            let mut log = self.lock_log()?;
            self.check_writable()?;
            if !still(&self.view.read().unwrap_or_else(PoisonError::into_inner).map) {
                return Ok(None);
            }
            let appended = log.append(body, data).map_err(|e| self.judge(e))?;
            let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
            let id = appended.segment.id;
            view.segments.entry(id).or_insert_with(|| Arc::clone(&appended.segment));
            insert_writes(&mut view.map, body, appended.seq, id, appended.data_position);
            self.written_seq.store(appended.seq, Ordering::Release);
            if appended.sealed {
                self.sealed.store(true, Ordering::Release);
            }
            Ok(Some(appended))
        };
        let bytes: usize = data.iter().map(|part| part.len()).sum();
        if bytes > INLINE_BYTES_MAX { blocking(append) } else { append() }
    }

    /// Creates the file of the next segment, where it is missing: whoever ends a segment then has a file at hand.
    pub(crate) fn make_spare(&self) -> Result<()> {
        let Some((id, reserved_bytes)) = self.lock_log()?.reserve_spare() else { return Ok(()) };
        let spare = Segment::create(&self.dir, id).map_err(|e| Error::io("create a log segment", e))?;
        spare.reserve(reserved_bytes);
        self.disk.sync_dir(&self.dir).map_err(|e| Error::io("sync the volume's directory", e))?;
        let late = self.lock_log()?.give_spare(spare);
        // It holds nothing; recovery removes one that stays.
        late.map_or(Ok(()), |late| self.disk.remove(&late))
            .map_err(|e| Error::io("remove a log segment that was not needed", e))
    }

    /// After a broken append the end of the log is unknown, as after a failed sync.
    pub(crate) fn judge(&self, error: AppendError) -> Error {
        match error {
            AppendError::Refused(error) => error,
            AppendError::Broken(error) => {
                self.poison(&error);
                error
            }
        }
    }

    /// Makes the volume read-only and tells the next owner what is certain.
    ///
    /// The kernel forgets what it failed to write, so the page cache may show groups that the disk never got:
    /// the next owner must not build on them.
    pub(crate) fn poison(&self, cause: &Error) {
        self.poisoned.store(true, Ordering::Release);
        let durable_seq = self.durable_seq.load(Ordering::Acquire);
        tracing::error!(dir = %self.dir.display(), durable_seq, %cause, "volume is read-only: its log failed");
        let marked =
            durable::write_file(&self.dir.join(POISON_FILE), durable_seq.to_string().as_bytes(), 0o600);
        if let Err(error) = marked {
            tracing::error!(%error, "the poison mark could not be written either");
        }
    }
}

impl Inner {
    /// Unlocks in so many words: a process that is being started holds a copy of every file until it has begun.
    fn unlock(&self) {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = lock.map(|lock| rustix::fs::flock(&lock, FlockOperation::Unlock)) {
            tracing::warn!(%error, "unlock the volume");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.unlock();
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume").field("dir", &self.inner.dir).field("spec", &self.inner.spec).finish()
    }
}

/// Makes the recovered log durable and removes what does not belong to it, newest first, so that a crash
/// in between recovers to the same place.
fn settle(dir: &Path, disk: &dyn Disk, metadata: &Metadata, replayed: &Replayed) -> Result<()> {
    for leftover in replayed.leftovers.iter().rev() {
        disk.remove(leftover).map_err(|e| Error::io("remove a leftover segment", e))?;
    }
    if let Some((last, earlier)) = replayed.chain.split_last() {
        let file = &last.segment.file;
        let len = file.metadata().map_err(|e| Error::io("size of a segment", e))?.len();
        if len > last.end {
            file.set_len(last.end).map_err(|e| Error::io("cut the torn tail", e))?;
            disk.sync(&last.segment).map_err(|e| Error::io("sync the log", e))?;
        }
        for sealed in earlier {
            sealed.segment.cut(sealed.end).map_err(|e| Error::io("cut a sealed segment", e))?;
        }
    }
    for sealed in replayed.chain.iter().filter(|sealed| sealed.last.seq > metadata.durable_seq) {
        disk.sync(&sealed.segment).map_err(|e| Error::io("sync the log", e))?;
    }
    disk.sync_dir(dir).map_err(|e| Error::io("sync the volume's directory", e))
}

fn existing(dir: &Path) -> Result<Option<Metadata>> {
    match Metadata::read(dir) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(e) if e.kind() == crate::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn same_spec(found: &Metadata, wanted: &Spec) -> Result<()> {
    if spec(found) == *wanted {
        return Ok(());
    }
    Err(Error::conflict("the directory holds a volume of another specification"))
}

fn spec(metadata: &Metadata) -> Spec {
    Spec {
        size_bytes: metadata.size_bytes,
        base_root: metadata.base_root.clone(),
        domain: metadata.domain.clone(),
    }
}

/// Takes the ownership of a volume's directory for as long as the file stays open.
fn lock_dir(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK_FILE);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = opened.map_err(|e| Error::io("open the volume's lock", e))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::conflict("the volume has an owner")),
        Err(e) => Err(Error::io("lock the volume", e.into())),
    }
}

fn read_poison(dir: &Path) -> Result<Option<u64>> {
    match fs::read_to_string(dir.join(POISON_FILE)) {
        Ok(text) => {
            let seq = text.trim().parse();
            seq.map(Some).map_err(|e| Error::corrupt("parse the poison mark").with_source(e))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read the poison mark", e)),
    }
}

fn clear_poison(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(POISON_FILE)) {
        Ok(()) => durable::sync_dir(dir),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}
