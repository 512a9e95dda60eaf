//! What this process knows of where repacking has put the blocks of a domain, and the objects that tell:
//! `map/<domain>/<version>`, each with a copy, each the whole state.
//!
//! A map is needed only once an old pack is gone, so a process that merely reads asks for the newest one when
//! something is missing; whoever writes or collects has it from the start.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use object_store::path::Path;

use crate::domain::DomainInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::PackId;
use crate::format::relocation::{MAP_BYTES_MAX, RelocationMap};
use crate::objects::{Put, folder, named};

/// Older versions, for readers that have just listed them.
const KEPT: u64 = 4;
/// A version may be removed between being listed and being read.
const READS: u32 = 3;
/// All that was ever repacked hangs on a map: it is stored twice.
const COPY: &str = "-copy";

#[derive(Debug, Default)]
pub(crate) struct Relocations {
    version: AtomicU64,
    map: RwLock<Arc<RelocationMap>>,
}

impl Relocations {
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn map(&self) -> Arc<RelocationMap> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn has(&self, pack: PackId) -> bool {
        self.version() > 0 && self.map().has(pack)
    }

    /// Takes a map if it is newer than what is known.
    fn install(&self, map: Arc<RelocationMap>) -> Arc<RelocationMap> {
        let mut known = self.map.write().unwrap_or_else(PoisonError::into_inner);
        if map.version > known.version {
            *known = map;
            self.version.store(known.version, Ordering::Release);
        }
        Arc::clone(&known)
    }
}

impl DomainInner {
    /// The newest map, which this process knows from then on.
    ///
    /// # Errors
    /// `Corrupt` where it cannot be read: an older one would not do, it lacks what was moved since.
    pub(crate) async fn newest_map(&self) -> Result<Arc<RelocationMap>> {
        let known = self.ledger.relocations.map();
        let mut read = Ok(None);
        for _ in 0..READS {
            let Some(newest) = versions(self).await?.into_iter().max() else { return Ok(known) };
            if newest <= known.version {
                return Ok(known);
            }
            read = read_map(self, newest).await.map(Some);
            if !read.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound) {
                break;
            }
        }
        let map = read.map_err(Error::missing_is_corrupt)?;
        Ok(map.map_or(known, |map| self.ledger.relocations.install(Arc::new(map))))
    }

    /// Whether blocks were moved since this process knew `version`: what was missing may be elsewhere. A damaged
    /// map tells nothing; one that cannot be asked for now is an error.
    pub(crate) async fn has_moved_since(&self, version: u64) -> Result<bool> {
        match self.newest_map().await {
            Err(error) if error.kind() == ErrorKind::Corrupt => tracing::error!(
                error = &error as &dyn std::error::Error,
                domain = self.keys.domain,
                "a relocation map cannot be read"
            ),
            read => drop(read?),
        }
        Ok(self.ledger.relocations.version() != version)
    }

    /// Stores a map, which must be one newer than the newest there is, and goes by it from then on.
    pub(crate) async fn put_map(&self, map: RelocationMap) -> Result<Arc<RelocationMap>> {
        let salt = model::id_gen::random_bytes(&*self.store.ids);
        let bytes = bytes::Bytes::from(map.encode(&self.keys, salt));
        if bytes.len() as u64 > MAP_BYTES_MAX {
            return Err(Error::invalid("put a relocation map: it is too long"));
        }
        self.store.raise_to_maps().await?;
        let path = path(self, map.version, "");
        let put = self.store.objects.put_new(&path, bytes.clone()).await?;
        // Also where the put succeeded: the name of an old version that was removed is free again.
        let versions = versions(self).await?;
        if put == Put::Existed || versions.iter().any(|version| *version > map.version) {
            return Err(Error::new(ErrorKind::Conflict, format!("put {path}: another one was first")));
        }
        self.store.objects.put_new(&self::path(self, map.version, COPY), bytes).await?;
        let map = self.ledger.relocations.install(Arc::new(map));
        for old in versions.into_iter().filter(|version| version + KEPT <= map.version) {
            for copy in ["", COPY] {
                self.store.objects.delete(&self::path(self, old, copy)).await?;
            }
        }
        Ok(map)
    }

    /// Makes the copy of the newest map that a crash has prevented.
    pub(crate) async fn complete_map(&self) -> Result<()> {
        let newest = self.ledger.relocations.version();
        if newest == 0 || self.store.objects.exists(&path(self, newest, COPY)).await? {
            return Ok(());
        }
        let bytes = self.store.objects.get(&path(self, newest, ""), MAP_BYTES_MAX).await?;
        RelocationMap::parse(&self.keys, newest, &bytes)?;
        self.store.objects.put_new(&path(self, newest, COPY), bytes).await.map(drop)
    }

    /// The objects of the newest version, and what is the matter with each. The copy may not be there yet.
    pub(crate) async fn check_maps(&self) -> Result<Vec<(Path, Result<()>)>> {
        let Some(newest) = versions(self).await?.into_iter().max() else { return Ok(Vec::new()) };
        let mut checked = Vec::new();
        for copy in ["", COPY] {
            let read = read_copy(self, newest, copy).await.map(drop);
            let is_to_come =
                !copy.is_empty() && read.as_ref().is_err_and(|e| e.kind() == ErrorKind::NotFound);
            if !is_to_come {
                checked.push((path(self, newest, copy), read));
            }
        }
        Ok(checked)
    }
}

fn path(domain: &DomainInner, version: u64, copy: &str) -> Path {
    named("map", &domain.keys.domain, &format!("{version:016x}{copy}"))
}

async fn versions(domain: &DomainInner) -> Result<Vec<u64>> {
    let metas = domain.store.objects.list(&folder("map", &domain.keys.domain)).await?;
    let version = |name: &str| {
        let digits = name.strip_suffix(COPY).unwrap_or(name);
        u64::from_str_radix(digits, 16).ok().filter(|version| format!("{version:016x}") == digits)
    };
    Ok(metas.iter().filter_map(|meta| version(meta.location.filename()?)).collect())
}

async fn read_map(domain: &DomainInner, version: u64) -> Result<RelocationMap> {
    let first = match read_copy(domain, version, "").await {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => e,
        read => return read,
    };
    match read_copy(domain, version, COPY).await {
        Ok(map) => {
            tracing::warn!(
                error = &first as &dyn std::error::Error,
                domain = domain.keys.domain,
                version,
                "a relocation map is damaged; its copy is whole"
            );
            Ok(map)
        }
        Err(second) if second.kind() == ErrorKind::NotFound => Err(first),
        Err(second) => Err(second),
    }
}

async fn read_copy(domain: &DomainInner, version: u64, copy: &str) -> Result<RelocationMap> {
    let bytes = domain.store.objects.get(&path(domain, version, copy), MAP_BYTES_MAX).await?;
    RelocationMap::parse(&domain.keys, version, &bytes)
}
