//! The store against a flat model: build, change, grow, reopen, compare; in every order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use blockstore::{Domain, Options, Root};
use object_store::ObjectStore;
use proptest::prelude::*;

use crate::support::{BLOCK, objects, open, secret};

/// Which content each present block has.
type Model = BTreeMap<u64, u8>;

/// Blocks where something interesting begins or ends: leaves, inner nodes, heights.
const EDGES: [u64; 6] = [0, 1024, 2048, 256 * 1024, 257 * 1024, 65_536 * 1024];
const SIZES: [u64; 6] = [256, 1024, 2500, 256 * 1024, 258 * 1024, 65_537 * 1024];

#[derive(Debug, Clone)]
enum Op {
    Write {
        at: u64,
        contents: Vec<u8>,
    },
    Zero {
        blocks: Range<u64>,
    },
    /// Ends the snapshot; the next one begins on an earlier one, or from nothing.
    Commit {
        base: Option<usize>,
        size: usize,
    },
    Reopen,
}

fn block_number() -> impl Strategy<Value = u64> {
    (prop::sample::select(EDGES.as_slice()), 0u64..80, any::<bool>()).prop_map(|(edge, distance, before)| {
        if before { edge.saturating_sub(distance) } else { edge + distance }
    })
}

fn op() -> impl Strategy<Value = Op> {
    let contents = prop_oneof![
        prop::collection::vec(0u8..40, 1..50),
        (1u8..200, 1u8..60).prop_map(|(first, len)| (0..len).map(|i| first.wrapping_add(i)).collect()),
    ];
    let range = (block_number(), block_number()).prop_map(|(a, b)| a.min(b)..a.max(b));
    let short = (block_number(), 1u64..100).prop_map(|(start, len)| start..start + len);
    prop_oneof![
        6 => (block_number(), contents).prop_map(|(at, contents)| Op::Write { at, contents }),
        1 => range.prop_map(|blocks| Op::Zero { blocks }),
        2 => short.prop_map(|blocks| Op::Zero { blocks }),
        3 => (prop::option::of(0usize..8), 0..SIZES.len()).prop_map(|(base, size)| Op::Commit { base, size }),
        1 => Just(Op::Reopen),
    ]
}

fn content(kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    if kind != 0 {
        block[usize::from(kind)] = kind;
        block[BLOCK - 1] = 1;
    }
    block
}

/// Every bound so small that each mechanism for being above it runs.
fn tight(index_entries_max: usize) -> Options {
    Options {
        frame_cache_bytes: 1 << 20,
        node_cache_bytes: 64 << 10,
        directory_cache_bytes: 256 << 10,
        index_entries_max,
        pack_bytes: 3000,
        node_pack_bytes: 500,
        writer_leaf_bytes: 300,
        compression_tasks: 2,
        ..Options::default()
    }
}

struct World {
    objects: Arc<dyn ObjectStore>,
    options: Options,
    domain: Domain,
    snapshots: Vec<(Root, Model)>,
    opened: u64,
}

impl World {
    async fn new(options: Options) -> Self {
        let objects = objects();
        let domain = open(&objects, 0, options.clone()).await.domain("d", &secret(1));
        Self { objects, options, domain, snapshots: Vec::new(), opened: 0 }
    }

    async fn reopen(&mut self) {
        self.opened += 1;
        let store = open(&self.objects, self.opened << 32, self.options.clone()).await;
        self.domain = store.domain("d", &secret(1));
    }

