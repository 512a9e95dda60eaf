//! Stores written by older versions open for ever.

use std::path::Path as FilePath;
use std::sync::Arc;

use blockstore::{ErrorKind, Options, Store};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::support::{BLOCK, MIB, noise, open, read_all, secret, write};

#[tokio::test]
async fn a_store_of_a_newer_format_is_refused_in_plain_words() {
    let objects: Arc<dyn ObjectStore> = Store::in_memory();
    open(&objects, 1, Options::default()).await;
    let path = Path::from("store");
    let mut header = objects.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
    header[8] = 3;
    let check = blake3::hash(&header[..32]);
    header[32..].copy_from_slice(check.as_bytes());
    objects.put(&path, header.into()).await.unwrap();
    let refused =
        Store::open(Arc::clone(&objects), Arc::new(model::OsIdGen), Options::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(refused.context(), "open store: it has format 3, and this program knows formats up to 2");
}

/// What `examples/make_fixture.rs` wrote when version 1 was new.
#[tokio::test]
async fn version_1_opens() {
    let fixture = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/formats/blockstore-v1");
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&fixture, dir.path());
    let domain =
        open(&Store::local(dir.path()).unwrap(), 5, Options::default()).await.domain("acct-1", &secret(7));
    let (first, second) = (domain.load("first").await.unwrap(), domain.load("second").await.unwrap());
    let mut disk = vec![0; 12 << 20];
    disk[..40 * BLOCK].copy_from_slice(&noise(1, 40 * BLOCK));
    disk[9 << 20..][..70 * BLOCK].fill(0x5a);
    assert!(read_all(&domain, &first).await.unwrap() == disk);
    disk[2 * BLOCK..][..BLOCK].copy_from_slice(&noise(2, BLOCK));
    disk[9 << 20..][..BLOCK].fill(0);
    disk.resize(16 << 20, 0);
    assert!(read_all(&domain, &second).await.unwrap() == disk);
    for root in [&first, &second] {
        domain.verify(root).await.unwrap();
    }
    assert_eq!(domain.diff(&first, &second, BLOCK as u64, 0, 10).await.unwrap(), [2, 9 * 256]);
    // And it can be written on, with everything it has found again.
    let (_, stats) = write(&domain, Some(&second), 16 * MIB, &[(3 * MIB, &noise(1, 40 * BLOCK))]).await;
    assert_eq!(stats.new_blocks, 0);
}

fn copy_dir(from: &FilePath, to: &FilePath) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
