//! Streams of operations, crashes included, on the volume and on the overlay.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

use super::disk::ForgetfulDisk;
use super::oracle::Overlay;
use super::{VOLUME_BYTES, content, create, noise, open, temp_dir};
use crate::freeze::{ExtentKind, FrozenView};
use crate::volume::Volume;

#[derive(Debug, Clone)]
enum Op {
    Write {
        offset: usize,
        len: usize,
        seed: u64,
    },
    Zero {
        offset: usize,
        len: usize,
    },
    Trim {
        offset: usize,
        len: usize,
    },
    Flush,
    Freeze(u8),
    Release(u8),
    Clean,
    Reopen,
    /// The process dies; what it wrote is in the page cache.
    Kill,
    PowerCut(u64),
    FullDisk {
        offset: usize,
        len: usize,
    },
    FailedSync,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let any_range = (0..VOLUME_BYTES, 1..12_000_usize);
    let aligned_range = (0..VOLUME_BYTES / 512, 1..40_usize).prop_map(|(at, len)| (at * 512, len * 512));
    let range = prop_oneof![4 => aligned_range, 1 => any_range]
        .prop_map(|(offset, len)| (offset, len.min(VOLUME_BYTES - offset)));
    let op = prop_oneof![
        30 => (range.clone(), any::<u64>()).prop_map(|((offset, len), seed)| Op::Write { offset, len, seed }),
        6 => range.clone().prop_map(|(offset, len)| Op::Zero { offset, len }),
        6 => range.clone().prop_map(|(offset, len)| Op::Trim { offset, len }),
        8 => Just(Op::Flush),
        3 => (0..6_u8).prop_map(Op::Freeze),
        2 => (0..6_u8).prop_map(Op::Release),
        4 => Just(Op::Clean),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        3 => any::<u64>().prop_map(Op::PowerCut),
        1 => range.prop_map(|(offset, len)| Op::FullDisk { offset, len }),
        1 => Just(Op::FailedSync),
    ];
    vec(op, 1..80)
}

/// The volume, the overlay beside it, and what they must agree on.
struct Pair {
    dirs: TempDir,
    dir: PathBuf,
    disk: Arc<ForgetfulDisk>,
    volume: Volume,
    overlay: Overlay,
    flushed: usize,
    frozen: BTreeMap<String, Frozen>,
}

struct Frozen {
    seq: u64,
    content: Vec<u8>,
    released: bool,
}

impl Pair {
    async fn new() -> Self {
        let dirs = temp_dir();
        let dir = dirs.path().join("volume");
        create(&dir);
        let disk = Arc::new(ForgetfulDisk::default());
        let volume = open(&dir, &disk).await.unwrap();
        Self { dirs, dir, disk, volume, overlay: Overlay::new(), flushed: 0, frozen: BTreeMap::new() }
    }

    async fn apply(&mut self, op: &Op) {
        let volume = &self.volume;
        match *op {
            Op::Write { offset, len, seed } => {
                let data = noise(seed, len);
                volume.write_at(offset as u64, &data).await.unwrap();
                self.overlay.write(offset, &data);
            }
            Op::Zero { offset, len } => {
                volume.write_zeroes(offset as u64, len as u64).await.unwrap();
                self.overlay.zero(offset, len);
            }
            Op::Trim { offset, len } => {
                volume.trim(offset as u64, len as u64).await.unwrap();
                self.overlay.trim(offset, len);
            }
            Op::Flush => self.flush().await,
            Op::Freeze(key) => self.freeze(&format!("key-{key}")).await,
            Op::Release(key) => self.release(&format!("key-{key}")).await,
            Op::Clean => {
                volume.clean().await.unwrap();
                self.flushed = self.flushed.max(self.flushed_by_cleaner());
            }
            Op::Reopen => {
                volume.close().await.unwrap();
                self.flushed = self.overlay.steps();
                self.reopen().await;
            }
            Op::Kill => self.reopen().await,
            Op::PowerCut(seed) => self.power_cut(seed).await,
            Op::FullDisk { offset, len } => self.full_disk(offset, len).await,
            Op::FailedSync => self.failed_sync().await,
        }
    }

    /// The cleaner syncs when it had something to do, which is more than was asked for.
    fn flushed_by_cleaner(&self) -> usize {
        let stats = self.volume.stats().unwrap();
        if stats.written_seq == stats.durable_seq { self.overlay.steps() } else { self.flushed }
    }

    async fn flush(&mut self) {
        self.volume.flush().await.unwrap();
        self.flushed = self.overlay.steps();
    }

    async fn freeze(&mut self, key: &str) {
        let layer = self.volume.freeze(key).await.unwrap();
        if let Some(known) = self.frozen.get(key) {
            assert_eq!(layer.seq, known.seq, "the same key gave another layer");
            return;
        }
        self.flushed = self.overlay.steps();
        let content = self.overlay.content().to_vec();
        self.frozen.insert(key.to_owned(), Frozen { seq: layer.seq, content, released: false });
    }

    async fn release(&mut self, key: &str) {
        self.volume.release(key).await.unwrap();
        if let Some(layer) = self.frozen.get_mut(key) {
            layer.released = true;
        }
    }

