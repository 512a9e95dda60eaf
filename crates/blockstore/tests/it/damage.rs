//! Damage anywhere is reported and never served.

use std::sync::Arc;

use blockstore::{Domain, ErrorKind, Options, Root, Store};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::support::{BLOCK, MIB, open, secret};

pub(crate) type Objects = Vec<(Path, Bytes)>;

pub(crate) async fn dump(store: &Arc<dyn ObjectStore>) -> Objects {
    let metas: Vec<_> = store.list(None).try_collect().await.unwrap();
    let mut objects = Vec::new();
    for meta in metas {
        let bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap();
        objects.push((meta.location, bytes));
    }
    objects.sort_by(|a, b| a.0.cmp(&b.0));
    objects
}

pub(crate) async fn restore(objects: &[(Path, Bytes)]) -> Arc<dyn ObjectStore> {
    let store = InMemory::new();
    for (path, bytes) in objects {
        store.put(path, PutPayload::from(bytes.clone())).await.unwrap();
    }
    Arc::new(store)
}

/// Two leaves, the second one short.
const SIZE: u64 = 4 * MIB + 2 * BLOCK as u64;

/// What of a disk is worth reading thousands of times: all that was written, and some holes.
async fn read_some(domain: &Domain, root: &Root) -> blockstore::Result<Vec<u8>> {
    let reader = domain.reader(root).await?;
    let mut bytes = vec![0xee; 42 * BLOCK];
    let (head, tail) = bytes.split_at_mut(39 * BLOCK);
    reader.read_at(0, head).await?;
    reader.read_at(SIZE - 3 * BLOCK as u64, tail).await?;
    Ok(bytes)
}

struct Fixture {
    objects: Objects,
    roots: Vec<Root>,
    disks: Vec<Vec<u8>>,
}

/// Two snapshots of few bytes: the second shares a pack and a leaf with the first.
async fn fixture() -> Fixture {
    let objects = Store::in_memory();
    let domain = domain(&objects).await.unwrap();
    let block = |kind: u8| (0u8..7).cycle().take(BLOCK).map(|i| kind.wrapping_mul(i)).collect::<Vec<u8>>();
    let mut writer = domain.writer(None, SIZE).await.unwrap();
    writer.write(0, &(1..35).flat_map(block).collect::<Vec<u8>>()).await.unwrap();
    writer.write(4 * MIB, &block(40)).await.unwrap();
    let (first, _) = writer.commit().await.unwrap();
    let mut writer = domain.writer(Some(&first), SIZE).await.unwrap();
    writer.write(3 * BLOCK as u64, &block(41)).await.unwrap();
    let (second, _) = writer.commit().await.unwrap();
    domain.publish("one", &second, Some(&first)).await.unwrap();
    let roots = vec![first, second];
    let mut disks = Vec::new();
    for root in &roots {
        disks.push(read_some(&domain, root).await.unwrap());
    }
    Fixture { objects: dump(&objects).await, roots, disks }
}

async fn domain(objects: &Arc<dyn ObjectStore>) -> blockstore::Result<Domain> {
    let ids = Arc::new(model::SeededIdGen::new(9));
    // Sizes of caches are irrelevant: every store is opened cold.
    let options = Options { frame_cache_bytes: 1 << 20, ..Options::default() };
    Ok(Store::open(Arc::clone(objects), ids, options).await?.domain("d", &secret(1)))
}

impl Fixture {
    /// Opens a damaged copy: nothing wrong may be served, and somebody must notice.
    async fn check(&self, objects: &[(Path, Bytes)], what: &str) {
        let domain = match domain(&restore(objects).await).await {
            Ok(domain) => domain,
            Err(e) => return assert_eq!(e.kind(), ErrorKind::Corrupt, "{what}"),
        };
        let mut is_noticed = false;
        for (root, disk) in self.roots.iter().zip(&self.disks) {
            match read_some(&domain, root).await {
                Ok(bytes) => assert!(bytes == *disk, "{what}: served wrong bytes"),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt, "{what}: {e}"),
            }
            if let Err(e) = domain.verify(root).await {
                assert_eq!(e.kind(), ErrorKind::Corrupt, "{what}: {e}");
                is_noticed = true;
            }
        }
        match domain.load("one").await {
            Ok(root) => assert_eq!(root, self.roots[1], "{what}: loaded another root"),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Corrupt, "{what}: {e}");
                is_noticed = true;
            }
        }
        assert!(is_noticed, "{what}: nobody noticed");
    }

    async fn check_each(&self, damage: impl Fn(&[u8]) -> Vec<(String, Vec<u8>)>) {
        for (position, (path, bytes)) in self.objects.iter().enumerate() {
            for (what, damaged) in damage(bytes) {
                let mut objects = self.objects.clone();
                objects[position].1 = damaged.into();
                self.check(&objects, &format!("{path}: {what}")).await;
            }
        }
    }
}

