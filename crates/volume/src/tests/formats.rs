//! Logs that were written by released versions still open. See docs/formats/volume-log.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{VOLUME_BYTES, content, create, noise, open, temp_dir};
use crate::freeze::{ExtentKind, FrozenView};

fn v1() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/formats/volume-v1")
}

/// What the log of version 1 was written with; kept to say what it must contain.
async fn write_v1(dir: &Path) {
    create(dir);
    let volume = open(dir, &Arc::default()).await.unwrap();
    volume.write_at(0, &noise(1, 9000)).await.unwrap();
    volume.write_zeroes(20_480, 4096).await.unwrap();
    volume.freeze("snap-1").await.unwrap();
    volume.write_at(4096, &noise(2, 1024)).await.unwrap();
    volume.freeze("snap-2").await.unwrap();
    volume.release("snap-1").await.unwrap();
    volume.write_at(90_000, &[3; 10]).await.unwrap();
    volume.close().await.unwrap();
    let volume = open(dir, &Arc::default()).await.unwrap();
    for round in 0..24 {
        volume.write_at(40_960, &noise(round, 8192)).await.unwrap();
    }
    volume.clean().await.unwrap();
    volume.trim(0, 512).await.unwrap();
    volume.close().await.unwrap();
}

#[tokio::test]
async fn a_log_of_version_1_opens() {
    let dir = temp_dir();
    for entry in fs::read_dir(v1()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let written_now = temp_dir();
    write_v1(written_now.path()).await;
    let expected = content(&open(written_now.path(), &Arc::default()).await.unwrap()).await;
    let volume = open(dir.path(), &Arc::default()).await.unwrap();
    let found = content(&volume).await;
    assert_eq!(found.len(), VOLUME_BYTES);
    assert!(found == expected, "the log of version 1 holds something else");
    assert_eq!(volume.stats().unwrap().generation, 3);
    let view = FrozenView::open(dir.path(), "snap-2").unwrap();
    let extents = view.extents_since(Some("snap-1")).unwrap();
    let told: Vec<_> = extents.iter().map(|e| (e.offset_bytes, e.len_bytes, e.kind)).collect();
    assert_eq!(told, [(4096, 1024, ExtentKind::Data)]);
}

/// The bytes themselves, so that a change of format is a decision: a version of its own and another fixture.
#[tokio::test]
async fn version_1_is_still_what_is_written() {
    let written_now = temp_dir();
    write_v1(written_now.path()).await;
    // These are from before the cleaner, whose steps depend on the moment.
    for name in ["log-0000000000000001", "log-0000000000000002"] {
        let (now, then) = (fs::read(written_now.path().join(name)), fs::read(v1().join(name)));
        assert!(now.unwrap() == then.unwrap(), "{name} is written differently");
    }
}
