//! Single faults, each with its one right outcome.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::ForgetfulDisk;
use super::{VOLUME_BYTES, content, create, noise, open, temp_dir};
use crate::ErrorKind;
use crate::base::ZeroBase;
use crate::volume::{Spec, Volume};

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("log-"));
    paths.sort();
    paths
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_leaves() {
    let dir = temp_dir();
    create(dir.path());
    let first = open(dir.path(), &Arc::default()).await.unwrap();
    assert_eq!(open(dir.path(), &Arc::default()).await.unwrap_err().kind(), ErrorKind::Conflict);
    first.close().await.unwrap();
    assert_eq!(first.write_at(0, &[0; 512]).await.unwrap_err().kind(), ErrorKind::Invalid);
    let second = open(dir.path(), &Arc::default()).await.unwrap();
    assert_eq!(second.stats().unwrap().generation, 2);
}

#[tokio::test]
async fn creating_again_is_no_error_and_another_specification_is() {
    let dir = temp_dir();
    let dir = dir.path().join("volumes/vol-1");
    let spec = Spec { size_bytes: 1 << 44, base_root: Some("root".to_owned()), domain: None };
    Volume::create(&dir, &spec).unwrap();
    Volume::create(&dir, &spec).unwrap();
    assert_eq!(Volume::spec_of(&dir).unwrap(), spec);
    let other = Spec { size_bytes: 512, ..spec.clone() };
    assert_eq!(Volume::create(&dir, &other).unwrap_err().kind(), ErrorKind::Conflict);
    let odd = Spec { size_bytes: 513, ..spec };
    assert_eq!(Volume::create(&dir.join("x"), &odd).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(Volume::spec_of(&dir.join("x")).unwrap_err().kind(), ErrorKind::NotFound);
    let volume = Volume::open(&dir, Arc::new(ZeroBase)).await.unwrap();
    volume.write_at((1 << 44) - 512, &[1; 512]).await.unwrap();
    volume.trim(0, 1 << 44).await.unwrap();
    assert_eq!(volume.zero_runs(0, 1 << 44, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn ranges_outside_the_volume_are_refused() {
    let dir = temp_dir();
    create(dir.path());
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    let size = VOLUME_BYTES as u64;
    let mut buf = [0; 512];
    for offset in [size, size - 511, u64::MAX, u64::MAX - 511] {
        assert_eq!(volume.read_at(offset, &mut buf).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(volume.write_at(offset, &buf).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(volume.trim(offset, 512).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(volume.write_zeroes(offset, 512).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(volume.zero_runs(offset, 512, 1).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    volume.read_at(size, &mut []).await.unwrap();
}

#[tokio::test]
async fn one_flush_is_one_sync_and_an_idle_flush_none() {
    let dir = temp_dir();
    create(dir.path());
    let disk = Arc::new(ForgetfulDisk::default());
    let volume = open(dir.path(), &disk).await.unwrap();
    for round in 1..4 {
        volume.write_at(0, &[round; 4096]).await.unwrap();
        volume.write_at(8192, &[round; 4096]).await.unwrap();
        volume.flush().await.unwrap();
        volume.flush().await.unwrap();
        assert_eq!(disk.syncs.load(Ordering::SeqCst), u64::from(round));
    }
}

#[tokio::test]
async fn small_flushes_write_into_zeros_that_recovery_cuts() {
    let dir = temp_dir();
    create(dir.path());
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    for round in 1..5 {
        volume.write_at(4096, &[round; 512]).await.unwrap();
        volume.flush().await.unwrap();
    }
    let segment = segments(dir.path()).pop().unwrap();
    let end = volume.stats().unwrap().log_bytes;
    let bytes = fs::read(&segment).unwrap();
    assert!(bytes.len() as u64 > end, "nothing was written ahead");
    assert!(bytes.len() as u64 <= super::SEGMENT_BYTES);
    assert!(bytes[usize::try_from(end).unwrap()..].iter().all(|byte| *byte == 0));
    // A write without a flush, which a later one covers; then a layer, which ends the segment.
    volume.write_at(8192, &[9; 512]).await.unwrap();
    volume.freeze("key").await.unwrap();
    let end = fs::metadata(&segment).unwrap().len();
    assert!(end < bytes.len() as u64, "a sealed segment keeps no zeros");
    volume.write_at(0, &[7; 512]).await.unwrap();
    volume.flush().await.unwrap();
    drop(volume);
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    let mut buf = [0; 8704];
    volume.read_at(0, &mut buf).await.unwrap();
    assert_eq!((buf[0], buf[4096], buf[8192]), (7, 4, 9));
    let lens: u64 = segments(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(lens, volume.stats().unwrap().log_bytes);
}

#[tokio::test]
async fn a_segment_that_was_only_created_ends_nothing() {
    let dir = temp_dir();
    create(dir.path());
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    volume.write_at(0, &[1; 512]).await.unwrap();
    volume.freeze("key").await.unwrap();
    // What a slow creator leaves: its number was passed over meanwhile.
    let spare = segments(dir.path()).pop().unwrap();
    let next = spare.with_file_name("log-0000000000000003");
    volume.write_at(0, &[2; 512]).await.unwrap();
    volume.flush().await.unwrap();
    drop(volume);
    fs::copy(&spare, &next).unwrap();
    fs::write(&spare, []).unwrap();
    fs::write(spare.with_file_name("log-0000000000000004"), []).unwrap();
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    let mut buf = [0; 512];
    volume.read_at(0, &mut buf).await.unwrap();
    assert_eq!(buf[0], 2);
    volume.write_at(0, &[3; 512]).await.unwrap();
    volume.close().await.unwrap();
    assert_eq!(segments(dir.path()).len(), 3);
    assert!(segments(dir.path()).contains(&next) && !segments(dir.path()).contains(&spare));
}

#[tokio::test]
async fn a_failed_sync_poisons_and_the_next_owner_trusts_only_what_was_durable() {
    let dir = temp_dir();
    create(dir.path());
    let disk = Arc::new(ForgetfulDisk::default());
    let volume = open(dir.path(), &disk).await.unwrap();
    volume.write_at(0, &[1; 4096]).await.unwrap();
    volume.flush().await.unwrap();
    volume.write_at(0, &[2; 4096]).await.unwrap();
    disk.fail_sync.store(true, Ordering::SeqCst);
    assert_eq!(volume.flush().await.unwrap_err().kind(), ErrorKind::Unavailable);
    let mut buf = [0; 1];
    volume.read_at(0, &mut buf).await.unwrap();
    for refused in [
        volume.flush().await,
        volume.write_at(0, &[3; 512]).await,
        volume.trim(0, 512).await,
        volume.freeze("key").await.map(|_| ()),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(volume.stats().unwrap().poisoned);
    drop(volume.close().await);
    let volume = open(dir.path(), &disk).await.unwrap();
    volume.read_at(0, &mut buf).await.unwrap();
    assert_eq!(buf, [1]);
    volume.write_at(0, &[4; 4096]).await.unwrap();
    volume.close().await.unwrap();
    let volume = open(dir.path(), &disk).await.unwrap();
    volume.read_at(0, &mut buf).await.unwrap();
    assert_eq!(buf, [4]);
}

#[tokio::test]
async fn a_torn_end_is_cut_and_never_comes_back() {
    let dir = temp_dir();
    create(dir.path());
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    volume.write_at(0, &[1; 4096]).await.unwrap();
    volume.write_at(0, &[2; 4096]).await.unwrap();
    volume.write_at(4096, &[3; 4096]).await.unwrap();
    drop(volume);
    let segment = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    let mut torn = whole.clone();
    // The second write's data: what follows it is intact, and beyond the gap.
    torn[512 + 4608 + 600] ^= 1;
    fs::write(&segment, &torn).unwrap();
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    let mut buf = [0; 8192];
    volume.read_at(0, &mut buf).await.unwrap();
    assert_eq!(buf[0], 1);
    let base = super::base_bytes();
    assert_eq!(buf[4096..], base[4096..8192]);
    assert_eq!(fs::metadata(&segment).unwrap().len(), 512 + 4608);
    volume.write_at(512, &[5; 512]).await.unwrap();
    drop(volume);
    // A disk that gives the old groups back after all.
    fs::write(&segment, &whole).unwrap();
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    volume.read_at(0, &mut buf).await.unwrap();
    assert_eq!((buf[0], buf[512], buf[1024]), (1, 5, 1));
    assert_eq!(buf[4096..], base[4096..8192]);
}

#[tokio::test]
async fn losing_what_was_durable_is_corruption_and_not_a_torn_end() {
    let dir = temp_dir();
    create(dir.path());
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    volume.write_at(0, &[1; 4096]).await.unwrap();
    volume.close().await.unwrap();
    open(dir.path(), &Arc::default()).await.unwrap().close().await.unwrap();
    let segment = segments(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[512] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    assert_eq!(open(dir.path(), &Arc::default()).await.unwrap_err().kind(), ErrorKind::Corrupt);
    fs::remove_file(&segment).unwrap();
    assert_eq!(open(dir.path(), &Arc::default()).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn every_flipped_bit_of_data_is_refused_and_its_neighbours_are_not() {
    let dir = temp_dir();
    create(dir.path());
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    let data = noise(5, 12_288);
    volume.write_at(512, &data).await.unwrap();
    volume.write_at(8192, &[9; 512]).await.unwrap();
    let segment = segments(dir.path()).pop().unwrap();
    let whole = fs::read(&segment).unwrap();
    for at in (0..12_288).step_by(777) {
        let mut bytes = whole.clone();
        bytes[1024 + at] ^= 0x10;
        fs::write(&segment, &bytes).unwrap();
        let (chunk, mut buf) = (at / 4096, [0; 512]);
        let first = 512 + chunk as u64 * 4096;
        assert_eq!(volume.read_at(first, &mut buf).await.unwrap_err().kind(), ErrorKind::Corrupt);
        let other = (chunk + 1) % 3;
        volume.read_at(512 + other as u64 * 4096, &mut buf).await.unwrap();
        assert_eq!(buf[..], data[other * 4096..other * 4096 + 512]);
    }
    volume.read_at(8192, &mut [0; 512]).await.unwrap();
}

#[tokio::test]
async fn cleaning_bounds_the_log_and_a_cleaned_segment_that_reappears_is_ignored() {
    let dir = temp_dir();
    create(dir.path());
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    let mut expected = content(&volume).await;
    let mut kept = Vec::new();
    for round in 0..200_usize {
        let at = round * 7 % 20 * 4096;
        let data = noise(round as u64, 4096);
        volume.write_at(at as u64, &data).await.unwrap();
        expected[at..at + 4096].copy_from_slice(&data);
        if round == 30 {
            kept = segments(dir.path())
                .into_iter()
                .map(|path| (path.clone(), fs::read(path).unwrap()))
                .collect();
        }
        if round % 10 == 0 {
            volume.clean().await.unwrap();
        }
    }
    volume.clean().await.unwrap();
    let stats = volume.stats().unwrap();
    assert!(stats.log_bytes < 4 * super::SEGMENT_BYTES + 2 * stats.live_bytes, "{stats:?}");
    assert!(content(&volume).await == expected);
    volume.close().await.unwrap();
    let now = segments(dir.path());
    let gone: Vec<_> = kept.iter().filter(|(path, _)| !now.contains(path)).collect();
    assert!(!gone.is_empty());
    for (path, bytes) in &gone {
        fs::write(path, bytes).unwrap();
    }
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    assert!(content(&volume).await == expected);
    assert_eq!(segments(dir.path()), now);
}
