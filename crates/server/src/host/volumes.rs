//! Volumes that no machine has, and the frozen layers of all.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use control::ports::{FrozenExtent, HostError, HostErrorKind, VolumeSpec};
use futures::future::BoxFuture;
use volume::{Base, ExtentKind, FrozenView, Volume};

use super::{blocking, error, io_error, plain_error};

/// Volumes that are kept open between two writes.
const OPEN_MAX: usize = 64;
/// Frozen layers whose map is kept between two reads.
const VIEWS_MAX: usize = 16;
/// Longer extents are told in pieces, so that one read never takes more memory.
const EXTENT_BYTES_MAX: u64 = 4 << 20;
/// Between two looks at whether the last user of a volume is done.
const LAST_USER_PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Volumes {
    dir: PathBuf,
    /// Least recently used first. One count of an `Arc` means that nobody uses the volume now.
    open: tokio::sync::Mutex<VecDeque<(String, Arc<Volume>)>>,
    /// Volumes that a machine is about to take.
    claimed: Mutex<HashSet<String>>,
    views: Mutex<VecDeque<CachedView>>,
}

/// Keeps the server from opening volumes that a machine is about to take.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    volumes: &'a Volumes,
    keys: Vec<String>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.volumes.lock_claimed().retain(|key| !self.keys.contains(key));
    }
}

#[derive(Debug)]
struct CachedView {
    key: String,
    freeze: String,
    view: Arc<FrozenView>,
}

impl Volumes {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, open: tokio::sync::Mutex::default(), claimed: Mutex::default(), views: Mutex::default() }
    }

    /// The volume's own directory. Keys are ids of ours, never paths.
    pub(super) fn dir(&self, key: &str) -> Result<PathBuf, HostError> {
        let is_id = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if is_id {
            Ok(self.dir.join(key))
        } else {
            Err(plain_error(HostErrorKind::Failed, format!("the key {key:?}")))
        }
    }

    pub(super) async fn create(&self, spec: VolumeSpec) -> Result<(), HostError> {
        let dir = self.dir(&spec.key)?;
        let made = volume::Spec {
            size_bytes: spec.size_bytes,
            base_root: spec.base.as_ref().map(|base| base.root.clone()),
            domain: spec.base.as_ref().map(|base| base.domain.clone()),
        };
        blocking(move || Volume::create(&dir, &made).map_err(|e| volume_error(&spec.key, e))).await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), HostError> {
        let dir = self.dir(key)?;
        self.let_go(key).await?;
        self.forget_views(key);
        let context = format!("remove the volume {key}");
        blocking(move || match std::fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error(context, e)),
            _ => Ok(()),
        })
        .await
    }

    pub(super) async fn write(&self, key: &str, offset_bytes: u64, data: Bytes) -> Result<(), HostError> {
        let volume = self.opened(key).await?;
        volume.write_at(offset_bytes, &data).await.map_err(|e| volume_error(key, e))?;
        volume.flush().await.map_err(|e| volume_error(key, e))
    }

    pub(super) async fn freeze(&self, key: &str, freeze: &str) -> Result<(), HostError> {
        let volume = self.opened(key).await?;
        let frozen = volume.freeze(freeze).await.map_err(|e| volume_error(key, e));
        frozen.map(|_| ())
    }

    pub(super) async fn freeze_together(&self, freezes: &[(&str, &str)]) -> Result<(), HostError> {
        let mut volumes = Vec::with_capacity(freezes.len());
        for (key, _) in freezes {
            volumes.push(self.opened(key).await?);
        }
        let together: Vec<(&Volume, &str)> =
            volumes.iter().zip(freezes).map(|(volume, (_, freeze))| (&**volume, *freeze)).collect();
        let frozen = Volume::freeze_together(&together).await;
        let keys: Vec<&str> = freezes.iter().map(|(key, _)| *key).collect();
        frozen.map(|_| ()).map_err(|e| volume_error(&keys.join(", "), e))
    }

    pub(super) async fn release(&self, key: &str, freeze: &str) -> Result<(), HostError> {
        let volume = self.opened(key).await?;
        volume.release(freeze).await.map_err(|e| volume_error(key, e))
    }

    /// The open volume; this process becomes its owner.
    async fn opened(&self, key: &str) -> Result<Arc<Volume>, HostError> {
        let dir = self.dir(key)?;
        let mut open = self.open.lock().await;
        if let Some(position) = open.iter().position(|(other, _)| other == key)
            && let Some(found) = open.remove(position)
        {
            let volume = Arc::clone(&found.1);
            open.push_back(found);
            return Ok(volume);
        }
        if self.lock_claimed().contains(key) {
            return Err(plain_error(HostErrorKind::Unavailable, format!("a machine takes the volume {key}")));
        }
        let volume = Volume::open(&dir, Arc::new(Unread)).await.map_err(|e| volume_error(key, e))?;
        let volume = Arc::new(volume);
        open.push_back((key.to_owned(), Arc::clone(&volume)));
        while open.len() > OPEN_MAX {
            let Some(idle) = open.iter().position(|(_, volume)| Arc::strong_count(volume) == 1) else {
                break;
            };
            if let Some((key, volume)) = open.remove(idle) {
                volume.close().await.map_err(|e| volume_error(&key, e))?;
            }
        }
        Ok(volume)
    }

    fn lock_claimed(&self) -> MutexGuard<'_, HashSet<String>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up ownership and takes it no more while the claim lives.
    pub(super) async fn claim(&self, keys: Vec<String>) -> Result<Claim<'_>, HostError> {
        self.lock_claimed().extend(keys.iter().cloned());
        let claim = Claim { volumes: self, keys };
        for key in &claim.keys {
            self.let_go(key).await?;
        }
        Ok(claim)
    }

    /// Gives up ownership, once those who use the volume now are done.
    async fn let_go(&self, key: &str) -> Result<(), HostError> {
        let mut open = self.open.lock().await;
        let position = open.iter().position(|(other, _)| other == key);
        if let Some((key, volume)) = position.and_then(|position| open.remove(position)) {
            while Arc::strong_count(&volume) > 1 {
                tokio::time::sleep(LAST_USER_PAUSE).await;
            }
            volume.close().await.map_err(|e| volume_error(&key, e))?;
        }
        Ok(())
    }

    pub(super) async fn frozen_extents(
        &self,
        key: &str,
        freeze: &str,
        since: Option<&str>,
    ) -> Result<Vec<FrozenExtent>, HostError> {
        let view = self.view(key, freeze).await?;
        let (key, since) = (key.to_owned(), since.map(str::to_owned));
        blocking(move || {
            let extents = match view.extents_since(since.as_deref()) {
                Err(e) if e.kind() == volume::ErrorKind::NotFound && since.is_some() => {
                    view.extents_since(None)
                }
                found => found,
            };
            let extents = extents.map_err(|e| volume_error(&key, e))?;
            Ok(extents.into_iter().flat_map(pieces).collect())
        })
        .await
    }

    pub(super) async fn frozen_read(
        &self,
        key: &str,
        freeze: &str,
        extent: FrozenExtent,
    ) -> Result<Bytes, HostError> {
        let view = self.view(key, freeze).await?;
        let len = usize::try_from(extent.len_bytes)
            .map_err(|e| error(HostErrorKind::Failed, "an extent that is larger than memory", e))?;
        let key = key.to_owned();
        blocking(move || {
            let mut bytes = vec![0; len];
            view.read_at(extent.offset_bytes, &mut bytes).map_err(|e| volume_error(&key, e))?;
            Ok(bytes.into())
        })
        .await
    }

    /// The frozen layer; its log is read through once and its map kept for the reads that follow.
    async fn view(&self, key: &str, freeze: &str) -> Result<Arc<FrozenView>, HostError> {
        if let Some(view) = self.cached_view(key, freeze) {
            return Ok(view);
        }
        let (dir, key, freeze) = (self.dir(key)?, key.to_owned(), freeze.to_owned());
        let opened = {
            let (key, freeze) = (key.clone(), freeze.clone());
            blocking(move || FrozenView::open(&dir, &freeze).map_err(|e| volume_error(&key, e))).await?
        };
        let view = Arc::new(opened);
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.push_back(CachedView { key, freeze, view: Arc::clone(&view) });
        if views.len() > VIEWS_MAX {
            views.pop_front();
        }
        Ok(view)
    }

    fn cached_view(&self, key: &str, freeze: &str) -> Option<Arc<FrozenView>> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let position = views.iter().position(|cached| cached.key == key && cached.freeze == freeze)?;
        let cached = views.remove(position)?;
        let view = Arc::clone(&cached.view);
        views.push_back(cached);
        Some(view)
    }

    pub(super) fn forget_views(&self, key: &str) {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).retain(|cached| cached.key != key);
    }

    /// Removes all volumes.
    pub(super) async fn clear(&self) -> Result<(), HostError> {
        let dir = self.dir.clone();
        let keys = blocking(move || super::names_in(&dir)).await?;
        for key in keys {
            self.delete(&key).await?;
        }
        Ok(())
    }
}

