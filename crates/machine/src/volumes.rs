//! The volumes of a machine: opened over their snapshots, served to QEMU, frozen on request.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use blockstore::{CacheOptions, DomainSecret, Reader, RemoteOptions, Root, S3Options, Store};
use hypervisor::Transport;
use model::{Clock, IdGen, VolumeId};
use tokio::net::UnixListener;
use tokio::sync::{Mutex, OnceCell};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use volume::nbd::Export;
use volume::vhost::Device;
use volume::{Base, Volume, ZeroBase};

use crate::control::VolumeFreeze;
use crate::directory;
use crate::error::{Error, Kind, Result};
use crate::spec::{BaseSpec, MachineSpec, VolumeSpec};

/// Memory of one machine for what it read from the snapshot store.
const FRAME_CACHE_BYTES: u64 = 64 << 20;
const NODE_CACHE_BYTES: u64 = 16 << 20;

/// Where the snapshots are.
#[derive(Debug)]
pub(crate) enum StorePlace {
    Directory(PathBuf),
    Bucket(S3Options, Option<CacheOptions>),
}

impl StorePlace {
    pub(crate) fn of(spec: &MachineSpec) -> Self {
        match &spec.store_bucket {
            Some(bucket) => Self::Bucket(bucket.clone(), spec.store_cache.clone()),
            None => Self::Directory(spec.store_directory.clone()),
        }
    }
}

/// All volumes of one machine.
#[derive(Debug)]
pub(crate) struct Volumes {
    directory: PathBuf,
    place: StorePlace,
    ids: Arc<dyn IdGen>,
    clock: Arc<dyn Clock>,
    store: OnceCell<Store>,
    transport: OnceLock<Transport>,
    open: Mutex<Vec<OpenVolume>>,
}

#[derive(Debug)]
struct OpenVolume {
    volume_id: VolumeId,
    volume: Volume,
    socket: String,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

/// What the guest reads as a disk's serial number: the volume id without its dash.
pub(crate) fn serial(volume_id: &VolumeId) -> String {
    volume_id.as_str().replace('-', "")
}

/// The socket in the machine's directory at which QEMU finds a volume.
pub(crate) fn socket_name(volume_id: &VolumeId, transport: Transport) -> String {
    let protocol = match transport {
        Transport::Nbd => "nbd",
        Transport::VhostUser { .. } => "vhost",
    };
    format!("{}.{protocol}", serial(volume_id))
}

impl Volumes {
    pub(crate) fn new(
        directory: &Path,
        place: StorePlace,
        ids: Arc<dyn IdGen>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            directory: directory.to_owned(),
            place,
            ids,
            clock,
            store: OnceCell::new(),
            transport: OnceLock::new(),
            open: Mutex::default(),
        }
    }

    /// Called once, before the first volume is opened.
    pub(crate) fn set_transport(&self, transport: Transport) {
        self.transport.get_or_init(|| transport);
    }

    pub(crate) fn transport(&self) -> Transport {
        self.transport.get().copied().unwrap_or(Transport::Nbd)
    }

    /// Becomes the volume's owner and serves it until it is closed.
    pub(crate) async fn open(&self, spec: &VolumeSpec) -> Result<()> {
        let base: Arc<dyn Base> = match &spec.base {
            Some(base) => Arc::new(self.reader(base).await?),
            None => Arc::new(ZeroBase),
        };
        let volume = Volume::open(&spec.directory, base)
            .await
            .map_err(|e| Error { context: format!("open {}", spec.volume_id), ..Error::from(e) })?;
        let socket = socket_name(&spec.volume_id, self.transport());
        let listener = directory::listen(&self.directory, &socket)?;
        let shutdown = CancellationToken::new();
        let server = self.serve(&spec.volume_id, volume.clone(), listener, shutdown.clone());
        let volume_id = spec.volume_id.clone();
        self.open.lock().await.push(OpenVolume { volume_id, volume, socket, shutdown, server });
        Ok(())
    }

    fn serve(
        &self,
        volume_id: &VolumeId,
        volume: Volume,
        listener: UnixListener,
        shutdown: CancellationToken,
    ) -> JoinHandle<()> {
        match self.transport() {
            Transport::Nbd => {
                let export = Export { name: volume_id.to_string(), read_only: false };
                tokio::spawn(volume::nbd::serve(volume, listener, export, shutdown))
            }
            Transport::VhostUser { queue_count } => {
                let device = Device { serial: serial(volume_id), queue_count };
                tokio::spawn(volume::vhost::serve(
                    volume,
                    listener,
                    device,
                    Arc::clone(&self.clock),
                    shutdown,
                ))
            }
        }
    }

