//! The whole way round: a volume over a snapshot, frozen, uploaded, and the next volume over the result.

use std::collections::BTreeSet;
use std::sync::Arc;

use blockstore::{Domain, DomainSecret, Options, Root, Store};
use model::OsIdGen;

use super::{VOLUME_BYTES, base_bytes, content, create, noise, temp_dir};
use crate::base::Base;
use crate::freeze::FrozenView;
use crate::volume::{Spec, Volume};

const BLOCK: u64 = 4096;

async fn domain() -> Domain {
    let store = Store::open(Store::in_memory(), Arc::new(OsIdGen), Options::default()).await.unwrap();
    store.domain("account", &DomainSecret::new([7; 32]))
}

/// What an upload does: the blocks that changed since the parent, over the parent's root.
async fn upload(domain: &Domain, view: &FrozenView, prev_key: Option<&str>, parent: &Root) -> Root {
    let base: Arc<dyn Base> = Arc::new(domain.reader(parent).await.unwrap());
    let extents = view.extents_since(prev_key).unwrap();
    let blocks: BTreeSet<u64> = extents
        .iter()
        .flat_map(|e| e.offset_bytes / BLOCK..(e.offset_bytes + e.len_bytes).div_ceil(BLOCK))
        .collect();
    let mut writer = domain.writer(Some(parent), view.size_bytes()).await.unwrap();
    for block in blocks {
        let mut bytes = vec![0; 4096];
        if (block + 1) * BLOCK <= base.size_bytes() {
            base.read_at(block * BLOCK, &mut bytes).await.unwrap();
        }
        view.overlay_at(block * BLOCK, &mut bytes).unwrap();
        writer.write(block * BLOCK, &bytes).await.unwrap();
    }
    writer.commit().await.unwrap().0
}

#[tokio::test]
async fn snapshots_of_a_volume_become_volumes() {
    let domain = domain().await;
    let mut base = base_bytes();
    base.truncate(65_536);
    let mut writer = domain.writer(None, base.len() as u64).await.unwrap();
    writer.write(0, &base).await.unwrap();
    let mut root = writer.commit().await.unwrap().0;
    let dir = temp_dir();
    create(dir.path());
    let volume = Volume::open(dir.path(), Arc::new(domain.reader(&root).await.unwrap())).await.unwrap();
    let mut expected = base;
    expected.resize(VOLUME_BYTES, 0);
    let mut prev: Option<String> = None;
    for round in 0..6_u64 {
        let at = usize::try_from(round).unwrap() * 15_000 + 700;
        let data = noise(round, 5000);
        volume.write_at(at as u64, &data).await.unwrap();
        expected[at..at + 5000].copy_from_slice(&data);
        volume.write_zeroes(at as u64 + 1000, 2000).await.unwrap();
        expected[at + 1000..at + 3000].fill(0);
        let key = format!("snap-{round}");
        volume.freeze(&key).await.unwrap();
        volume.write_at(at as u64 + 100, &[1; 100]).await.unwrap();
        let view = FrozenView::open(dir.path(), &key).unwrap();
        root = upload(&domain, &view, prev.as_deref(), &root).await;
        volume.release(&key).await.unwrap();
        let copy = temp_dir();
        create(copy.path());
        let over = Volume::open(copy.path(), Arc::new(domain.reader(&root).await.unwrap())).await.unwrap();
        assert!(content(&over).await == expected, "the volume over snapshot {round} holds something else");
        expected[at + 100..at + 200].fill(1);
        prev = Some(key);
    }
    assert!(content(&volume).await == expected);
}

/// A base with holes; the log's own zeros and data lie over it.
#[tokio::test]
async fn zeros_are_known_through_the_log_and_the_snapshot_below() {
    let domain = domain().await;
    let size_bytes = 1_u64 << 40;
    let mut writer = domain.writer(None, size_bytes).await.unwrap();
    let far = 600_u64 << 30;
    let pieces = [(0, 8192), (40_960, 4096), (4 << 20, 4096), (far, 12_288)];
    for (at, len) in pieces {
        writer.write(at, &noise(at + 1, usize::try_from(len).unwrap())).await.unwrap();
    }
    let root = writer.commit().await.unwrap().0;
    let reader = domain.reader(&root).await.unwrap();
    // What was just written may be in no cache: it is fetched once, and there afterwards.
    let mut slow = vec![1; 65_536];
    reader.read_at(0, &mut slow).await.unwrap();
    let mut now = vec![2; 65_536];
    assert!(reader.read_now(0, &mut now).unwrap(), "everything is cached now");
    assert!(now == slow && now[..8192] == noise(1, 8192) && now[8192..40_960].iter().all(|b| *b == 0));
    assert!(reader.read_now(far - 4096, &mut [0; 4097]).is_ok_and(|here| !here), "nobody has read this");
    assert!(reader.read_now(size_bytes - 1, &mut [0; 2]).is_err());
    let dir = temp_dir();
    let spec = Spec { size_bytes, base_root: None, domain: None };
    Volume::create(dir.path(), &spec).unwrap();
    let volume = Volume::open(dir.path(), Arc::new(reader)).await.unwrap();
    volume.write_at(16_384, &[1; 512]).await.unwrap();
    volume.trim(4096, 4096).await.unwrap();
    let runs = volume.zero_runs(0, size_bytes, 100).await.unwrap();
    let found: Vec<(u64, bool)> = runs.iter().map(|run| (run.len_bytes, run.is_zero)).collect();
    let expected = [
        (4096, false),
        (12_288, true),
        (512, false),
        (24_064, true),
        (4096, false),
        ((4 << 20) - 45_056, true),
        (4096, false),
        (far - (4 << 20) - 4096, true),
        (12_288, false),
        (size_bytes - far - 12_288, true),
    ];
    assert_eq!(found, expected);
    let middle = volume.zero_runs(2048, 10_000, 100).await.unwrap();
    assert_eq!(middle.iter().map(|run| run.len_bytes).collect::<Vec<_>>(), [2048, 7952]);
    assert_eq!(volume.zero_runs(0, size_bytes, 3).await.unwrap().len(), 3);
}
