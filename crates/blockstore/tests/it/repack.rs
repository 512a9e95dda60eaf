//! Repacking: every disk stays what it was for whoever reads it, and what is left over goes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use blockstore::{Domain, ErrorKind, Policy, Repack, Repacked, Root, Store};
use model::Clock;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutOptions};

use crate::collection::{Scene, at_once};
use crate::crashes::Recorder;
use crate::damage::{Objects, dump, restore};
use crate::support::{BLOCK, MIB, noise, read_all, write};

const SIZE: u64 = 8 * MIB;

/// Three disks, one upon the other; of the middle one hardly anything is needed once it is deleted.
struct Disks {
    scene: Scene,
    kept: Vec<(Root, Vec<u8>)>,
}

async fn disks() -> Disks {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let mut disk = vec![0; usize::try_from(SIZE).unwrap()];
    let mut kept = Vec::new();
    let mut base = None;
    // Each disk overwrites most of what the one before it wrote.
    for (name, seed, start, blocks) in [("first", 1, 0, 300), ("gone", 2, 5, 300), ("last", 3, 20, 270)] {
        let bytes = noise(seed, blocks * BLOCK);
        disk[start * BLOCK..][..bytes.len()].copy_from_slice(&bytes);
        let (root, _) = write(&domain, base.as_ref(), SIZE, &[((start * BLOCK) as u64, &bytes)]).await;
        domain.publish(name, &root, base.as_ref()).await.unwrap();
        if name != "gone" {
            kept.push((root.clone(), disk.clone()));
        }
        scene.clock.advance(Duration::from_secs(1));
        base = Some(root);
    }
    domain.retract("gone").await.unwrap();
    Disks { scene, kept }
}

async fn repack(scene: &Scene, domain: &Domain, what: Repack) -> blockstore::Result<Repacked> {
    let mut total = Repacked::default();
    loop {
        let done = domain.repack(&[], scene.clock.now(), &at_once(), what, 1 << 20).await?;
        let Some(done) = done else { continue };
        total = total.and(&done);
        if done.is_done {
            return Ok(total);
        }
    }
}

/// Until what is dead is deleted.
async fn collect(scene: &Scene, domain: &Domain) {
    for _ in 0..4 {
        scene.clock.advance(Duration::from_secs(6));
        let done = scene.round(domain, &[], &at_once()).await;
        assert!(!done.is_alarmed, "{done:?}");
    }
    let left = domain.measure(&[], scene.clock.now(), &at_once()).await.unwrap().unwrap();
    assert_eq!((left.dead_objects, left.retired_objects), (0, 0));
}

async fn bytes_of(scene: &Scene, kind: &str) -> usize {
    let objects = dump(&scene.objects).await;
    objects.iter().filter(|(path, _)| path.as_ref().starts_with(kind)).map(|(_, bytes)| bytes.len()).sum()
}

async fn version(scene: &Scene) -> u8 {
    scene.objects.get(&Path::from("store")).await.unwrap().bytes().await.unwrap()[8]
}

async fn check(domain: &Domain, kept: &[(Root, Vec<u8>)]) {
    for (root, disk) in kept {
        assert!(read_all(domain, root).await.unwrap() == *disk);
        assert!(crate::support::restore(domain, root).await.unwrap() == *disk);
        domain.verify(root).await.unwrap();
    }
}

#[tokio::test]
async fn what_little_is_needed_of_a_pack_is_moved_and_the_pack_goes() {
    let Disks { mut scene, kept } = disks().await;
    let domain = scene.process().await;
    collect(&scene, &domain).await;
    let before = bytes_of(&scene, "pack").await;
    assert_eq!(version(&scene).await, 1);
    let done = repack(&scene, &domain, Repack::Sparse).await.unwrap();
    assert!(done.packs > 0 && done.new_bytes < done.bytes, "{done:?}");
    // A program that knows no maps would take the new packs for dead.
    assert_eq!(version(&scene).await, 2);
    check(&domain, &kept).await;
    collect(&scene, &domain).await;
    let after = bytes_of(&scene, "pack").await;
    assert!(after + 70 * BLOCK < before, "{before} bytes became {after}");
    check(&domain, &kept).await;
    check(&scene.process().await, &kept).await;
    let again = repack(&scene, &domain, Repack::Sparse).await.unwrap();
    assert_eq!(again.moved_blocks, 0);
}

#[tokio::test]
async fn everything_is_packed_densely_batch_by_batch_and_only_once() {
    let Disks { mut scene, kept } = disks().await;
    let domain = scene.process().await;
    let done = repack(&scene, &domain, Repack::All).await.unwrap();
    assert!(done.moved_blocks > 500, "{done:?}");
    collect(&scene, &domain).await;
    check(&scene.process().await, &kept).await;
    assert_eq!(
        repack(&scene, &domain, Repack::All).await.unwrap(),
        Repacked { is_done: true, ..Default::default() }
    );
    // Blocks are found where they are now.
    for domain in [domain, scene.process().await] {
        let (_, stats) = write(&domain, None, SIZE, &[(MIB, &kept[1].1[..300 * BLOCK])]).await;
        assert_eq!(stats.new_blocks, 0);
    }
}