    async fn reader(&self, base: &BaseSpec) -> Result<Reader> {
        let mut secret = [0; 32];
        hex::decode_to_slice(&base.domain_secret, &mut secret)
            .map_err(|_| Error::new(Kind::Invalid, "a domain secret is 64 hexadecimal digits"))?;
        let root: Root = base.root.parse().map_err(store_error)?;
        let store = self.store.get_or_try_init(|| self.open_store()).await?;
        let domain = store.domain(root.domain(), &DomainSecret::new(secret));
        domain.launch_reader(&root).await.map_err(store_error)
    }

    async fn open_store(&self) -> Result<Store> {
        let mut options = blockstore::Options {
            frame_cache_bytes: FRAME_CACHE_BYTES,
            node_cache_bytes: NODE_CACHE_BYTES,
            ..blockstore::Options::default()
        };
        let objects = match &self.place {
            StorePlace::Directory(directory) => Store::local(directory),
            StorePlace::Bucket(bucket, cache) => {
                // The server has made sure that the bucket is one that will do.
                let remote = RemoteOptions::new(Arc::clone(&self.clock));
                options.remote = Some(RemoteOptions { is_checked: false, cache: cache.clone(), ..remote });
                Store::s3(bucket)
            }
        };
        let objects = objects.map_err(store_error)?;
        Store::open(objects, Arc::clone(&self.ids), options).await.map_err(store_error)
    }

    async fn find(&self, volume_id: &VolumeId) -> Result<Volume> {
        let open = self.open.lock().await;
        let found = open.iter().find(|open| open.volume_id == *volume_id);
        let unknown = || Error::new(Kind::NotFound, format!("{volume_id} is not attached"));
        found.map(|open| open.volume.clone()).ok_or_else(unknown)
    }

    /// Returns the sequence number of the frozen layer.
    pub(crate) async fn freeze(&self, volume_id: &VolumeId, key: &str) -> Result<u64> {
        Ok(self.find(volume_id).await?.freeze(key).await?.seq)
    }

    /// Returns the sequence numbers of the frozen layers.
    pub(crate) async fn freeze_together(&self, freezes: &[VolumeFreeze]) -> Result<Vec<u64>> {
        let mut volumes = Vec::with_capacity(freezes.len());
        for freeze in freezes {
            volumes.push(self.find(&freeze.volume_id).await?);
        }
        let keys = freezes.iter().map(|freeze| freeze.key.as_str());
        let together: Vec<(&Volume, &str)> = volumes.iter().zip(keys).collect();
        let frozen = Volume::freeze_together(&together).await?;
        Ok(frozen.into_iter().map(|frozen| frozen.seq).collect())
    }

    pub(crate) async fn release(&self, volume_id: &VolumeId, key: &str) -> Result<()> {
        Ok(self.find(volume_id).await?.release(key).await?)
    }

    pub(crate) async fn close(&self, volume_id: &VolumeId) -> Result<()> {
        let mut open = self.open.lock().await;
        let position = open.iter().position(|open| open.volume_id == *volume_id);
        let Some(position) = position else { return Ok(()) };
        let closing = open.remove(position);
        drop(open);
        self.finish(closing).await
    }

    /// Flushes and closes everything; returns what went wrong.
    pub(crate) async fn close_all(&self) -> Vec<String> {
        let all = std::mem::take(&mut *self.open.lock().await);
        let mut errors = Vec::new();
        for open in all {
            let volume_id = open.volume_id.clone();
            if let Err(error) = self.finish(open).await {
                tracing::error!(%volume_id, error = error.chain(), "a volume could not be closed cleanly");
                errors.push(format!("{volume_id}: {}", error.chain()));
            }
        }
        errors
    }

    async fn finish(&self, open: OpenVolume) -> Result<()> {
        open.shutdown.cancel();
        if let Err(error) = open.server.await {
            tracing::error!(%error, "the server of a volume ended badly");
        }
        directory::remove(&self.directory, &open.socket);
        Ok(open.volume.close().await?)
    }
}

fn store_error(error: blockstore::Error) -> Error {
    let kind = match error.kind() {
        blockstore::ErrorKind::NotFound => Kind::NotFound,
        blockstore::ErrorKind::Conflict => Kind::Conflict,
        blockstore::ErrorKind::Unavailable => Kind::Unavailable,
        blockstore::ErrorKind::Corrupt => Kind::Corrupt,
        blockstore::ErrorKind::Invalid => Kind::Invalid,
    };
    Error::caused(kind, "snapshot store", error)
}
