//! Sealed frames on their way from a store behind a network: from memory, else from the host's disk, else
//! from the store, in requests of neighbours. At most one request is under way for a frame.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::try_join_all;
use object_store::path::Path;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::disk::DiskCache;
use crate::cache::{Cache, Claim};
use crate::error::{Error, Result};
use crate::format::PackId;
use crate::objects::Objects;

/// Neighbours are fetched together up to this size.
const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// Frames that were fetched and not yet decoded.
const MEMORY_BYTES: u64 = 32 << 20;
/// Of a disk that nobody launched before.
const HYDRATED_BYTES_MAX: u64 = 256 << 20;
/// Of requests for what nobody waits for yet that are under way, in KiB: what fills a link of 100 MB/s with 20 ms to
/// the other end. A reader's request goes behind them, so more would make readers wait.
const SOON_KIB: u32 = 2 << 10;

/// Where a sealed frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    pub(crate) pack: PackId,
    pub(crate) offset: u64,
    pub(crate) len: u32,
}

impl Part {
    pub(crate) fn end(&self) -> u64 {
        self.offset + u64::from(self.len)
    }

    /// Whether `next` lies right behind, and one request may ask for both after `bytes`.
    fn joins(&self, next: &Self, bytes: u64) -> bool {
        self.pack == next.pack
            && self.end() == next.offset
            && bytes + u64::from(next.len) <= REQUEST_BYTES_MAX
    }
}

type Key = (PackId, u64);

#[derive(Debug)]
pub(crate) struct Sealed {
    memory: Cache<Key, Bytes>,
    pub(crate) disk: Option<Arc<DiskCache>>,
    /// Held by what nobody waits for, a permit a KiB.
    soon: Semaphore,
    /// Requests that readers wait for, and when there are none any more.
    now: AtomicUsize,
    calm: Notify,
}

/// A reader waits.
struct Waiting<'a>(&'a Sealed);

impl<'a> Waiting<'a> {
    fn for_request(sealed: &'a Sealed) -> Self {
        sealed.now.fetch_add(1, Ordering::SeqCst);
        Self(sealed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.calm.notify_waiters();
        }
    }
}

/// Who wants frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A reader waits.
    Now,
    /// They are likely to be read: what the host's disk has stays there.
    Soon,
}

impl Sealed {
    pub(crate) fn new(disk: Option<Arc<DiskCache>>) -> Self {
        let soon = Semaphore::new(SOON_KIB as usize);
        Self {
            memory: Cache::new(MEMORY_BYTES, 64 << 10),
            disk,
            soon,
            now: AtomicUsize::new(0),
            calm: Notify::new(),
        }
    }

    /// How much is worth fetching before it is read.
    pub(crate) fn bytes_max(&self) -> u64 {
        if self.disk.is_some() { HYDRATED_BYTES_MAX } else { MEMORY_BYTES / 2 }
    }

