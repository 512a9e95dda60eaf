//! The object store as this crate uses it: bounded reads, put-if-absent, errors by kind.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};

use crate::error::{Error, ErrorKind, Result};
use crate::format::Hash;
use crate::remote::Remote;

/// Objects that may be longer are asked for once.
const HEDGED_BYTES_MAX: u64 = 16 << 20;

/// A shared handle.
#[derive(Debug, Clone)]
pub(crate) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// None for a store that answers at once or never: a local directory, memory.
    remote: Option<Arc<Remote>>,
    patience: Duration,
}

/// Whether a put-if-absent put anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    Created,
    /// Also where an earlier attempt of the same call put it and its answer was lost: who must know
    /// whose it is compares the content.
    Existed,
}

impl Objects {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, remote: None, patience: Duration::ZERO }
    }

    pub(crate) fn remote(store: Arc<dyn ObjectStore>, remote: Arc<Remote>) -> Self {
        Self { store, patience: remote.patience, remote: Some(remote) }
    }

    /// The same objects for a caller who waits at most this long for a store that fails.
    pub(crate) fn with_patience(&self, patience: Duration) -> Self {
        Self { patience: self.patience.min(patience), ..self.clone() }
    }

    async fn insist<T, F>(&self, path: &Path, call: impl Fn() -> F + Sync) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>> + Send,
        T: Send,
    {
        match &self.remote {
            Some(remote) => remote.insist(self.patience, path, call).await,
            None => call().await,
        }
    }

    /// Like `insist`, for reads: asks again also where an answer is only late.
    async fn read<T, F>(&self, path: &Path, call: impl Fn() -> F + Sync) -> object_store::Result<T>
    where
        F: Future<Output = object_store::Result<T>> + Send,
        T: Send,
    {
        match &self.remote {
            Some(remote) => remote.insist(self.patience, path, || remote.hedge(&call)).await,
            None => call().await,
        }
    }

    /// A whole object, refused above `bytes_max`.
    pub(crate) async fn get(&self, path: &Path, bytes_max: u64) -> Result<Bytes> {
        let get = || async {
            let result = self.store.get(path).await?;
            if result.meta.size > bytes_max {
                return Ok(None);
            }
            result.bytes().await.map(Some)
        };
        // A long object takes its time; that is not being late.
        let got = if bytes_max <= HEDGED_BYTES_MAX {
            self.read(path, get).await
        } else {
            self.insist(path, get).await
        };
        let bytes = got.map_err(|e| failed("get", path, e))?;
        bytes.ok_or_else(|| Error::corrupt(format!("get {path}: it is too long")))
    }

    pub(crate) async fn exists(&self, path: &Path) -> Result<bool> {
        match self.insist(path, || self.store.head(path)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(failed("look for", path, e)),
        }
    }

    /// Exactly these bytes of an object.
    pub(crate) async fn get_range(&self, path: &Path, range: Range<u64>) -> Result<Bytes> {
        let len = range.end.saturating_sub(range.start);
        let got = self.read(path, || self.store.get_ranges(path, std::slice::from_ref(&range))).await;
        match got.map(|parts| parts.into_iter().next().unwrap_or_default()) {
            Ok(bytes) if bytes.len() as u64 == len => Ok(bytes),
            Ok(_) => Err(cut_short(path)),
            Err(e) => Err(self.explain(path, range.end, e).await),
        }
    }

    /// The last bytes of an object, all of it where it is shorter, and the object's size.
    pub(crate) async fn get_tail(&self, path: &Path, len: u64) -> Result<(Bytes, u64)> {
        let got = self.read(path, || async {
            let options = GetOptions { range: Some(GetRange::Suffix(len)), ..GetOptions::default() };
            let result = self.store.get_opts(path, options).await?;
            let size = result.meta.size;
            Ok((result.bytes().await?, size))
        });
        match got.await {
            Ok(tail) => Ok(tail),
            Err(e) => Err(self.explain(path, 1, e).await),
        }
    }

    /// Stores differ in how they refuse a range beyond the end; the object's length tells.
    async fn explain(&self, path: &Path, end: u64, error: object_store::Error) -> Error {
        let error = failed("get a part of", path, error);
        if error.kind() == ErrorKind::Unavailable
            && let Ok(meta) = self.store.head(path).await
            && meta.size < end
        {
            return cut_short(path);
        }
        error
    }

    pub(crate) async fn put_new(&self, path: &Path, bytes: Bytes) -> Result<Put> {
        let put = self.insist(path, || async {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            self.store.put_opts(path, PutPayload::from(bytes.clone()), options).await
        });
        match put.await {
            Ok(_) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Put::Existed)
            }
            Err(e) => Err(failed("put", path, e)),
        }
    }

    /// Puts the object whether there is one of this name or not.
    pub(crate) async fn replace(&self, path: &Path, bytes: Bytes) -> Result<()> {
        let put = self.insist(path, || self.store.put(path, PutPayload::from(bytes.clone())));
        put.await.map(drop).map_err(|e| failed("put", path, e))
    }

    /// An object that is not there is already deleted.
    pub(crate) async fn delete(&self, path: &Path) -> Result<()> {
        match self.insist(path, || self.store.delete(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(failed("delete", path, e)),
        }
    }

    /// The folders directly below one.
    pub(crate) async fn folders(&self, prefix: &Path) -> Result<Vec<Path>> {
        let listed = self.store.list_with_delimiter(Some(prefix)).await;
        listed.map(|listed| listed.common_prefixes).map_err(|e| failed("list", prefix, e))
    }

    pub(crate) async fn list(&self, prefix: &Path) -> Result<Vec<ObjectMeta>> {
        let listed = self.insist(prefix, || self.store.list(Some(prefix)).try_collect());
        listed.await.map_err(|e| failed("list", prefix, e))
    }
}