#[tokio::test]
async fn what_was_moved_once_is_moved_again() {
    let Disks { mut scene, mut kept } = disks().await;
    let domain = scene.process().await;
    repack(&scene, &domain, Repack::All).await.unwrap();
    collect(&scene, &domain).await;
    // A disk upon one whose blocks were moved names them where they are now.
    let (root, disk) = kept.last().cloned().unwrap();
    let (next, _) = write(&domain, Some(&root), SIZE, &[(0, &noise(9, BLOCK))]).await;
    domain.publish("next", &next, Some(&root)).await.unwrap();
    let mut changed = disk.clone();
    changed[..BLOCK].copy_from_slice(&noise(9, BLOCK));
    assert_eq!(domain.diff(&root, &next, BLOCK as u64, 0, 10).await.unwrap(), [0]);
    // Most of the dense packs dies.
    for name in ["first", "last"] {
        domain.retract(name).await.unwrap();
    }
    let (small, _) = write(&domain, None, SIZE, &[(0, &disk[40 * BLOCK..60 * BLOCK])]).await;
    domain.publish("small", &small, None).await.unwrap();
    domain.retract("next").await.unwrap();
    let mut expected = vec![0; disk.len()];
    expected[..20 * BLOCK].copy_from_slice(&disk[40 * BLOCK..60 * BLOCK]);
    kept = vec![(small, expected)];
    collect(&scene, &domain).await;
    let done = repack(&scene, &domain, Repack::Sparse).await.unwrap();
    assert_eq!(done.moved_blocks, 20);
    collect(&scene, &domain).await;
    check(&scene.process().await, &kept).await;
}

#[tokio::test]
async fn a_reader_in_another_process_finds_what_was_moved_and_deleted() {
    let Disks { mut scene, kept } = disks().await;
    let other = scene.process().await;
    let (root, disk) = &kept[1];
    let reader = other.reader(root).await.unwrap();
    let mut block = vec![0; BLOCK];
    reader.read_at(0, &mut block).await.unwrap();
    let domain = scene.process().await;
    for _ in 0..2 {
        repack(&scene, &domain, Repack::All).await.unwrap();
        collect(&scene, &domain).await;
    }
    let mut found = vec![0; disk.len()];
    reader.read_at(0, &mut found).await.unwrap();
    assert!(found == *disk);
    other.verify(root).await.unwrap();
}

#[tokio::test]
async fn a_writer_that_began_before_keeps_what_it_names() {
    let Disks { mut scene, kept } = disks().await;
    let domain = scene.process().await;
    let (root, disk) = &kept[0];
    let mut writer = domain.writer(Some(root), SIZE).await.unwrap();
    writer.write(0, &noise(4, BLOCK)).await.unwrap();
    let restoring = domain.reader(root).await.unwrap();
    let mut contents = restoring.contents();
    contents.next().await.unwrap();
    repack(&scene, &domain, Repack::All).await.unwrap();
    for _ in 0..4 {
        scene.clock.advance(Duration::from_secs(6));
        scene.round(&domain, &[], &at_once()).await;
    }
    while contents.next().await.unwrap().is_some() {}
    writer.write(2 * MIB, &disk[30 * BLOCK..40 * BLOCK]).await.unwrap();
    let (new, _) = writer.commit().await.unwrap();
    domain.publish("new", &new, None).await.unwrap();
    drop(contents);
    let mut changed = disk.clone();
    changed[..BLOCK].copy_from_slice(&noise(4, BLOCK));
    let copied = disk[30 * BLOCK..40 * BLOCK].to_vec();
    changed[usize::try_from(2 * MIB).unwrap()..][..copied.len()].copy_from_slice(&copied);
    collect(&scene, &domain).await;
    check(&scene.process().await, &kept).await;
    check(&domain, &[(new, changed)]).await;
}

#[tokio::test]
async fn a_copy_to_another_domain_reads_what_was_moved() {
    let Disks { mut scene, kept } = disks().await;
    let domain = scene.process().await;
    repack(&scene, &domain, Repack::All).await.unwrap();
    collect(&scene, &domain).await;
    let store = crate::support::open(&scene.objects, 77, crate::support::small()).await;
    let (source, target) =
        (store.domain("d", &crate::support::secret(1)), store.domain("e", &crate::support::secret(2)));
    let mut base: Option<(Root, Root)> = None;
    for (root, disk) in &kept {
        let pair = base.as_ref().map(|(from, to)| (from, to));
        let (copy, _) = target.copy_from(&source, root, pair).await.unwrap();
        assert!(read_all(&target, &copy).await.unwrap() == *disk);
        base = Some((root.clone(), copy));
    }
}