    /// Waits until readers have all they wait for, and until not too much else is under way.
    async fn turn(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).clamp(1, SOON_KIB);
        let turn = self.soon.acquire_many(kib).await.ok();
        loop {
            let mut calm = std::pin::pin!(self.calm.notified());
            calm.as_mut().enable();
            if self.now.load(Ordering::SeqCst) == 0 {
                return turn;
            }
            calm.await;
        }
    }

    /// One frame; waits where somebody fetches it already.
    pub(crate) async fn get(&self, objects: &Objects, path: &Path, part: Part) -> Result<Bytes> {
        let fetch = || async {
            match self.on_disk(&[part], Wanted::Now).await.pop() {
                Some(Found::Bytes(bytes)) => Ok(bytes),
                _ => self.fetch(objects, path, part).await,
            }
        };
        self.memory.get_or_fetch(&(part.pack, part.offset), fetch).await
    }

    /// The frame from the store itself, whatever is known of it here: that did not open.
    pub(crate) async fn get_again(&self, objects: &Objects, path: &Path, part: Part) -> Result<Bytes> {
        let bytes = self.fetch(objects, path, part).await?;
        self.memory.insert((part.pack, part.offset), bytes.clone());
        Ok(bytes)
    }

    async fn fetch(&self, objects: &Objects, path: &Path, part: Part) -> Result<Bytes> {
        let _waiting = Waiting::for_request(self);
        let bytes = objects.get_range(path, part.offset..part.end()).await?;
        self.keep(part, bytes.clone());
        Ok(bytes)
    }

    /// Brings parts of one pack, in ascending order, into memory (or onto the disk) that are not there or
    /// on their way. Returns how many requests it took.
    pub(crate) async fn fill(
        &self,
        objects: &Objects,
        path: &Path,
        parts: &[Part],
        wanted: Wanted,
    ) -> Result<usize> {
        // Before anything is claimed: a reader who comes meanwhile fetches what it needs itself.
        let _turn = match wanted {
            Wanted::Now => None,
            Wanted::Soon => self.turn(parts.iter().map(|part| u64::from(part.len)).sum()).await,
        };
        let claim = |part: &Part| Some((*part, self.memory.claim(&(part.pack, part.offset))?));
        let claims: Vec<(Part, Claim<'_, Key, Bytes>)> = parts.iter().filter_map(claim).collect();
        let claimed: Vec<Part> = claims.iter().map(|(part, _)| *part).collect();
        let on_disk = self.on_disk(&claimed, wanted).await;
        let mut missing = Vec::new();
        for ((part, claim), found) in claims.into_iter().zip(on_disk) {
            match found {
                Found::Bytes(bytes) => claim.fill(bytes),
                Found::There => drop(claim),
                Found::Missing => missing.push((part, claim)),
            }
        }
        let requests = requests(missing);
        let count = requests.len();
        try_join_all(requests.into_iter().map(|request| self.request(objects, path, request, wanted)))
            .await?;
        Ok(count)
    }

    async fn request(
        &self,
        objects: &Objects,
        path: &Path,
        request: Vec<(Part, Claim<'_, Key, Bytes>)>,
        wanted: Wanted,
    ) -> Result<()> {
        let (Some((first, _)), Some((last, _))) = (request.first(), request.last()) else { return Ok(()) };
        let range: Range<u64> = first.offset..last.end();
        let _waiting = (wanted == Wanted::Now).then(|| Waiting::for_request(self));
        let whole = Part { len: u32::try_from(range.end - range.start).unwrap_or(u32::MAX), ..*first };
        let bytes = objects.get_range(path, range).await?;
        for (part, claim) in request {
            let start = usize::try_from(part.offset - whole.offset).unwrap_or(usize::MAX);
            let sealed = start.checked_add(part.len as usize).filter(|end| *end <= bytes.len());
            let end = sealed.ok_or_else(|| Error::corrupt("fetch frames: the answer is too short"))?;
            claim.fill(bytes.slice(start..end));
        }
        self.keep(whole, bytes);
        Ok(())
    }

    async fn on_disk(&self, parts: &[Part], wanted: Wanted) -> Vec<Found> {
        let (Some(disk), false) = (&self.disk, parts.is_empty()) else {
            return parts.iter().map(|_| Found::Missing).collect();
        };
        let (disk, parts) = (Arc::clone(disk), parts.to_vec());
        let count = parts.len();
        let look = move |part: Part| match wanted {
            Wanted::Soon if disk.is_missing(part.pack, part.offset, part.len) => Found::Missing,
            Wanted::Soon => Found::There,
            Wanted::Now => disk.read(part.pack, part.offset, part.len).map_or(Found::Missing, Found::Bytes),
        };
        let looked = tokio::task::spawn_blocking(move || parts.into_iter().map(look).collect::<Vec<_>>());
        looked.await.unwrap_or_else(|_| (0..count).map(|_| Found::Missing).collect())
    }

    /// Onto the disk, behind the reader's back.
    fn keep(&self, part: Part, bytes: Bytes) {
        if let Some(disk) = self.disk.clone() {
            drop(tokio::task::spawn_blocking(move || disk.write(part.pack, part.offset, &bytes)));
        }
    }
}

enum Found {
    Bytes(Bytes),
    There,
    Missing,
}

/// Neighbours together.
fn requests<C>(missing: Vec<(Part, C)>) -> Vec<Vec<(Part, C)>> {
    let mut requests: Vec<Vec<(Part, C)>> = Vec::new();
    let mut bytes = 0;
    for (part, claim) in missing {
        match requests.last_mut() {
            Some(request) if request.last().is_some_and(|(last, _)| last.joins(&part, bytes)) => {
                bytes += u64::from(part.len);
                request.push((part, claim));
            }
            _ => {
                bytes = u64::from(part.len);
                requests.push(vec![(part, claim)]);
            }
        }
    }
    requests
}

/// Neighbours of one pack together, whatever the order of the packs.
pub(crate) fn groups(parts: impl IntoIterator<Item = Part>) -> Vec<Vec<Part>> {
    requests(parts.into_iter().map(|part| (part, ())).collect())
        .into_iter()
        .map(|group| group.into_iter().map(|(part, ())| part).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_asked_for_together_up_to_a_mebibyte() {
        let part = |pack, offset, len| Part { pack: PackId([pack; 32]), offset, len };
        let parts = [part(1, 0, 10), part(1, 10, 20), part(1, 40, 5), part(2, 45, 5), part(2, 50, 1 << 20)];
        let lens: Vec<usize> = groups(parts).iter().map(Vec::len).collect();
        assert_eq!(lens, [2, 1, 1, 1]);
        let many = (0..40).map(|n| part(1, n * 60_000, 60_000));
        let lens: Vec<usize> = groups(many).iter().map(Vec::len).collect();
        assert_eq!(lens, [17, 17, 6]);
    }
}
