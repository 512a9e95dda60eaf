//! What a crash or a failing object store leaves: unreferenced objects, and nothing else.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blockstore::{ErrorKind, Options, Store};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::damage::{Objects, restore};
use crate::support::{BLOCK, MIB, noise, open, secret, write};

/// What the failing put did before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    LostAnswer,
}

/// An object store in memory that notes its puts in order, counts its gets, and fails one put.
#[derive(Debug)]
pub(crate) struct Recorder {
    inner: Arc<InMemory>,
    pub(crate) puts: Mutex<Objects>,
    pub(crate) gets: AtomicUsize,
    put_count: AtomicUsize,
    fault: Option<(usize, Fault)>,
    /// How long a ranged get takes.
    delay: Duration,
    /// Puts and deletes until the process dies: from then on every one fails, and does nothing.
    pub(crate) effects_left: Arc<AtomicUsize>,
    /// Whether others get to run before each call.
    yields: bool,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            inner: Arc::default(),
            puts: Mutex::default(),
            gets: AtomicUsize::new(0),
            put_count: AtomicUsize::new(0),
            fault: None,
            delay: Duration::ZERO,
            effects_left: Arc::new(AtomicUsize::new(usize::MAX)),
            yields: false,
        }
    }

    pub(crate) fn yielding() -> Self {
        Self { yields: true, ..Self::new() }
    }

    async fn pause(&self) {
        if self.yields {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn slow(delay: Duration) -> Self {
        Self { delay, ..Self::new() }
    }
}

fn alive(effects_left: &AtomicUsize) -> Result<()> {
    let take = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
    let taken = effects_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
    let dead = |_| object_store::Error::Generic { store: "recorder", source: "the process is dead".into() };
    taken.map(|_| ()).map_err(dead)
}

impl fmt::Display for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("recorder")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Recorder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.pause().await;
        alive(&self.effects_left)?;
        let number = self.put_count.fetch_add(1, Ordering::SeqCst);
        let fault = self.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        let failed = || object_store::Error::Generic { store: "recorder", source: "the line broke".into() };
        if fault == Some(Fault::Nothing) {
            return Err(failed());
        }
        let bytes: Vec<u8> = payload.iter().flat_map(|part| part.to_vec()).collect();
        let done = self.inner.put_opts(location, payload, opts).await?;
        self.puts.lock().unwrap().push((location.clone(), bytes.into()));
        if fault.is_some() { Err(failed()) } else { Ok(done) }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.pause().await;
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.delay).await;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, effects_left, yields) =
            (Arc::clone(&self.inner), Arc::clone(&self.effects_left), self.yields);
        let delete = move |path: Path| {
            let (inner, effects_left) = (Arc::clone(&inner), Arc::clone(&effects_left));
            async move {
                if yields {
                    tokio::task::yield_now().await;
                }
                alive(&effects_left)?;
                inner.delete(&path).await.map(|()| path)
            }
        };
        locations.and_then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn options() -> Options {
    Options { pack_bytes: 64 << 10, node_pack_bytes: 200, writer_leaf_bytes: 400, ..Options::default() }
}

fn base_disk() -> Vec<u8> {
    noise(1, 64 * BLOCK)
}

/// A change that makes several packs and several node packs.
fn change() -> Vec<(u64, Vec<u8>)> {
    (0..9).map(|i| (i * 4 * MIB, noise(50 + i, 30 * BLOCK))).collect()
}

#[tokio::test]
async fn at_every_moment_a_root_that_is_there_is_whole() {
    let recorder = Arc::new(Recorder::new());
    let objects: Arc<dyn ObjectStore> = Arc::clone(&recorder) as Arc<dyn ObjectStore>;
    let domain = open(&objects, 1, options()).await.domain("d", &secret(1));
    let (base, _) = write(&domain, None, 64 * MIB, &[(0, &base_disk())]).await;
    let change = change();
    let parts: Vec<(u64, &[u8])> = change.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
    let (next, stats) = write(&domain, Some(&base), 64 * MIB, &parts).await;
    domain.publish("k", &next, Some(&base)).await.unwrap();
    let puts = recorder.puts.lock().unwrap().clone();
    assert!(stats.packs > 3 && puts.len() > 10, "{stats:?}");
    for count in 1..=puts.len() {
        let domain = open(&restore(&puts[..count]).await, 2, options()).await.domain("d", &secret(1));
        for root in [&base, &next] {
            if domain.reader(root).await.is_ok() {
                domain.verify(root).await.unwrap();
            }
        }
        if let Ok(root) = domain.load("k").await {
            assert_eq!(root, next);
            domain.verify(&root).await.unwrap();
        }
    }
}

#[tokio::test]
async fn any_put_may_fail_and_the_next_try_succeeds() {
    for fault in [Fault::Nothing, Fault::LostAnswer] {
        for number in 0..100 {
            let objects: Arc<dyn ObjectStore> =
                Arc::new(Recorder { fault: Some((number, fault)), ..Recorder::new() });
            if try_twice(&objects).await == 0 {
                assert!(number > 10, "the change has too few puts to mean much");
                break;
            }
        }
    }
}

/// How many attempts failed.
async fn try_twice(objects: &Arc<dyn ObjectStore>) -> u32 {
    for failures in 0..2 {
        let done = attempt(objects, u64::from(failures)).await;
        match done {
            Ok(()) => return failures,
            Err(e) => assert_eq!(e.kind(), ErrorKind::Unavailable),
        }
    }
    panic!("the second attempt meets no fault");
}

async fn attempt(objects: &Arc<dyn ObjectStore>, seed: u64) -> blockstore::Result<()> {
    let ids = Arc::new(model::SeededIdGen::new(seed << 40));
    let domain = Store::open(Arc::clone(objects), ids, options()).await?.domain("d", &secret(1));
    let mut writer = domain.writer(None, 64 * MIB).await?;
    writer.write(0, &base_disk()).await?;
    let (base, _) = writer.commit().await?;
    let mut writer = domain.writer(Some(&base), 64 * MIB).await?;
    for (at, bytes) in change() {
        writer.write(at, &bytes).await?;
    }
    let (next, _) = writer.commit().await?;
    match domain.publish("k", &next, Some(&base)).await {
        // The first attempt was through, and only its answer was lost.
        Err(e) if e.kind() == ErrorKind::Conflict => {}
        done => done?,
    }
    let reader = domain.reader(&domain.load("k").await?).await?;
    let expected = change().into_iter().chain([(30 * BLOCK as u64, base_disk()[30 * BLOCK..].to_vec())]);
    for (at, bytes) in expected {
        let mut found = vec![0; bytes.len()];
        reader.read_at(at, &mut found).await?;
        assert!(found == bytes);
    }
    Ok(())
}

#[tokio::test]
async fn a_write_that_failed_cannot_be_committed() {
    let objects: Arc<dyn ObjectStore> =
        Arc::new(Recorder { fault: Some((1, Fault::Nothing)), ..Recorder::new() });
    let domain = open(&objects, 1, options()).await.domain("d", &secret(1));
    let mut writer = domain.writer(None, 64 * MIB).await.unwrap();
    let mut failed = false;
    for round in 0..20 {
        failed |= writer.write(round * MIB, &noise(round, 40 * BLOCK)).await.is_err();
    }
    assert!(failed);
    assert_eq!(writer.commit().await.unwrap_err().kind(), ErrorKind::Invalid);
}
