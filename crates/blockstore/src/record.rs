//! Records: bytes that a caller keeps beside its snapshots under a key of its own, sealed like them, so that they can be
//! found again when everything but the store and the domain's secret is lost. The one kind of object that is replaced.

use model::Timestamp;
use object_store::path::Path;

use crate::domain::Domain;
use crate::error::Result;
use crate::format::record::{self, RECORD_BYTES_MAX};
use crate::objects::{folder, key_of, named};
use crate::store::Store;

const KIND: &str = "record";

impl Domain {
    /// Replaces the record of a key. Of two at once either may win: callers take turns.
    pub async fn put_record(&self, key: &str, content: &[u8]) -> Result<()> {
        let store = &self.inner.store;
        let salt = model::id_gen::random_bytes(&*store.ids);
        let bytes = record::encode(&self.inner.keys, key, content, salt)?;
        store.objects.replace(&self.record_path(key), bytes.into()).await
    }

    /// `NotFound` where there is none.
    pub async fn record(&self, key: &str) -> Result<Vec<u8>> {
        let bytes = self.inner.store.objects.get(&self.record_path(key), RECORD_BYTES_MAX).await?;
        record::parse(&self.inner.keys, key, &bytes)
    }

    /// A key without a record is fine.
    pub async fn remove_record(&self, key: &str) -> Result<()> {
        self.inner.store.objects.delete(&self.record_path(key)).await
    }

    /// The keys of all records, in ascending order.
    pub async fn records(&self) -> Result<Vec<String>> {
        Ok(self.keys_of(KIND).await?.into_iter().map(|(key, _)| key).collect())
    }

    /// The keys of all published roots in ascending order, and when each was stored.
    pub async fn published(&self) -> Result<Vec<(String, Timestamp)>> {
        self.keys_of("snap").await
    }

    async fn keys_of(&self, kind: &str) -> Result<Vec<(String, Timestamp)>> {
        let listed = self.inner.store.objects.list(&folder(kind, self.id())).await?;
        let named = |meta: object_store::ObjectMeta| {
            let key = key_of(meta.location.filename()?)?;
            Some((key, Timestamp::from_millis(meta.last_modified.timestamp_millis())))
        };
        let mut keys: Vec<_> = listed.into_iter().filter_map(named).collect();
        keys.sort();
        Ok(keys)
    }

    fn record_path(&self, key: &str) -> Path {
        named(KIND, self.id(), key)
    }
}

impl Store {
    /// The ids of all domains that have published roots or records, in ascending order.
    pub async fn domain_ids(&self) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for kind in ["snap", KIND] {
            let folders = self.inner.objects.folders(&Path::from(kind)).await?;
            ids.extend(folders.iter().filter_map(|folder| key_of(folder.filename()?)));
        }
        ids.sort();
        ids.dedup();
        Ok(ids)
    }
}
