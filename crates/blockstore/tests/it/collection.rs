//! The collector: what nobody needs goes, what anybody needs stays, whatever else goes on.

use std::sync::Arc;
use std::time::Duration;

use blockstore::{Collected, Domain, ErrorKind, Options, Policy, Root, Store};
use model::{Clock, ManualClock, Timestamp};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::damage::dump;
use crate::support::{BLOCK, MIB, noise, read_all, secret, write};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

pub(crate) struct Scene {
    pub(crate) objects: Arc<dyn ObjectStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) opened: u64,
}

impl Scene {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_795_248_000_000)));
        Self { objects, clock, opened: 0 }
    }

    /// The domain as a process finds it that has just begun.
    pub(crate) async fn process(&mut self) -> Domain {
        self.opened += 1;
        let ids = Arc::new(model::SeededIdGen::new(self.opened << 40));
        let options = Options {
            pack_bytes: 64 << 10,
            node_pack_bytes: 1 << 10,
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            ..Options::default()
        };
        Store::open(Arc::clone(&self.objects), ids, options).await.unwrap().domain("d", &secret(1))
    }

    pub(crate) async fn round(&self, domain: &Domain, roots: &[&Root], policy: &Policy) -> Collected {
        let roots: Vec<Root> = roots.iter().map(|root| (*root).clone()).collect();
        loop {
            if let Some(done) = domain.collect(&roots, self.clock.now(), policy).await.unwrap() {
                return done;
            }
        }
    }

    /// As long as it takes for everything that is dead now to be gone.
    async fn rounds(&self, domain: &Domain, roots: &[&Root]) -> Collected {
        for wait in [HOUR, HOUR, DAY] {
            self.round(domain, roots, &Policy::default()).await;
            self.clock.advance(wait);
        }
        self.round(domain, roots, &Policy::default()).await
    }
}

pub(crate) fn at_once() -> Policy {
    Policy { dead_time: Duration::ZERO, retire_time: Duration::ZERO, ..Policy::default() }
}

async fn names(scene: &Scene) -> Vec<String> {
    let objects = dump(&scene.objects).await;
    let counted = |path: &Path| path.as_ref().starts_with("pack") || path.as_ref().starts_with("node");
    objects.into_iter().map(|(path, _)| path).filter(counted).map(|path| path.to_string()).collect()
}

#[tokio::test]
async fn what_is_dead_goes_after_two_marks_and_a_day_and_the_rest_stays() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let (shared, own) = (noise(1, 40 * BLOCK), noise(2, 40 * BLOCK));
    let (kept, _) = write(&domain, None, 8 * MIB, &[(0, &shared)]).await;
    let before = names(&scene).await;
    let (gone, _) = write(&domain, Some(&kept), 8 * MIB, &[(4 * MIB, &own)]).await;
    domain.publish("kept", &kept, None).await.unwrap();
    domain.publish("gone", &gone, Some(&kept)).await.unwrap();
    let all = names(&scene).await;
    assert!(all.len() > before.len());
    domain.retract("gone").await.unwrap();
    let policy = Policy::default();
    for (wait, condemned, deleted) in [(Duration::ZERO, 0, 0), (HOUR, 1, 0), (23 * HOUR, 0, 0), (HOUR, 0, 1)]
    {
        scene.clock.advance(wait);
        let done = scene.round(&domain, &[], &policy).await;
        assert_eq!((done.condemned_objects > 0, done.deleted_objects > 0), (condemned > 0, deleted > 0));
        assert_eq!(names(&scene).await == before, deleted > 0);
    }
    assert!(read_all(&domain, &kept).await.unwrap()[..shared.len()] == shared);
    domain.verify(&kept).await.unwrap();
    let done = scene.round(&domain, &[], &policy).await;
    assert_eq!((done.dead_objects, done.retired_objects, done.is_alarmed), (0, 0, false));
    assert_eq!(done.live_block_bytes, shared.len() as u64);
    let bytes: u64 = dump(&scene.objects)
        .await
        .iter()
        .filter(|(path, _)| before.contains(&path.to_string()))
        .map(|(_, b)| b.len() as u64)
        .sum();
    assert_eq!(done.live_bytes, bytes);
}