    async fn run(&mut self, ops: &[Op]) {
        let mut model = Model::new();
        let mut blocks = SIZES[4];
        let mut writer = self.domain.writer(None, blocks * BLOCK as u64).await.unwrap();
        for op in ops.iter().chain([&Op::Commit { base: None, size: 0 }]) {
            match op {
                Op::Write { at, contents } => {
                    let fits = usize::try_from(blocks.saturating_sub(*at)).unwrap().min(contents.len());
                    let bytes: Vec<u8> = contents[..fits].iter().flat_map(|kind| content(*kind)).collect();
                    if fits > 0 {
                        writer.write(at * BLOCK as u64, &bytes).await.unwrap();
                    }
                    for (block, kind) in (*at..).zip(&contents[..fits]) {
                        model.remove(&block);
                        if *kind != 0 {
                            model.insert(block, *kind);
                        }
                    }
                }
                Op::Zero { blocks: range } => {
                    let range = range.start.min(blocks)..range.end.min(blocks);
                    let len = (range.end - range.start) * BLOCK as u64;
                    writer.zero(range.start * BLOCK as u64, len).await.unwrap();
                    model.retain(|block, _| !range.contains(block));
                }
                Op::Commit { base, size } => {
                    let (root, _) = writer.commit().await.unwrap();
                    self.check(&root, &model).await;
                    self.snapshots.push((root, model));
                    let base = base.and_then(|base| self.snapshots.get(base)).cloned();
                    let base_blocks = base.as_ref().map_or(0, |(root, _)| root.size_bytes() / BLOCK as u64);
                    blocks = SIZES[*size].max(base_blocks);
                    let root = base.as_ref().map(|(root, _)| root);
                    writer = self.domain.writer(root, blocks * BLOCK as u64).await.unwrap();
                    model = base.as_ref().map(|(_, model)| model.clone()).unwrap_or_default();
                }
                // The writer in progress keeps its handle on the store that was open before.
                Op::Reopen => self.reopen().await,
            }
        }
    }

    async fn check(&self, root: &Root, model: &Model) {
        let reader = self.domain.reader(root).await.unwrap();
        assert_eq!(reader.full_size_bytes(), (model.len() * BLOCK) as u64);
        let mut present: Vec<u64> = Vec::new();
        while let Ok(page) = reader.present(BLOCK as u64, present.last().map_or(0, |last| last + 1), 97).await
        {
            present.extend(&page);
            if page.len() < 97 {
                break;
            }
        }
        assert!(present.iter().eq(model.keys()));
        let blocks = root.size_bytes() / BLOCK as u64;
        for edge in EDGES.into_iter().filter(|edge| *edge < blocks) {
            let (start, end) = (edge.saturating_sub(90), (edge + 90).min(blocks));
            let mut bytes = vec![0xee; usize::try_from(end - start).unwrap() * BLOCK];
            reader.read_at(start * BLOCK as u64, &mut bytes).await.unwrap();
            for (block, bytes) in (start..end).zip(bytes.chunks(BLOCK)) {
                assert!(bytes == content(model.get(&block).copied().unwrap_or(0)), "block {block}");
            }
        }
    }

    /// Every pair of snapshots, in units of several sizes, in pages.
    async fn check_diffs(&self) {
        for (i, (a, model_a)) in self.snapshots.iter().enumerate() {
            for (b, model_b) in &self.snapshots[i..] {
                for unit_blocks in [1, 3, 128, 5000] {
                    let changed =
                        model_a.keys().chain(model_b.keys()).filter(|k| model_a.get(k) != model_b.get(k));
                    let mut expected: Vec<u64> = changed.map(|block| block / unit_blocks).collect();
                    expected.sort_unstable();
                    expected.dedup();
                    let mut found: Vec<u64> = Vec::new();
                    loop {
                        let from = found.last().map_or(0, |last| last + 1);
                        let page =
                            self.domain.diff(a, b, unit_blocks * BLOCK as u64, from, 50).await.unwrap();
                        found.extend(&page);
                        if page.len() < 50 {
                            break;
                        }
                    }
                    assert_eq!(found, expected);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::support::CASES, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_the_flat_model(
        ops in prop::collection::vec(op(), 1..40),
        index_entries_max in prop::sample::select(&[16usize, 64, 1 << 20]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(tight(index_entries_max)).await;
            world.run(&ops).await;
            world.check_diffs().await;
            world.reopen().await;
            for (root, model) in &world.snapshots {
                world.check(root, model).await;
                let stats = world.domain.verify(root).await.unwrap();
                assert_eq!(stats.present_blocks, model.len() as u64);
            }
        });
    }
}
