//! Frozen layers while everything else goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{VOLUME_BYTES, base_bytes, create, noise, open, temp_dir};
use crate::ErrorKind;
use crate::freeze::{Extent, ExtentKind, FrozenView};
use crate::volume::Volume;

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

/// Opens two volumes beside each other.
async fn two_volumes(dir: &Path) -> [Volume; 2] {
    let mut volumes = Vec::new();
    for name in ["a", "b"] {
        std::fs::create_dir_all(dir.join(name)).unwrap();
        create(&dir.join(name));
        volumes.push(open(&dir.join(name), &Arc::default()).await.unwrap());
    }
    volumes.try_into().unwrap()
}

fn number(dir: &Path, key: &str) -> u64 {
    let mut sector = [0; 512];
    FrozenView::open(dir, key).unwrap().read_at(0, &mut sector).unwrap();
    u64::from_le_bytes(sector[..8].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn volumes_frozen_together_show_one_instant() {
    let dir = temp_dir();
    let volumes = two_volumes(dir.path()).await;
    let goes_on = Arc::new(AtomicBool::new(true));
    let writer = {
        let (volumes, goes_on) = (volumes.clone(), Arc::clone(&goes_on));
        tokio::spawn(async move {
            let mut count = 0_u64;
            while goes_on.load(Ordering::Acquire) {
                count += 1;
                for volume in &volumes {
                    let mut sector = [0; 512];
                    sector[..8].copy_from_slice(&count.to_le_bytes());
                    volume.write_at(0, &sector).await.unwrap();
                }
                tokio::task::yield_now().await;
            }
            count
        })
    };
    let mut last = 0;
    for round in 0..40 {
        let key = format!("round-{round}");
        let [a, b] = &volumes;
        // In either order: two callers must not wait for each other.
        let (forth, back) = ([(a, key.as_str()), (b, &key)], [(b, key.as_str()), (a, &key)]);
        let (one, other) = tokio::join!(Volume::freeze_together(&forth), Volume::freeze_together(&back));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!([one[0], one[1]], [other[1], other[0]]);
        let (first, second) = (number(&dir.path().join("a"), &key), number(&dir.path().join("b"), &key));
        assert!(first == second || first == second + 1, "{first} and then {second}");
        assert!(first >= last);
        last = first;
        for volume in &volumes {
            volume.release(&key).await.unwrap();
        }
    }
    goes_on.store(false, Ordering::Release);
    assert!(writer.await.unwrap() >= last && last > 0);
    let [a, b] = &volumes;
    let twice = Volume::freeze_together(&[(a, "x"), (b, "x"), (a, "y")]).await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Invalid);
    assert_eq!(Volume::freeze_together(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_frozen_half_is_frozen_anew() {
    let dir = temp_dir();
    let [a, b] = two_volumes(dir.path()).await;
    let write = async |value: u8| {
        a.write_at(0, &[value; 512]).await.unwrap();
        b.write_at(0, &[value; 512]).await.unwrap();
    };
    write(1).await;
    let half = a.freeze("key").await.unwrap();
    write(2).await;
    let whole = Volume::freeze_together(&[(&b, "key"), (&a, "key")]).await.unwrap();
    assert!(whole[1].seq > half.seq);
    write(3).await;
    assert_eq!(Volume::freeze_together(&[(&b, "key"), (&a, "key")]).await.unwrap(), whole);
    for name in ["a", "b"] {
        assert_eq!(number(&dir.path().join(name), "key").to_le_bytes(), [2; 8]);
    }
    // An owner that dies after the records and before its notes.
    let notes = ["a", "b"].map(|name| dir.path().join(name).join("volume.json"));
    let before = notes.clone().map(|note| std::fs::read(note).unwrap());
    let later = Volume::freeze_together(&[(&a, "later"), (&b, "later")]).await.unwrap();
    write(4).await;
    drop((a, b));
    for (note, before) in notes.iter().zip(before) {
        std::fs::write(note, before).unwrap();
    }
    let mut again = Vec::new();
    for name in ["a", "b"] {
        again.push(open(&dir.path().join(name), &Arc::default()).await.unwrap());
    }
    let pair = [(&again[0], "later"), (&again[1], "later")];
    assert_eq!(Volume::freeze_together(&pair).await.unwrap(), later);
    assert_eq!(number(&dir.path().join("b"), "later").to_le_bytes(), [3; 8]);
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
