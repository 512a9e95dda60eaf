//! A verification names exactly what readers cannot read, and the objects to blame.

use std::ops::Range;
use std::sync::Arc;

use blockstore::{Defect, Domain, Options, Root, Store, Verification, VerifyReport};
use bytes::Bytes;
use object_store::path::Path;
use proptest::prelude::*;

use crate::damage::{Objects, dump, restore};
use crate::support::{BLOCK, MIB, secret};

const SIZE: u64 = 3 * 4 * MIB;
const BLOCK_U64: u64 = BLOCK as u64;

struct Fixture {
    objects: Objects,
    roots: Vec<Root>,
    disks: Vec<Vec<u8>>,
}

async fn domain(objects: &[(Path, Bytes)]) -> Domain {
    let ids = Arc::new(model::SeededIdGen::new(9));
    let store = Store::open(restore(objects).await, ids, options()).await.unwrap();
    store.domain("d", &secret(1))
}

/// Small enough that a few hundred blocks are several packs and node packs.
fn options() -> Options {
    Options { pack_bytes: 128 << 10, node_pack_bytes: 1, ..Options::default() }
}

/// Bytes that do not compress, different for each number.
fn block(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK];
    model::IdGen::fill(&model::SeededIdGen::new(number), &mut bytes);
    bytes
}

/// Two roots that share a pack and a leaf, and have one of each for themselves.
async fn fixture() -> Fixture {
    let objects = Store::in_memory();
    let ids = Arc::new(model::SeededIdGen::new(3));
    let store = Store::open(Arc::clone(&objects), ids, options()).await.unwrap();
    let domain = store.domain("d", &secret(1));
    let mut disk = vec![0; usize::try_from(SIZE).unwrap()];
    let mut writer = domain.writer(None, SIZE).await.unwrap();
    for number in (0..70).chain(1020..1030).chain([2047, 3071]) {
        let at = usize::try_from(number * BLOCK_U64).unwrap();
        disk[at..at + BLOCK].copy_from_slice(&block(number));
        writer.write(number * BLOCK_U64, &block(number)).await.unwrap();
    }
    let (first, _) = writer.commit().await.unwrap();
    let mut disks = vec![disk.clone()];
    let mut writer = domain.writer(Some(&first), SIZE).await.unwrap();
    for number in (20..30).chain([2040]) {
        let at = usize::try_from(number * BLOCK_U64).unwrap();
        disk[at..at + BLOCK].copy_from_slice(&block(5000 + number));
        writer.write(number * BLOCK_U64, &block(5000 + number)).await.unwrap();
    }
    let (second, _) = writer.commit().await.unwrap();
    disks.push(disk);
    Fixture { objects: dump(&objects).await, roots: vec![first, second], disks }
}

async fn verify(domain: &Domain, roots: &[Root]) -> VerifyReport {
    let mut verification = Verification::begin(domain, roots).await.unwrap();
    for pack in verification.packs() {
        let finding = verification.check_pack(pack).await;
        verification.note(finding);
    }
    verification.report().await
}

/// Blocks that are written, their neighbours, and a few far away.
fn looked_at() -> impl Iterator<Item = u64> {
    (0..72).chain(1018..1032).chain([1500, 2039, 2040, 2041, 2046, 2047, 2048, 2500, 3070, 3071])
}

fn ranges(report: &VerifyReport, root: usize) -> Vec<Range<u64>> {
    report.roots[root].iter().map(|bad| bad.offset_bytes..bad.offset_bytes + bad.len_bytes).collect()
}

impl Fixture {
    async fn check(&self, objects: &[(Path, Bytes)], what: &str) -> VerifyReport {
        let domain = domain(objects).await;
        let report = verify(&domain, &self.roots).await;
        for (position, (root, disk)) in self.roots.iter().zip(&self.disks).enumerate() {
            let bad = ranges(&report, position);
            let reader = domain.reader(root).await;
            for number in looked_at() {
                let offset = number * BLOCK_U64;
                let mut bytes = vec![0xee; BLOCK];
                let read = match &reader {
                    Ok(reader) => reader.read_at(offset, &mut bytes).await.is_ok(),
                    Err(_) => false,
                };
                let is_bad = bad.iter().any(|range| range.contains(&offset));
                assert_eq!(read, !is_bad, "{what}: block {number} of root {position}, told {bad:?}");
                let at = usize::try_from(offset).unwrap();
                assert!(!read || bytes == disk[at..at + BLOCK], "{what}: served wrong bytes");
            }
        }
        report
    }

    fn damaged(&self, position: usize, change: impl FnOnce(&mut Vec<u8>)) -> Objects {
        let mut objects = self.objects.clone();
        let mut bytes = objects[position].1.to_vec();
        change(&mut bytes);
        objects[position].1 = bytes.into();
        objects
    }

    fn of_kind(&self, kind: &str) -> Vec<usize> {
        (0..self.objects.len()).filter(|at| self.objects[*at].0.as_ref().starts_with(kind)).collect()
    }
}

