//! Bounded in-memory caches, shared by all volumes of a store. One flight a key: of many readers
//! that miss at once, one fetches. Losing any entry costs time only.

use std::fmt;
use std::hash::Hash as StdHash;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use quick_cache::sync::{Cache as Inner, DefaultLifecycle, GuardResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Weighter};

use crate::error::Result;
use crate::format::node::{Node, NodePack, NodeRef};
use crate::format::pack::{Directory, FrameEntry, PackTable};
use crate::format::{NodePackId, PackId};

/// Keys begin with the domain's fingerprint: an id alone, without the secret, finds nothing.
pub(crate) type Fingerprint = [u8; 16];

/// How much memory a cached value holds, nearly.
pub(crate) trait Weigh {
    fn weigh(&self) -> u64;
}

impl Weigh for Bytes {
    fn weigh(&self) -> u64 {
        self.len() as u64 + 128
    }
}

impl Weigh for Node {
    fn weigh(&self) -> u64 {
        let bytes = match self {
            Node::Leaf(leaf) => size_of_val(leaf.packs.as_slice()) + size_of_val(leaf.runs.as_slice()),
            Node::Inner(children) => size_of_val(children.as_slice()),
        };
        bytes as u64 + 192
    }
}

impl Weigh for Arc<NodePack> {
    fn weigh(&self) -> u64 {
        self.weight()
    }
}

impl Weigh for Arc<PackTable> {
    fn weigh(&self) -> u64 {
        (self.copy_bytes() + size_of::<FrameEntry>() * self.frames.len() + 512) as u64
    }
}

impl Weigh for Arc<Directory> {
    fn weigh(&self) -> u64 {
        self.table.weigh() + size_of_val(self.ids.as_slice()) as u64
    }
}

#[derive(Debug, Clone)]
struct ByWeight;

impl<K, V: Weigh> Weighter<K, V> for ByWeight {
    fn weight(&self, _: &K, value: &V) -> u64 {
        value.weigh()
    }
}

/// A cache bounded by the weight of what it holds.
pub(crate) struct Cache<K, V> {
    inner: Inner<K, V, ByWeight>,
}

impl<K: Eq + StdHash + Clone, V: Weigh + Clone> Cache<K, V> {
    pub(crate) fn new(bytes: u64, bytes_each: u64) -> Self {
        let items = usize::try_from(bytes / bytes_each).unwrap_or(usize::MAX).max(16);
        Self { inner: Inner::with_weighter(items, bytes, ByWeight) }
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        self.inner.insert(key, value);
    }

    /// The value, if it is here now.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.inner.get(key)
    }

    pub(crate) fn has(&self, key: &K) -> bool {
        self.inner.peek(key).is_some()
    }

    /// The right, and the duty, to fetch a value; None where it is there or somebody fetches it. Never waits.
    pub(crate) fn claim(&self, key: &K) -> Option<Claim<'_, K, V>> {
        match self.inner.get_value_or_guard(key, Some(Duration::ZERO)) {
            GuardResult::Guard(guard) => Some(Claim { guard }),
            GuardResult::Value(_) | GuardResult::Timeout => None,
        }
    }

    /// The cached value, or the one that `fetch` gives; waits where another task fetches it.
    pub(crate) async fn get_or_fetch<F>(&self, key: &K, fetch: impl FnOnce() -> F) -> Result<V>
    where
        F: Future<Output = Result<V>> + Send,
        K: Send + Sync,
        V: Send + Sync,
    {
        if let Some(value) = self.inner.get(key) {
            return Ok(value);
        }
        // In a box: a hit, the usual case, should not carry the state of a fetch around.
        let fetched: BoxFuture<'_, Result<V>> = Box::pin(self.inner.get_or_insert_async(key, fetch()));
        fetched.await
    }
}

/// Others who want the value wait while this is held; dropped without a value, one of them fetches it.
pub(crate) struct Claim<'a, K, V> {
    guard: PlaceholderGuard<'a, K, V, ByWeight, DefaultHashBuilder, DefaultLifecycle<K, V>>,
}

impl<K: Eq + StdHash + Clone, V: Weigh + Clone> Claim<'_, K, V> {
    pub(crate) fn fill(self, value: V) {
        // Refused only where the entry was removed meanwhile: then it is fetched again.
        self.guard.insert(value).ok();
    }
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

/// All caches of a store.
#[derive(Debug)]
pub(crate) struct Caches {
    /// Decoded frames.
    pub(crate) frames: Cache<(Fingerprint, PackId, u32), Bytes>,
    /// Under a version of the relocation map.
    pub(crate) nodes: Cache<(Fingerprint, u64, NodeRef), Node>,
    pub(crate) node_packs: Cache<(Fingerprint, NodePackId), Arc<NodePack>>,
    pub(crate) tables: Cache<(Fingerprint, PackId), Arc<PackTable>>,
    pub(crate) directories: Cache<(Fingerprint, PackId), Arc<Directory>>,
}

impl Caches {
    pub(crate) fn new(frame_bytes: u64, node_bytes: u64, directory_bytes: u64) -> Self {
        Self {
            frames: Cache::new(frame_bytes, 256 << 10),
            nodes: Cache::new(node_bytes / 4, 512),
            node_packs: Cache::new(node_bytes / 2, 64 << 10),
            tables: Cache::new(node_bytes / 4, 8 << 10),
            directories: Cache::new(directory_bytes, 256 << 10),
        }
    }
}
