//! A store: an object store with a format, its caches, and the domains in it.

use std::collections::HashMap;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use model::{Clock, IdGen, SystemClock};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::cache::{Caches, Fingerprint};
use crate::domain::Domain;
use crate::durable::DurableLocal;
use crate::error::{Error, ErrorKind, Result};
use crate::format::store::{STORE_BYTES, StoreHeader, WITH_MAPS};
use crate::gc::Ledger;
use crate::index::Index;
use crate::keys::{DomainKeys, DomainSecret};
use crate::objects::{Objects, Put};
use crate::remote::sealed::Sealed;
use crate::remote::{DiskCache, Remote, RemoteOptions};
use crate::s3::S3Options;
use crate::workers::Workers;

const PACK_BYTES_CEILING: usize = 32 << 20;
const NODE_PACK_BYTES_CEILING: usize = 2 << 20;
/// How many domains keep their dedup index in memory while nobody writes to them.
const IDLE_INDEXES_MAX: usize = 8;
/// A store that does not answer for this long when it is opened is configured wrongly, or down.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// Bounds on memory, and sizes of what is written.
#[derive(Debug, Clone)]
pub struct Options {
    /// Decoded frames, shared by all readers.
    pub frame_cache_bytes: u64,
    /// Tree nodes and frame tables.
    pub node_cache_bytes: u64,
    /// Block ids of packs that writers found duplicates in.
    pub directory_cache_bytes: u64,
    /// Blocks that one domain's dedup index remembers; above it the index samples.
    pub index_entries_max: usize,
    /// Packs whose block ids are read, newest first, when a domain is first written to.
    pub index_seed_packs_max: usize,
    /// A pack is closed at this size.
    pub pack_bytes: usize,
    /// A node pack is closed at this size.
    pub node_pack_bytes: usize,
    /// Memory that one writer's finished leaves may take before they are stored.
    pub writer_leaf_bytes: usize,
    /// Frames that are compressed at once.
    pub compression_tasks: usize,
    /// What leases and the collector's waiting times are measured with.
    pub clock: Arc<dyn Clock>,
    /// For a store behind a network; None for a local directory.
    pub remote: Option<RemoteOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            frame_cache_bytes: 256 << 20,
            node_cache_bytes: 128 << 20,
            directory_cache_bytes: 128 << 20,
            index_entries_max: 2 << 20,
            index_seed_packs_max: 1024,
            pack_bytes: 16 << 20,
            node_pack_bytes: 1 << 20,
            writer_leaf_bytes: 32 << 20,
            compression_tasks: std::thread::available_parallelism().map_or(2, usize::from),
            clock: Arc::new(SystemClock::new()),
            remote: None,
        }
    }
}

/// A snapshot store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<StoreInner>,
}

#[derive(Debug)]
pub(crate) struct StoreInner {
    pub(crate) objects: Objects,
    pub(crate) ids: Arc<dyn IdGen>,
    pub(crate) options: Options,
    pub(crate) caches: Caches,
    pub(crate) workers: Workers,
    /// None where frames are read from a local store.
    pub(crate) sealed: Option<Sealed>,
    /// Most recently used last.
    indexes: Mutex<Vec<(Fingerprint, Arc<Index>)>>,
    ledgers: Mutex<HashMap<Fingerprint, Arc<Ledger>>>,
}

