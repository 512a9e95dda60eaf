//! What the store's tests share, over a bucket.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use blockstore::{Domain, DomainSecret, Options, RemoteOptions, Root, Store, WriteStats};
use model::{IdGen, SeededIdGen, SystemClock};
use object_store::ObjectStore;
use testkit::s3::{Faults, S3Server};

pub(crate) const BLOCK: usize = 4096;
pub(crate) const MIB: u64 = 1 << 20;
/// Each is many requests.
pub(crate) const CASES: u32 = 3;

/// One bucket for all tests, in a thread of its own: each test has a runtime that ends with it.
static SERVER: LazyLock<S3Server> = LazyLock::new(|| {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            send.send(S3Server::start(Faults::all(1, 30)).await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    receive.recv().unwrap()
});

pub(crate) fn objects() -> Arc<dyn ObjectStore> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    Store::s3(&SERVER.options(&format!("test/{}", NEXT.fetch_add(1, Ordering::Relaxed)))).unwrap()
}

pub(crate) fn remote() -> RemoteOptions {
    RemoteOptions { pause: Duration::from_millis(1), ..RemoteOptions::new(Arc::new(SystemClock::new())) }
}

/// Small objects, so that little data makes many of them.
pub(crate) fn small() -> Options {
    Options { pack_bytes: 64 << 10, node_pack_bytes: 1 << 10, ..Options::default() }
}

pub(crate) async fn open(objects: &Arc<dyn ObjectStore>, seed: u64, options: Options) -> Store {
    let ids: Arc<dyn IdGen> = Arc::new(SeededIdGen::new(seed));
    Store::open(Arc::clone(objects), ids, Options { remote: Some(remote()), ..options }).await.unwrap()
}

pub(crate) fn secret(byte: u8) -> DomainSecret {
    DomainSecret::new([byte; 32])
}

pub(crate) async fn memory_domain(seed: u64, options: Options) -> Domain {
    open(&objects(), seed, options).await.domain("d", &secret(1))
}

/// Incompressible bytes, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededIdGen::new(seed).fill(&mut bytes);
    bytes
}

pub(crate) async fn write(
    domain: &Domain,
    base: Option<&Root>,
    size_bytes: u64,
    parts: &[(u64, &[u8])],
) -> (Root, WriteStats) {
    let mut writer = domain.writer(base, size_bytes).await.unwrap();
    for (offset, bytes) in parts {
        writer.write(*offset, bytes).await.unwrap();
    }
    writer.commit().await.unwrap()
}

pub(crate) async fn read_all(domain: &Domain, root: &Root) -> blockstore::Result<Vec<u8>> {
    let reader = domain.reader(root).await?;
    let mut bytes = vec![0xee; usize::try_from(reader.size_bytes()).unwrap()];
    reader.read_at(0, &mut bytes).await?;
    Ok(bytes)
}

/// The same by way of `contents`.
pub(crate) async fn restore(domain: &Domain, root: &Root) -> blockstore::Result<Vec<u8>> {
    let reader = domain.reader(root).await?;
    let mut bytes = vec![0; usize::try_from(reader.size_bytes()).unwrap()];
    let mut contents = reader.contents();
    while let Some(parts) = contents.next().await? {
        for (offset, part) in parts {
            bytes[usize::try_from(offset).unwrap()..][..part.len()].copy_from_slice(&part);
        }
    }
    Ok(bytes)
}
