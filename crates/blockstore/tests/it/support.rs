//! What the tests share.

use std::sync::Arc;

use blockstore::{Domain, DomainSecret, Options, Root, Store, WriteStats};
use model::{IdGen, SeededIdGen};
use object_store::ObjectStore;

pub(crate) const BLOCK: usize = 4096;
pub(crate) const MIB: u64 = 1 << 20;
/// Of property tests.
pub(crate) const CASES: u32 = 24;

/// Small objects, so that little data makes many of them.
pub(crate) fn small() -> Options {
    Options { pack_bytes: 64 << 10, node_pack_bytes: 1 << 10, ..Options::default() }
}

/// Where the tests store. The same tests run over a bucket in testkit, with a function of this name.
pub(crate) fn objects() -> Arc<dyn ObjectStore> {
    Store::in_memory()
}

pub(crate) async fn open(objects: &Arc<dyn ObjectStore>, seed: u64, options: Options) -> Store {
    let ids: Arc<dyn IdGen> = Arc::new(SeededIdGen::new(seed));
    Store::open(Arc::clone(objects), ids, options).await.unwrap()
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

pub(crate) async fn read_all(domain: &Domain, root: &Root) -> blockstore::Result<Vec<u8>> {
    let reader = domain.reader(root).await?;
    let mut bytes = vec![0xee; usize::try_from(reader.size_bytes()).unwrap()];
    reader.read_at(0, &mut bytes).await?;
    Ok(bytes)
}