fn pieces(extent: volume::Extent) -> impl Iterator<Item = FrozenExtent> {
    let is_zero = extent.kind == ExtentKind::Zero;
    let step = if is_zero { extent.len_bytes.max(1) } else { EXTENT_BYTES_MAX };
    (0..extent.len_bytes.div_ceil(step)).map(move |n| FrozenExtent {
        offset_bytes: extent.offset_bytes + n * step,
        len_bytes: step.min(extent.len_bytes - n * step),
        is_zero,
    })
}

pub(super) fn volume_error(key: &str, source: volume::Error) -> HostError {
    let kind = match source.kind() {
        volume::ErrorKind::NotFound => HostErrorKind::NotFound,
        volume::ErrorKind::Conflict | volume::ErrorKind::Unavailable => HostErrorKind::Unavailable,
        volume::ErrorKind::Corrupt | volume::ErrorKind::Invalid => HostErrorKind::Failed,
    };
    error(kind, format!("the volume {key}"), source)
}

/// What lies under a volume while the server has it: the server writes whole blocks and reads frozen layers,
/// which know only what was written.
#[derive(Debug)]
struct Unread;

impl Base for Unread {
    fn size_bytes(&self) -> u64 {
        0
    }

    fn read_at<'a>(&'a self, _: u64, _: &'a mut [u8]) -> BoxFuture<'a, volume::Result<()>> {
        let refusal = volume::Error::new(volume::ErrorKind::Invalid, "the server reads no base");
        Box::pin(std::future::ready(Err(refusal)))
    }
}