#[tokio::test]
async fn roots_in_rows_alone_are_live_and_a_restart_forgets_nothing_that_was_condemned() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let (row, _) = write(&domain, None, 8 * MIB, &[(0, &noise(1, 40 * BLOCK))]).await;
    let (dead, _) = write(&domain, None, 8 * MIB, &[(0, &noise(2, 40 * BLOCK))]).await;
    let mut done = Collected::default();
    // What the first two processes find dead they do not see dead for an hour.
    for waits in
        [&[Duration::ZERO][..], &[HOUR / 2, Duration::ZERO], &[HOUR, Duration::ZERO], &[DAY], &[HOUR]]
    {
        let domain = scene.process().await;
        for wait in waits {
            done = scene.round(&domain, &[&row], &Policy::default()).await;
            scene.clock.advance(*wait);
        }
        assert!(done.deleted_objects == 0 || waits == [HOUR]);
    }
    assert!(done.deleted_objects > 0);
    let domain = scene.process().await;
    domain.verify(&row).await.unwrap();
    assert_eq!(domain.reader(&dead).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_was_used_between_two_rounds_has_not_been_dead_for_an_hour() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let disk = noise(1, 40 * BLOCK);
    let use_it = async |key: &str| {
        let (root, stats) = write(&domain, None, MIB, &[(0, &disk)]).await;
        domain.publish(key, &root, None).await.unwrap();
        domain.retract(key).await.unwrap();
        stats.new_blocks
    };
    assert_eq!(use_it("first").await, 40);
    scene.round(&domain, &[], &Policy::default()).await;
    scene.clock.advance(HOUR);
    assert_eq!(use_it("second").await, 0);
    scene.round(&domain, &[], &Policy::default()).await;
    assert_eq!(use_it("third").await, 0, "it is not condemned");
    scene.clock.advance(HOUR);
    // Used by the third, so that it takes one more hour.
    scene.round(&domain, &[], &Policy::default()).await;
    scene.clock.advance(HOUR);
    scene.round(&domain, &[], &Policy::default()).await;
    assert_eq!(use_it("fourth").await, 40);
}

