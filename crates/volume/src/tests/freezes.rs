//! Frozen layers while everything else goes on.

use std::sync::Arc;

use super::{VOLUME_BYTES, base_bytes, create, noise, open, temp_dir};
use crate::ErrorKind;
use crate::freeze::{Extent, ExtentKind, FrozenView};

#[tokio::test]
async fn a_difference_has_only_what_changed() {
    let dir = temp_dir();
    create(dir.path());
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    volume.write_at(0, &[1; 8192]).await.unwrap();
    volume.freeze("one").await.unwrap();
    volume.release("one").await.unwrap();
    volume.write_at(4096, &[2; 1024]).await.unwrap();
    volume.write_at(5120, &[3; 512]).await.unwrap();
    volume.write_zeroes(16_384, 4096).await.unwrap();
    volume.freeze("two").await.unwrap();
    volume.write_at(0, &[4; 512]).await.unwrap();
    let view = FrozenView::open(dir.path(), "two").unwrap();
    let data = |offset_bytes, len_bytes| Extent { offset_bytes, len_bytes, kind: ExtentKind::Data };
    let zero = Extent { offset_bytes: 16_384, len_bytes: 4096, kind: ExtentKind::Zero };
    assert_eq!(view.extents_since(Some("one")).unwrap(), [data(4096, 1536), zero]);
    assert_eq!(view.extents_since(None).unwrap(), [data(0, 8192), zero]);
    assert_eq!(view.extents_since(Some("never")).unwrap_err().kind(), ErrorKind::NotFound);
    volume.freeze("three").await.unwrap();
    let view = FrozenView::open(dir.path(), "two").unwrap();
    assert_eq!(view.extents_since(Some("three")).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(FrozenView::open(dir.path(), "one").unwrap_err().kind(), ErrorKind::NotFound);
    let mut merged = base_bytes();
    merged.resize(VOLUME_BYTES, 0);
    view.overlay_at(0, &mut merged).unwrap();
    assert_eq!((merged[0], merged[4096], merged[5120], merged[16_384]), (1, 2, 3, 0));
    assert_eq!(merged[8192], base_bytes()[8192]);
    assert_eq!(view.read_at(1, &mut [0; 512]).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(view.read_at(u64::MAX - 511, &mut [0; 512]).unwrap_err().kind(), ErrorKind::Invalid);
    for key in ["", &"k".repeat(256)] {
        assert_eq!(volume.freeze(key).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_layer_stands_still_under_writers_and_the_cleaner() {
    let dir = temp_dir();
    create(dir.path());
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    // Three times over, so that the frozen layer alone holds more garbage than is tolerated without it.
    for block in (0..24_u64).cycle().take(72) {
        volume.write_at(block * 4096, &noise(block, 4096)).await.unwrap();
    }
    let frozen = volume.freeze("moment").await.unwrap();
    let writers = (0..4_u64).map(|writer| {
        let volume = volume.clone();
        tokio::spawn(async move {
            for round in 0..100 {
                let block = (round * 5 + writer * 7) % 24;
                volume.write_at(block * 4096, &noise(1000 + round, 4096)).await.unwrap();
                if round % 20 == 0 {
                    volume.flush().await.unwrap();
                    volume.clean().await.unwrap();
                }
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..20 {
        let view = FrozenView::open(dir.path(), "moment").unwrap();
        for block in 0..24_u64 {
            let mut found = vec![0; 4096];
            view.read_at(block * 4096, &mut found).unwrap();
            assert!(found == noise(block, 4096), "block {block} of the frozen layer moved");
        }
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(volume.freeze("moment").await.unwrap(), frozen);
    let before = volume.stats().unwrap().log_bytes;
    volume.release("moment").await.unwrap();
    volume.release("moment").await.unwrap();
    volume.clean().await.unwrap();
    assert!(volume.stats().unwrap().log_bytes < before);
    volume.close().await.unwrap();
}

#[tokio::test]
async fn a_freeze_whose_owner_died_before_its_note_is_found_again() {
    let dir = temp_dir();
    create(dir.path());
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    volume.write_at(0, &[1; 512]).await.unwrap();
    let note = dir.path().join("volume.json");
    let before = std::fs::read(&note).unwrap();
    let frozen = volume.freeze("key").await.unwrap();
    volume.write_at(0, &[2; 512]).await.unwrap();
    drop(volume);
    std::fs::write(&note, before).unwrap();
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    assert_eq!(volume.freeze("key").await.unwrap(), frozen);
    let mut found = [0; 512];
    FrozenView::open(dir.path(), "key").unwrap().read_at(0, &mut found).unwrap();
    assert_eq!(found[0], 1);
}