    /// Drops the owner without a word, as a killed process does.
    async fn reopen(&mut self) {
        let placeholder = temp_dir();
        create(placeholder.path());
        let other = open(placeholder.path(), &Arc::default()).await.unwrap();
        let old = std::mem::replace(&mut self.volume, other);
        // A cleaner in the background may still be at work for it.
        drop(old.close().await);
        drop(old);
        self.volume = open(&self.dir, &self.disk).await.unwrap();
        // Opening makes durable what it found.
        self.flushed = self.overlay.steps();
    }

    async fn power_cut(&mut self, seed: u64) {
        let after = self.dirs.path().join(format!("cut-{seed:x}"));
        if after.exists() {
            return;
        }
        std::fs::create_dir(&after).unwrap();
        self.disk.power_cut(&self.dir, &after, seed);
        self.disk = Arc::default();
        self.dir = after;
        self.volume = open(&self.dir, &self.disk).await.unwrap();
        let found = content(&self.volume).await;
        let step = self.overlay.rewind_to(&found, self.flushed);
        assert!(step.is_some(), "after a power cut the content is no state since the last flush");
        self.flushed = self.overlay.steps();
    }

    async fn full_disk(&mut self, offset: usize, len: usize) {
        // Only a write of whole sectors is all or nothing.
        let (offset, len) = (offset / 512 * 512, len.next_multiple_of(512));
        let len = len.min(VOLUME_BYTES - offset);
        self.disk.fail_write.store(true, Ordering::SeqCst);
        let refused = self.volume.write_at(offset as u64, &vec![7; len]).await.unwrap_err();
        assert!(refused.is_out_of_space(), "{refused:?}");
        self.disk.fail_write.store(false, Ordering::SeqCst);
    }

    /// A sync that failed takes the unsynced writes with it, and all that follow are refused until it is opened anew.
    async fn failed_sync(&mut self) {
        self.volume.write_at(0, &[0xff; 512]).await.unwrap();
        self.overlay.write(0, &[0xff; 512]);
        self.disk.fail_sync.store(true, Ordering::SeqCst);
        let failed = self.volume.flush().await.is_err();
        self.disk.fail_sync.store(false, Ordering::SeqCst);
        if !failed {
            // A cleaner in the background met the failure, or synced before.
            self.flushed = self.overlay.steps();
            if !self.volume.stats().unwrap().poisoned {
                return;
            }
        }
        assert!(self.volume.write_at(0, &[1; 512]).await.is_err());
        assert!(self.volume.flush().await.is_err());
        drop(self.volume.close().await);
        self.disk.forget_all();
        self.volume = open(&self.dir, &self.disk).await.unwrap();
        let found = content(&self.volume).await;
        assert!(
            self.overlay.rewind_to(&found, self.flushed).is_some(),
            "a failed sync lost what was flushed"
        );
        self.flushed = self.overlay.steps();
    }

    async fn check(&self, chance: u64) {
        let offset = usize::try_from(chance % VOLUME_BYTES as u64).unwrap();
        let len = usize::try_from(chance >> 40).unwrap() % (VOLUME_BYTES - offset) + 1;
        let mut found = vec![0; len];
        self.volume.read_at(offset as u64, &mut found).await.unwrap();
        assert!(found == self.overlay.read(offset, len), "{len} bytes at {offset} are something else");
    }

    async fn check_all(&self) {
        assert!(content(&self.volume).await == self.overlay.content(), "the volume holds something else");
        for (key, frozen) in &self.frozen {
            if frozen.released {
                assert_eq!(FrozenView::open(&self.dir, key).unwrap_err().kind(), crate::ErrorKind::NotFound);
                continue;
            }
            let view = FrozenView::open(&self.dir, key).unwrap();
            let empty = Overlay::new();
            Self::check_frozen(&view, None, empty.content(), &frozen.content);
            for (prev, before) in self.frozen.iter().filter(|(_, before)| before.seq < frozen.seq) {
                Self::check_frozen(&view, Some(prev), &before.content, &frozen.content);
            }
        }
    }

    /// The frozen content is the earlier one with the extents laid over it.
    fn check_frozen(view: &FrozenView, prev: Option<&str>, before: &[u8], expected: &[u8]) {
        let mut found = before.to_vec();
        for extent in view.extents_since(prev).unwrap() {
            let from = usize::try_from(extent.offset_bytes).unwrap();
            let part = &mut found[from..from + usize::try_from(extent.len_bytes).unwrap()];
            view.read_at(extent.offset_bytes, part).unwrap();
            assert!(extent.kind == ExtentKind::Data || part.iter().all(|byte| *byte == 0));
        }
        assert!(found == expected, "the frozen layer since {prev:?} holds something else");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn a_volume_is_a_plain_overlay_that_survives(ops in ops(), seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new().await;
            for (at, op) in ops.iter().enumerate() {
                pair.apply(op).await;
                pair.check(seed.wrapping_mul(at as u64 | 1)).await;
            }
            pair.check_all().await;
            pair.reopen().await;
            pair.check_all().await;
        });
    }
}