#[tokio::test]
async fn a_whole_store_has_nothing_to_tell_and_every_object_is_read_once() {
    let fixture = FIXTURE.get_or_init(fixture).await;
    let report = fixture.check(&fixture.objects, "whole").await;
    assert!(report.objects.is_empty() && report.roots.iter().all(Vec::is_empty), "{report:?}");
    let (packs, node_packs) = (fixture.of_kind("pack").len() as u64, fixture.of_kind("node").len() as u64);
    assert!(packs >= 3 && node_packs >= 3, "{packs} packs, {node_packs} node packs");
    assert_eq!((report.stats.packs, report.stats.node_packs), (packs, node_packs));
    assert_eq!(report.stats.decoded_bytes, (82 + 11) * BLOCK_U64);
    assert_eq!(report.stats.present_blocks, 82 + 83);
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_bytes_that_it_costs() {
    let fixture = FIXTURE.get_or_init(fixture).await;
    for position in fixture.of_kind("pack").into_iter().chain(fixture.of_kind("node")) {
        let mut objects = fixture.objects.clone();
        let (path, _) = objects.remove(position);
        let report = fixture.check(&objects, &format!("{path} is gone")).await;
        let told: Vec<_> = report.objects.iter().map(|bad| (bad.path.as_str(), bad.defect)).collect();
        assert_eq!(told, [(path.as_ref(), Defect::Missing)]);
        assert!(report.roots.iter().any(|ranges| !ranges.is_empty()), "{path}");
    }
}

#[tokio::test]
async fn an_object_in_the_place_of_another_is_named() {
    let fixture = FIXTURE.get_or_init(fixture).await;
    for kind in ["pack", "node"] {
        let places = fixture.of_kind(kind);
        for (at, other) in places.iter().zip(places.iter().cycle().skip(1)) {
            let bytes = fixture.objects[*other].1.to_vec();
            let objects = fixture.damaged(*at, |old| *old = bytes);
            let report = fixture.check(&objects, &format!("{} holds another", fixture.objects[*at].0)).await;
            let told: Vec<_> = report.objects.iter().map(|bad| (bad.path.as_str(), bad.defect)).collect();
            assert_eq!(told, [(fixture.objects[*at].0.as_ref(), Defect::Damaged)]);
        }
    }
}

#[tokio::test]
async fn a_damaged_frame_costs_its_blocks_and_no_others() {
    let fixture = FIXTURE.get_or_init(fixture).await;
    let mut costs = Vec::new();
    for position in fixture.of_kind("pack") {
        let objects = fixture.damaged(position, |bytes| bytes[100] ^= 1);
        let report = fixture.check(&objects, "first frame").await;
        costs.push((ranges(&report, 0), ranges(&report, 1)));
    }
    // Only the first root's own blocks, only the second's, and blocks of both.
    assert!(costs.iter().any(|(first, second)| first.is_empty() && !second.is_empty()), "{costs:?}");
    assert!(costs.iter().any(|(first, second)| !first.is_empty() && first == second), "{costs:?}");
    assert!(costs.iter().all(|(first, second)| {
        first.iter().chain(second).all(|range| range.end - range.start <= 64 * BLOCK_U64)
    }));
}

#[tokio::test]
async fn damage_in_what_only_writers_need_is_named_and_costs_no_bytes() {
    let fixture = FIXTURE.get_or_init(fixture).await;
    for position in fixture.of_kind("pack") {
        let objects = fixture.damaged(position, |bytes| {
            let end = bytes.len();
            bytes[end - 70] ^= 1;
        });
        let report = fixture.check(&objects, "frame table").await;
        assert_eq!(report.objects.len(), 1);
        assert!(report.roots.iter().all(Vec::is_empty), "node packs have the table again: {report:?}");
    }
}

#[tokio::test]
async fn names_are_checked_against_their_roots() {
    let fixture = FIXTURE.get_or_init(fixture).await;
    let domain = domain(&fixture.objects).await;
    domain.publish("one", &fixture.roots[0], None).await.unwrap();
    assert_eq!(domain.check_name("one", &fixture.roots[0]).await, None);
    let other = domain.check_name("one", &fixture.roots[1]).await.unwrap();
    assert_eq!((other.path.as_str(), other.defect), ("snap/d/one", Defect::Damaged));
    let missing = domain.check_name("two", &fixture.roots[0]).await.unwrap();
    assert_eq!((missing.path.as_str(), missing.defect), ("snap/d/two", Defect::Missing));
}

static FIXTURE: tokio::sync::OnceCell<Fixture> = tokio::sync::OnceCell::const_new();

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to any number of objects: what is told is what readers cannot read.
    #[test]
    fn any_damage_is_told_as_readers_meet_it(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3), 1..4)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = FIXTURE.get_or_init(fixture).await;
            let mut objects = fixture.objects.clone();
            objects.retain(|(path, _)| path.as_ref() != "store");
            for (object, at, kind) in &damage {
                let object = object.index(objects.len());
                let mut bytes = objects[object].1.to_vec();
                let at = at.index(bytes.len().max(1));
                match kind {
                    _ if bytes.is_empty() => {}
                    0 => bytes[at] ^= 0x40,
                    1 => bytes.truncate(at),
                    _ => bytes.insert(at, 0),
                }
                objects[object].1 = bytes.into();
            }
            let report = fixture.check(&objects, &format!("{damage:?}")).await;
            assert!(!report.objects.is_empty(), "{damage:?}: nobody noticed");
        });
    }
}