#[tokio::test]
async fn a_crash_at_any_put_leaves_everything_readable_and_the_next_process_goes_on() {
    let Disks { scene, kept } = disks().await;
    let objects = dump(&scene.objects).await;
    for effects in 0.. {
        let recorder = Arc::new(Recorder::new());
        for (path, bytes) in &objects {
            recorder.put_opts(path, bytes.clone().into(), PutOptions::default()).await.unwrap();
        }
        let mut scene = Scene::new(Arc::clone(&recorder) as Arc<dyn ObjectStore>);
        let domain = scene.process().await;
        recorder.effects_left.store(effects, Ordering::SeqCst);
        let first = repack(&scene, &domain, Repack::All).await;
        recorder.effects_left.store(usize::MAX, Ordering::SeqCst);
        check(&domain, &kept).await;
        let domain = scene.process().await;
        check(&domain, &kept).await;
        repack(&scene, &domain, Repack::All).await.unwrap();
        collect(&scene, &domain).await;
        check(&scene.process().await, &kept).await;
        if first.is_ok() {
            assert!(effects > 6, "repacking has more effects than {effects}");
            break;
        }
    }
}

fn is_map(path: &Path) -> bool {
    path.as_ref().starts_with("map/")
}

async fn repacked() -> (Objects, Vec<(Root, Vec<u8>)>) {
    let Disks { mut scene, kept } = disks().await;
    let domain = scene.process().await;
    let policy = Policy { node_packs: 1 << 20, ..at_once() };
    let done = domain.repack(&[], scene.clock.now(), &policy, Repack::All, 1 << 30).await.unwrap().unwrap();
    assert!(done.moved_blocks > 0);
    collect(&scene, &domain).await;
    (dump(&scene.objects).await, kept)
}

#[tokio::test]
async fn a_damaged_map_is_told_and_its_copy_is_used() {
    let (objects, kept) = repacked().await;
    let maps: Vec<&(Path, bytes::Bytes)> = objects.iter().filter(|(path, _)| is_map(path)).collect();
    assert_eq!(maps.len(), 2);
    for (path, bytes) in maps {
        for at in (0..bytes.len()).step_by(41) {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << (at % 8);
            let mut scene = Scene::new(restore(&objects).await);
            scene.objects.put(path, damaged.into()).await.unwrap();
            let domain = scene.process().await;
            let (root, disk) = &kept[1];
            assert!(read_all(&domain, root).await.unwrap() == *disk);
            let told = domain.verify(root).await.unwrap_err();
            assert!(told.context().contains(path.as_ref()), "{told:?}");
        }
    }
}

#[tokio::test]
async fn without_any_map_nothing_wrong_is_read_and_nothing_is_deleted() {
    let (objects, kept) = repacked().await;
    let mut scene = Scene::new(restore(&objects).await);
    for (path, bytes) in objects.iter().filter(|(path, _)| is_map(path)) {
        scene.objects.put(path, bytes.slice(..bytes.len() / 2).into()).await.unwrap();
    }
    let domain = scene.process().await;
    for (root, _) in &kept {
        assert_eq!(read_all(&domain, root).await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(domain.verify(root).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let before = dump(&scene.objects).await;
    for _ in 0..3 {
        scene.clock.advance(Duration::from_hours(2));
        let done = domain.collect(&[], scene.clock.now(), &at_once()).await;
        assert_eq!(done.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let refused = domain.repack(&[], scene.clock.now(), &at_once(), Repack::All, 1 << 30).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(dump(&scene.objects).await == before);
    // What is written is readable all the same.
    let (new, _) = write(&domain, None, SIZE, &[(0, &noise(8, BLOCK))]).await;
    read_all(&domain, &new).await.unwrap();
}

#[tokio::test]
async fn a_damaged_pack_stays_and_the_others_are_moved() {
    let Disks { scene, kept } = disks().await;
    let objects = dump(&scene.objects).await;
    let packs: Vec<&(Path, bytes::Bytes)> =
        objects.iter().filter(|(path, _)| path.as_ref().starts_with("pack/")).collect();
    let (path, bytes) = packs[packs.len() / 2];
    let mut damaged = bytes.to_vec();
    damaged[100] ^= 1;
    scene.objects.put(path, damaged.into()).await.unwrap();
    let mut scene = scene;
    let domain = scene.process().await;
    let done = repack(&scene, &domain, Repack::All).await.unwrap();
    assert!(done.moved_blocks > 0);
    collect(&scene, &domain).await;
    // What could be read before can be read now, and the rest is refused.
    let mut refused = 0;
    for (root, disk) in &kept {
        let reader = domain.reader(root).await.unwrap();
        for (offset, expected) in (0u64..).step_by(BLOCK).zip(disk.chunks(BLOCK)) {
            let mut found = vec![0; BLOCK];
            match reader.read_at(offset, &mut found).await {
                Ok(()) => assert!(found == expected),
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::Corrupt);
                    refused += 1;
                }
            }
        }
    }
    assert!((1..=128).contains(&refused), "{refused}");
}