impl Store {
    /// Opens a store, and makes it one where nothing is there yet. A store of a newer format is
    /// refused as `Invalid`.
    pub async fn open(
        objects: Arc<dyn ObjectStore>,
        ids: Arc<dyn IdGen>,
        mut options: Options,
    ) -> Result<Self> {
        // Readers refuse objects above their limits, whoever chose the size.
        options.pack_bytes = options.pack_bytes.min(PACK_BYTES_CEILING);
        options.node_pack_bytes = options.node_pack_bytes.min(NODE_PACK_BYTES_CEILING);
        let objects = match &options.remote {
            Some(remote) => Objects::remote(objects, Arc::new(Remote::new(remote, Arc::clone(&ids)))),
            None => Objects::new(objects),
        };
        // Of a host's processes one has looked whether it knows the format.
        if options.remote.as_ref().is_none_or(|remote| remote.is_checked) {
            open_header(&objects.with_patience(OPEN_PATIENCE), &*ids, options.remote.as_ref()).await?;
        }
        let sealed = options.remote.as_ref().map(open_sealed).transpose()?;
        let caches =
            Caches::new(options.frame_cache_bytes, options.node_cache_bytes, options.directory_cache_bytes);
        let workers = Workers::start(options.compression_tasks)?;
        let (indexes, ledgers) = (Mutex::default(), Mutex::default());
        let inner = StoreInner { objects, ids, options, caches, workers, sealed, indexes, ledgers };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A local directory, made where it is missing. A put that has returned survives a power cut.
    pub fn local(dir: &FilePath) -> Result<Arc<dyn ObjectStore>> {
        match DurableLocal::open(dir) {
            Ok(local) => Ok(Arc::new(local)),
            Err(e) => Err(Error::new(ErrorKind::Unavailable, "open the store's directory").with_source(e)),
        }
    }

    /// A bucket. Open it with `Options::remote`. Nothing is asked of it before that.
    pub fn s3(options: &S3Options) -> Result<Arc<dyn ObjectStore>> {
        options.open()
    }

    pub fn in_memory() -> Arc<dyn ObjectStore> {
        Arc::new(InMemory::new())
    }

    /// The domain of this id. Any string is an id; the secret must be the same every time.
    pub fn domain(&self, id: &str, secret: &DomainSecret) -> Domain {
        let keys = DomainKeys::derive(id, secret);
        let (index, ledger) = (self.inner.index(keys.fingerprint), self.inner.ledger(keys.fingerprint));
        Domain::new(Arc::clone(&self.inner), keys, index, ledger)
    }
}

impl StoreInner {
    /// Before the first relocation map: programs that do not know of maps must not open the store any more.
    pub(crate) async fn raise_to_maps(&self) -> Result<()> {
        let path = Path::from("store");
        let header = StoreHeader::parse(&read_header(&self.objects, &path).await?)?;
        if header.version >= WITH_MAPS {
            return Ok(());
        }
        let header = StoreHeader { version: WITH_MAPS, ..header };
        self.objects.replace(&path, header.encode().into()).await
    }

    /// The ledger that all handles of a domain share, for as long as the store is open.
    fn ledger(&self, fingerprint: Fingerprint) -> Arc<Ledger> {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(ledgers.entry(fingerprint).or_default())
    }

    /// Of a store behind a network.
    pub(crate) fn clock(&self) -> Option<Arc<dyn Clock>> {
        self.options.remote.as_ref().map(|remote| Arc::clone(&remote.clock))
    }

    /// The index that all handles of a domain share.
    fn index(&self, fingerprint: Fingerprint) -> Arc<Index> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        let found = indexes.iter().position(|(other, _)| *other == fingerprint);
        let entry = match found {
            Some(position) => indexes.remove(position),
            None => (fingerprint, Arc::new(Index::new(self.options.index_entries_max))),
        };
        let index = Arc::clone(&entry.1);
        indexes.push(entry);
        let mut excess = indexes.len().saturating_sub(IDLE_INDEXES_MAX);
        indexes.retain(|(_, index)| {
            let goes = excess > 0 && Arc::strong_count(index) == 1;
            excess -= usize::from(goes);
            !goes
        });
        index
    }
}

fn open_sealed(remote: &RemoteOptions) -> Result<Sealed> {
    let Some(cache) = &remote.cache else { return Ok(Sealed::new(None)) };
    let disk = DiskCache::open(cache, Arc::clone(&remote.clock))
        .map_err(|e| Error::new(ErrorKind::Unavailable, "open the cache of frames").with_source(e))?;
    Ok(Sealed::new(Some(Arc::new(disk))))
}

/// Reads the object `store`, and puts it where nothing is there yet.
async fn open_header(objects: &Objects, ids: &dyn IdGen, remote: Option<&RemoteOptions>) -> Result<()> {
    let path = Path::from("store");
    let bytes = match read_header(objects, &path).await {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let header = StoreHeader::new(model::id_gen::random_bytes(ids));
            objects.put_new(&path, header.encode().into()).await?;
            // Read back also what was just put: another process may have been first.
            read_header(objects, &path).await?
        }
        read => read?,
    };
    if remote.is_some() {
        check_conditions(objects, &path, bytes).await?;
    }
    Ok(())
}

async fn read_header(objects: &Objects, path: &Path) -> Result<Bytes> {
    let bytes = objects.get(path, STORE_BYTES as u64).await?;
    StoreHeader::parse(&bytes)?;
    Ok(bytes)
}

/// Puts what is already there, which must be refused. A server that does not know the condition
/// replaces the object by itself, and does no harm.
async fn check_conditions(objects: &Objects, path: &Path, bytes: Bytes) -> Result<()> {
    const NEEDED: &str = "the object store must honour conditional puts (If-None-Match: *), and does not";
    match objects.put_new(path, bytes).await {
        Ok(Put::Existed) => Ok(()),
        Ok(Put::Created) => Err(Error::invalid(NEEDED)),
        Err(e) => {
            let context = "make sure that the object store has conditional puts (If-None-Match: *)";
            Err(Error::new(e.kind(), context).with_source(e))
        }
    }
}