fn cut_short(path: &Path) -> Error {
    Error::corrupt(format!("get a part of {path}: it is shorter than it was"))
}

fn failed(verb: &str, path: &Path, error: object_store::Error) -> Error {
    let kind = if matches!(error, object_store::Error::NotFound { .. }) {
        ErrorKind::NotFound
    } else {
        ErrorKind::Unavailable
    };
    Error::new(kind, format!("{verb} {path}")).with_source(error)
}

/// `<kind>/<domain>/<shard>/<id>`: 256 shards keep local directories short.
pub(crate) fn sharded(kind: &str, domain: &str, id: &Hash) -> Path {
    let name = hex::encode(id);
    let shard = name.get(..2).unwrap_or_default();
    Path::from(format!("{kind}/{}/{shard}/{name}", component(domain)))
}

pub(crate) fn folder(kind: &str, domain: &str) -> Path {
    Path::from(format!("{kind}/{}", component(domain)))
}

pub(crate) fn named(kind: &str, domain: &str, key: &str) -> Path {
    Path::from(format!("{kind}/{}/{}", component(domain), component(key)))
}

/// The key that `named` made this component of; None where it makes no such component.
pub(crate) fn key_of(component: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = component.strip_prefix('=').filter(|rest| rest.is_empty()).unwrap_or(component).bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'=' => {
                let digits = [rest.next()?, rest.next()?];
                let mut decoded = [0];
                hex::decode_to_slice(digits, &mut decoded).ok()?;
                bytes.extend(decoded);
            }
            byte => bytes.push(byte),
        }
    }
    let key = String::from_utf8(bytes).ok()?;
    (self::component(&key) == component).then_some(key)
}

/// Any string as one path component, different strings as different ones.
fn component(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            _ => out.extend(["=", &hex::encode([byte])]),
        }
    }
    if out.is_empty() { "=".to_owned() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_component_each() {
        assert_eq!(component("acct-1_b"), "acct-1_b");
        assert_eq!(component("../a b"), "=2e=2e=2fa=20b");
        assert_eq!(component(""), "=");
        for key in ["acct-1_b", "../a b", "", "=", "\u{e9}=2e"] {
            assert_eq!(key_of(&component(key)).as_deref(), Some(key));
        }
        for none in ["=2", "=zz", "=2E", "=61", "a b", "=ff"] {
            assert_eq!(key_of(none), None, "{none}");
        }
        assert_eq!(named("snap", "a/b", "k").as_ref(), "snap/a=2fb/k");
        assert_eq!(sharded("pack", "d", &[0xab; 32]).as_ref(), format!("pack/d/ab/{}", "ab".repeat(32)));
    }
}