#[tokio::test]
async fn the_fixture_itself_is_whole() {
    let fixture = fixture().await;
    let kinds: Vec<&str> =
        fixture.objects.iter().map(|(path, _)| path.as_ref().split('/').next().unwrap()).collect();
    assert_eq!(kinds, ["node", "node", "pack", "pack", "snap", "store"]);
    let domain = domain(&restore(&fixture.objects).await).await.unwrap();
    for root in &fixture.roots {
        domain.verify(root).await.unwrap();
    }
}

#[tokio::test]
async fn one_flipped_bit_anywhere_is_reported() {
    let fixture = fixture().await;
    fixture
        .check_each(|bytes| {
            let flip = |at: usize| {
                let mut bytes = bytes.to_vec();
                bytes[at] ^= 1 << (at % 8);
                (format!("flipped byte {at}"), bytes)
            };
            (0..bytes.len()).map(flip).collect()
        })
        .await;
}

#[tokio::test]
async fn every_truncation_is_reported() {
    let fixture = fixture().await;
    fixture
        .check_each(|bytes| {
            let cut = |len: usize| (format!("cut to {len}"), bytes[..len].to_vec());
            let mut damaged: Vec<_> = (0..bytes.len()).map(cut).collect();
            damaged.push(("one byte more".to_owned(), [bytes, &[0]].concat()));
            damaged.push(("one byte before".to_owned(), [&[0], bytes].concat()));
            damaged
        })
        .await;
}

#[tokio::test]
async fn objects_in_another_place_are_refused() {
    let fixture = fixture().await;
    for (i, (path, _)) in fixture.objects.iter().enumerate() {
        for (j, (other, bytes)) in fixture.objects.iter().enumerate().filter(|(j, _)| *j != i) {
            let mut objects = fixture.objects.clone();
            objects[i].1 = bytes.clone();
            fixture.check(&objects, &format!("{path} holds object {j}, {other}")).await;
        }
    }
}

#[tokio::test]
async fn what_is_missing_is_damage_except_the_root_itself() {
    let fixture = fixture().await;
    for (position, (path, _)) in fixture.objects.iter().enumerate() {
        if path.as_ref() == "store" || path.as_ref().starts_with("snap") {
            continue;
        }
        let mut objects = fixture.objects.clone();
        objects.remove(position);
        let domain = domain(&restore(&objects).await).await.unwrap();
        for (root, disk) in fixture.roots.iter().zip(&fixture.disks) {
            let is_root = path.as_ref().ends_with(&hex::encode(root.id()));
            match read_some(&domain, root).await {
                Ok(bytes) => assert!(bytes == *disk, "{path}"),
                Err(e) if is_root => assert_eq!(e.kind(), ErrorKind::NotFound, "{path}"),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Corrupt, "{path}"),
            }
        }
    }
}

#[tokio::test]
async fn a_domain_moved_to_another_name_does_not_open() {
    let fixture = fixture().await;
    let moved: Objects = fixture
        .objects
        .iter()
        .map(|(path, bytes)| (Path::from(path.as_ref().replace("/d/", "/e/")), bytes.clone()))
        .collect();
    let store = open(&restore(&moved).await, 1, Options::default()).await;
    let domain = store.domain("e", &secret(1));
    for root in &fixture.roots {
        let root = root.to_string().replace(".d", ".e").parse().unwrap();
        assert_eq!(domain.reader(&root).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    assert_eq!(domain.load("one").await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_damaged_pack_is_no_place_for_duplicates() {
    let fixture = fixture().await;
    let mut objects = fixture.objects.clone();
    for (path, bytes) in &mut objects {
        if path.as_ref().starts_with("pack") {
            let mut damaged = bytes.to_vec();
            let end = damaged.len();
            damaged[end - 70] ^= 1;
            *bytes = damaged.into();
        }
    }
    let store = open(&restore(&objects).await, 77, Options::default()).await;
    let domain = store.domain("d", &secret(1));
    let mut writer = domain.writer(None, SIZE).await.unwrap();
    writer.write(0, &fixture.disks[0][..38 * BLOCK]).await.unwrap();
    let (root, stats) = writer.commit().await.unwrap();
    assert_eq!(stats.new_blocks, 34);
    domain.verify(&root).await.unwrap();
}
