//! An object store in memory whose every call passes the gate.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::gate::Gate;

#[derive(Debug)]
pub(crate) struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    gate: Gate,
}

impl FaultStore {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, gate: Gate) -> Self {
        Self { inner, gate }
    }

    pub(crate) async fn tamper(
        &self,
        prefix: &str,
        mut change: impl FnMut(&str, Vec<u8>) -> Option<Vec<u8>>,
    ) {
        let listed: Vec<ObjectMeta> =
            self.inner.list(Some(&Path::from(prefix))).try_collect().await.expect("a store in memory works");
        for meta in listed {
            let got = self.inner.get(&meta.location).await.expect("a store in memory works");
            let bytes = got.bytes().await.expect("a store in memory works").to_vec();
            let done = match change(meta.location.as_ref(), bytes) {
                Some(bytes) => self.inner.put(&meta.location, PutPayload::from(bytes)).await.map(drop),
                None => self.inner.delete(&meta.location).await,
            };
            done.expect("a store in memory works");
        }
    }

    async fn pass(&self, call: &'static str) -> Result<()> {
        let failed = |text: String| object_store::Error::Generic { store: "FaultStore", source: text.into() };
        self.gate.pass(call).await.map_err(failed)
    }

    async fn pass_read(&self, call: &'static str) -> Result<()> {
        let failed = |text: String| object_store::Error::Generic { store: "FaultStore", source: text.into() };
        self.gate.pass_shared(call).await.map_err(failed)
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.pass("put").await?;
        let done = self.inner.put_opts(to, payload, options).await;
        self.gate.pass_done("put").await;
        done
    }

    async fn put_multipart_opts(
        &self,
        to: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.pass("put_multipart").await?;
        self.inner.put_multipart_opts(to, options).await
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.pass_read("get").await?;
        self.inner.get_opts(from, options).await
    }

    async fn get_ranges(&self, from: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.pass_read("get").await?;
        self.inner.get_ranges(from, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.pass_read("list").await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.pass("copy").await?;
        self.inner.copy_opts(from, to, options).await
    }
}