#[tokio::test]
async fn nothing_is_found_again_in_a_condemned_pack() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let disk = noise(1, 40 * BLOCK);
    write(&domain, None, MIB, &[(0, &disk)]).await;
    scene.clock.advance(HOUR);
    for _ in 0..2 {
        scene.round(&domain, &[], &at_once()).await;
    }
    for domain in [domain.clone(), scene.process().await] {
        let (root, stats) = write(&domain, None, MIB, &[(0, &disk)]).await;
        let is_first = domain.load("again").await.is_err();
        assert_eq!(stats.new_blocks, if is_first { 40 } else { 0 });
        domain.publish("again", &root, None).await.ok();
        scene.clock.advance(Duration::from_secs(5));
        scene.round(&domain, &[], &at_once()).await;
        domain.verify(&domain.load("again").await.unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_writer_uses_is_not_condemned_until_its_caller_had_an_hour() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let disk = noise(1, 40 * BLOCK);
    write(&domain, None, MIB, &[(0, &disk)]).await;
    scene.clock.advance(HOUR);
    // The old root is dead; a writer finds its blocks again, and stores some of its own.
    let mut writer = domain.writer(None, MIB).await.unwrap();
    writer.write(0, &disk).await.unwrap();
    writer.write(100 * BLOCK as u64, &noise(3, 64 * BLOCK)).await.unwrap();
    for _ in 0..4 {
        let done = scene.round(&domain, &[], &at_once()).await;
        scene.clock.advance(HOUR);
        assert!(!done.is_alarmed);
    }
    let (root, stats) = writer.commit().await.unwrap();
    assert_eq!(stats.new_blocks, 64);
    for _ in 0..4 {
        scene.round(&domain, &[], &at_once()).await;
        scene.clock.advance(Duration::from_mins(14));
    }
    domain.verify(&root).await.unwrap();
    for _ in 0..4 {
        scene.clock.advance(Duration::from_mins(2));
        scene.round(&domain, &[], &at_once()).await;
    }
    assert_eq!(names(&scene).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_read_stays_until_the_reader_ends() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let disk = noise(1, 40 * BLOCK);
    let (root, _) = write(&domain, None, MIB, &[(0, &disk)]).await;
    scene.clock.advance(HOUR);
    let reader = domain.reader(&root).await.unwrap();
    let other = reader.clone();
    drop(reader);
    scene.rounds(&domain, &[]).await;
    domain.verify(&root).await.unwrap();
    drop(other);
    assert!(scene.rounds(&domain, &[]).await.deleted_objects > 0);
    assert_eq!(names(&scene).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_held_root_is_live_for_an_hour() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let (root, _) = write(&domain, None, MIB, &[(0, &noise(1, 40 * BLOCK))]).await;
    scene.clock.advance(HOUR);
    domain.hold(&root).await.unwrap();
    for _ in 0..4 {
        scene.round(&domain, &[], &at_once()).await;
        scene.clock.advance(Duration::from_mins(10));
    }
    domain.verify(&root).await.unwrap();
    scene.clock.advance(HOUR);
    assert!(scene.rounds(&domain, &[]).await.deleted_objects > 0);
    let domain = scene.process().await;
    assert_eq!(domain.hold(&root).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_retired_object_that_is_needed_stops_deletion_until_somebody_has_looked() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let (forgotten, _) = write(&domain, None, MIB, &[(0, &noise(1, 40 * BLOCK))]).await;
    let (dead, _) = write(&domain, None, MIB, &[(0, &noise(2, 40 * BLOCK))]).await;
    scene.clock.advance(HOUR);
    scene.round(&domain, &[], &Policy::default()).await;
    scene.clock.advance(HOUR);
    assert!(scene.round(&domain, &[], &Policy::default()).await.condemned_objects > 0);
    // The first root is live all of a sudden.
    let domain = scene.process().await;
    for _ in 0..3 {
        scene.clock.advance(DAY);
        let done = scene.round(&domain, &[&forgotten], &Policy::default()).await;
        assert!(done.is_alarmed && done.deleted_objects == 0 && done.retired_objects > 0, "{done:?}");
    }
    domain.verify(&dead).await.unwrap();
    domain.acknowledge().await.unwrap();
    let done = scene.round(&domain, &[&forgotten], &Policy::default()).await;
    assert!(!done.is_alarmed && done.deleted_objects > 0, "{done:?}");
    domain.verify(&forgotten).await.unwrap();
    assert!(domain.verify(&dead).await.is_err());
}

#[tokio::test]
async fn a_read_of_a_retired_pack_is_an_alarm() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let disk = noise(1, 40 * BLOCK);
    let (root, _) = write(&domain, None, MIB, &[(0, &disk)]).await;
    scene.clock.advance(HOUR);
    for _ in 0..2 {
        scene.round(&domain, &[], &at_once()).await;
    }
    let mut block = vec![0; BLOCK];
    domain.reader(&root).await.unwrap().read_at(0, &mut block).await.unwrap();
    assert!(block == disk[..BLOCK]);
    scene.clock.advance(HOUR);
    for _ in 0..3 {
        let done = scene.round(&domain, &[], &at_once()).await;
        assert!(done.is_alarmed && done.deleted_objects == 0, "{done:?}");
    }
    domain.verify(&root).await.unwrap();
}

#[tokio::test]
async fn another_process_that_condemns_makes_a_commit_a_conflict() {
    let mut scene = Scene::new(Store::in_memory());
    let (domain, other) = (scene.process().await, scene.process().await);
    let disk = noise(1, 40 * BLOCK);
    write(&other, None, MIB, &[(0, &disk)]).await;
    scene.clock.advance(HOUR);
    let mut writer = domain.writer(None, MIB).await.unwrap();
    writer.write(0, &disk).await.unwrap();
    for _ in 0..2 {
        scene.round(&other, &[], &at_once()).await;
    }
    assert_eq!(writer.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    let (root, stats) = write(&domain, None, MIB, &[(0, &disk)]).await;
    assert_eq!(stats.new_blocks, 40);
    scene.clock.advance(Duration::from_secs(5));
    scene.round(&other, &[&root], &at_once()).await;
    domain.verify(&root).await.unwrap();
}

#[tokio::test]
async fn a_root_that_cannot_be_walked_stops_the_collection() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let (root, _) = write(&domain, None, MIB, &[(0, &noise(1, 40 * BLOCK))]).await;
    write(&domain, None, MIB, &[(0, &noise(2, 40 * BLOCK))]).await;
    scene.clock.advance(HOUR);
    let path = names(&scene).await.into_iter().find(|name| name.ends_with(&hex::encode(root.id()))).unwrap();
    scene.objects.delete(&Path::from(path)).await.unwrap();
    let before = names(&scene).await;
    for _ in 0..4 {
        let done = domain.collect(std::slice::from_ref(&root), scene.clock.now(), &at_once()).await;
        assert_eq!(done.unwrap_err().kind(), ErrorKind::Corrupt);
        scene.clock.advance(HOUR);
    }
    assert_eq!(names(&scene).await, before);
}

#[tokio::test]
async fn a_mark_goes_on_where_it_was_and_reads_nothing_twice() {
    let recorder = Arc::new(crate::crashes::Recorder::new());
    let mut scene = Scene::new(Arc::clone(&recorder) as Arc<dyn ObjectStore>);
    let domain = scene.process().await;
    let mut roots = Vec::new();
    for i in 0..20 {
        let (root, _) = write(&domain, roots.last(), 64 * MIB, &[(i * 3 * MIB, &noise(i, 4 * BLOCK))]).await;
        roots.push(root);
    }
    let policy = Policy { node_packs: 1, ..Policy::default() };
    let gets = || recorder.gets.load(std::sync::atomic::Ordering::SeqCst);
    let before = gets();
    let mut pieces = 0;
    while domain.collect(&roots, scene.clock.now(), &policy).await.unwrap().is_none() {
        pieces += 1;
    }
    let node_packs = names(&scene).await.iter().filter(|name| name.starts_with("node")).count();
    assert!(pieces >= node_packs && gets() - before >= node_packs, "{pieces} {node_packs}");
    let before = gets();
    scene.round(&domain, &roots.iter().collect::<Vec<_>>(), &Policy::default()).await;
    assert!(gets() - before <= 1, "what the first mark read is known");
}

#[tokio::test]
async fn measuring_changes_nothing() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    write(&domain, None, MIB, &[(0, &noise(2, 40 * BLOCK))]).await;
    scene.clock.advance(HOUR);
    let before = dump(&scene.objects).await;
    for _ in 0..4 {
        let found = domain.measure(&[], scene.clock.now(), &at_once()).await.unwrap().unwrap();
        assert!(found.dead_bytes > 40 * BLOCK as u64 && found.live_objects == 0, "{found:?}");
        scene.clock.advance(DAY);
    }
    assert!(dump(&scene.objects).await == before);
}

#[tokio::test]
async fn any_damage_to_a_record_is_reported_and_stops_the_collection_only() {
    let mut scene = Scene::new(Store::in_memory());
    let domain = scene.process().await;
    let disk = noise(1, 2 * BLOCK);
    write(&domain, None, MIB, &[(0, &disk)]).await;
    scene.clock.advance(HOUR);
    for _ in 0..2 {
        scene.round(&domain, &[], &at_once()).await;
    }
    let objects = dump(&scene.objects).await;
    let records: Vec<_> = objects.iter().filter(|(path, _)| path.as_ref().starts_with("gc/")).collect();
    let (path, bytes) = *records.last().unwrap();
    let flips = (0..bytes.len()).map(|at| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    });
    let cuts = (0..bytes.len()).map(|len| bytes[..len].to_vec());
    let moved = records[0].1.to_vec();
    for damaged in flips.chain(cuts).chain([moved]) {
        let mut scene = Scene::new(crate::damage::restore(&objects).await);
        scene.objects.put(path, damaged.into()).await.unwrap();
        scene.clock.advance(2 * HOUR);
        let domain = scene.process().await;
        let done = domain.collect(&[], scene.clock.now(), &at_once()).await;
        assert_eq!(done.unwrap_err().kind(), ErrorKind::Corrupt);
        let (root, _) = write(&domain, None, MIB, &[(0, &disk)]).await;
        domain.verify(&root).await.unwrap();
    }
}
