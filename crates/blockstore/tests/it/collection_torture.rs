//! The collector against crashes at every effect, and against many writers, readers and deleters at
//! once, with a list of disks that is too simple to be wrong.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blockstore::{Collected, Domain, ErrorKind, Reader, Repack, Root};
use model::{Clock, IdGen, ManualClock, SeededIdGen};
use object_store::ObjectStore;

use crate::collection::{Scene, at_once};
use crate::crashes::Recorder;
use crate::damage::{dump, restore};
use crate::support::{BLOCK, MIB, noise, read_all, write};

const HOUR: Duration = Duration::from_hours(1);

/// A store with one live and one dead root that share blocks and nodes.
async fn half_dead() -> (Scene, Root) {
    let mut scene = Scene::new(blockstore::Store::in_memory());
    let domain = scene.process().await;
    let (kept, _) = write(&domain, None, 8 * MIB, &[(0, &noise(1, 30 * BLOCK))]).await;
    let (gone, _) = write(&domain, Some(&kept), 8 * MIB, &[(MIB, &noise(2, 150 * BLOCK))]).await;
    domain.publish("kept", &kept, None).await.unwrap();
    domain.publish("gone", &gone, None).await.unwrap();
    domain.retract("gone").await.unwrap();
    (scene, kept)
}

async fn collect(scene: &mut Scene, rounds: u32) -> Result<u64, ErrorKind> {
    let domain = scene.process().await;
    let mut deleted = 0;
    for _ in 0..rounds {
        scene.clock.advance(Duration::from_secs(5));
        let done = domain.collect(&[], scene.clock.now(), &at_once()).await.map_err(|e| e.kind())?;
        let done = done.expect("a small domain is one piece");
        assert!(!done.is_alarmed);
        deleted += done.deleted_objects;
    }
    Ok(deleted)
}

async fn measure(scene: &Scene, domain: &Domain, roots: &[Root]) -> Collected {
    loop {
        if let Some(found) = domain.measure(roots, scene.clock.now(), &at_once()).await.unwrap() {
            return found;
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_put_or_delete_leaves_what_lives_and_the_next_process_goes_on() {
    let (before, kept) = half_dead().await;
    let objects = dump(&before.objects).await;
    for effects in 0.. {
        let recorder = Arc::new(Recorder::new());
        for (path, bytes) in &objects {
            let put = object_store::PutOptions::default();
            recorder.put_opts(path, bytes.clone().into(), put).await.unwrap();
        }
        let mut scene = Scene::new(Arc::clone(&recorder) as Arc<dyn ObjectStore>);
        recorder.effects_left.store(effects, Ordering::SeqCst);
        let first = collect(&mut scene, 4).await;
        recorder.effects_left.store(usize::MAX, Ordering::SeqCst);
        scene.process().await.verify(&kept).await.unwrap();
        if first.is_ok() {
            assert!(effects > 6, "a collection has more effects than {effects}");
            break;
        }
        assert_eq!(first, Err(ErrorKind::Unavailable));
        collect(&mut scene, 5).await.unwrap();
        let domain = scene.process().await;
        domain.verify(&kept).await.unwrap();
        let done = measure(&scene, &domain, &[]).await;
        assert_eq!((done.dead_objects, done.retired_objects), (0, 0), "after {effects} effects");
    }
}

/// Any prefix of the effects of a run, as a cut of the power leaves them.
#[tokio::test]
async fn deletes_that_a_power_cut_undoes_are_done_again() {
    let (before, kept) = half_dead().await;
    let objects = dump(&before.objects).await;
    let mut scene = before;
    assert!(collect(&mut scene, 4).await.unwrap() > 0);
    // The names are back, and the record that the deletion was in says that they were condemned.
    for (path, bytes) in &objects {
        scene
            .objects
            .put_opts(path, bytes.clone().into(), object_store::PutOptions::default())
            .await
            .unwrap();
    }
    scene = Scene { objects: restore(&dump(&scene.objects).await).await, ..scene };
    scene.process().await.retract("gone").await.unwrap();
    assert!(collect(&mut scene, 4).await.unwrap() > 0);
    scene.process().await.verify(&kept).await.unwrap();
}

/// What the callers know: roots in rows, each with the content of its blocks.
#[derive(Debug, Clone)]
struct Row {
    root: Root,
    blocks: Vec<u8>,
    /// Its name in the store, where it was published instead of being a row of its own.
    key: Option<String>,
}

const BLOCKS: usize = 1100;

#[derive(Debug, Default)]
struct Rows {
    rows: Mutex<Vec<Row>>,
    operations: AtomicUsize,
}

impl Rows {
    fn pick(&self, random: &mut Random) -> Option<Row> {
        let rows = self.rows.lock().unwrap();
        (!rows.is_empty()).then(|| rows[random.below(rows.len())].clone())
    }

    fn add(&self, row: Row) {
        self.rows.lock().unwrap().push(row);
    }

    fn remove(&self, root: &Root) -> Option<Row> {
        let mut rows = self.rows.lock().unwrap();
        let at = rows.iter().position(|row| row.root == *root)?;
        Some(rows.swap_remove(at))
    }

    fn roots(&self) -> Vec<Root> {
        let rows = self.rows.lock().unwrap();
        rows.iter().filter(|row| row.key.is_none()).map(|row| row.root.clone()).collect()
    }
}

struct Random(SeededIdGen);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % end as u64).unwrap()
    }
}

/// Few kinds of content, so that everything is found again all the time.
fn block(kind: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    if kind != 0 {
        block[usize::from(kind) * 7] = kind;
        block[BLOCK - 1] = 1;
    }
    block
}

async fn change(domain: Domain, rows: Arc<Rows>, seed: u64, operations: usize) {
    let mut random = Random(SeededIdGen::new(seed));
    let mut reading: Option<(Reader, Vec<u8>)> = None;
    for number in 0..operations {
        match random.below(10) {
            0..=2 => write_one(&domain, &rows, &mut random, &format!("{seed}-{number}")).await,
            3..=4 => {
                let count = rows.rows.lock().unwrap().len();
                if let Some(row) = rows.pick(&mut random).filter(|_| count > 6)
                    && let Some(Row { key: Some(key), .. }) = rows.remove(&row.root)
                {
                    domain.retract(&key).await.unwrap();
                }
            }
            5 => {
                if let Some(row) = rows.pick(&mut random) {
                    reading = Some((domain.reader(&row.root).await.unwrap(), row.blocks));
                }
            }
            _ => {
                if let Some((reader, blocks)) = &reading {
                    let at = random.below(BLOCKS);
                    let mut found = vec![0xee; BLOCK];
                    reader.read_at((at * BLOCK) as u64, &mut found).await.unwrap();
                    assert!(found == block(blocks[at]), "block {at}");
                }
            }
        }
        rows.operations.fetch_add(1, Ordering::SeqCst);
    }
}

async fn write_one(domain: &Domain, rows: &Rows, random: &mut Random, key: &str) {
    let base = rows.pick(random).filter(|_| random.below(4) > 0);
    let mut blocks = base.as_ref().map_or_else(|| vec![0; BLOCKS], |row| row.blocks.clone());
    let size = (BLOCKS * BLOCK) as u64;
    let mut writer = domain.writer(base.as_ref().map(|row| &row.root), size).await.unwrap();
    for _ in 0..=random.below(3) {
        let (start, kind) = (random.below(BLOCKS - 40), random.below(200));
        let kinds: Vec<u8> = (0..random.below(40)).map(|i| u8::try_from((kind + i) % 250).unwrap()).collect();
        let bytes: Vec<u8> = kinds.iter().flat_map(|kind| block(*kind)).collect();
        writer.write((start * BLOCK) as u64, &bytes).await.unwrap();
        blocks[start..start + kinds.len()].copy_from_slice(&kinds);
    }
    if random.below(8) == 0 {
        // Given up: what it stored is nobody's.
        return;
    }
    let (root, _) = writer.commit().await.unwrap();
    let key = (random.below(2) == 0).then(|| key.to_owned());
    if let Some(key) = &key {
        domain.publish(key, &root, None).await.unwrap();
    }
    rows.add(Row { root, blocks, key });
}

async fn collect_for_ever(domain: Domain, rows: Arc<Rows>, clock: Arc<ManualClock>) {
    let policy = blockstore::Policy { node_packs: 3, ..at_once() };
    let mut rounds = 0;
    loop {
        let read_at = clock.now();
        let roots = rows.roots();
        if let Some(done) = domain.collect(&roots, read_at, &policy).await.unwrap() {
            assert!(!done.is_alarmed, "{done:?}");
            clock.advance(Duration::from_secs(6));
            rounds += 1;
            let what = if rounds % 3 == 0 { Repack::All } else { Repack::Sparse };
            while domain.repack(&roots, read_at, &policy, what, 1 << 20).await.unwrap().is_none() {}
        }
    }
}

async fn torture(seed: u64, lives: u64, operations: usize) {
    let recorder: Arc<dyn ObjectStore> = Arc::new(Recorder::yielding());
    let mut scene = Scene::new(recorder);
    let rows = Arc::new(Rows::default());
    for life in 0..lives {
        let domain = scene.process().await;
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..3 {
            let seed = seed << 32 | life << 8 | worker;
            tasks.spawn(change(domain.clone(), Arc::clone(&rows), seed, operations));
        }
        let clock = Arc::clone(&scene.clock);
        let collector = tokio::spawn(collect_for_ever(domain.clone(), Arc::clone(&rows), clock));
        // The process dies as soon as the first of them is done, wherever the others are.
        tasks.join_next().await.unwrap().unwrap();
        if life + 1 == lives {
            while let Some(done) = tasks.join_next().await {
                done.unwrap();
            }
        }
        tasks.shutdown().await;
        assert!(!collector.is_finished(), "the collector has failed");
        collector.abort();
        assert!(collector.await.unwrap_err().is_cancelled());
        check(&mut scene, &rows).await;
    }
    // Everything that nobody needs goes, and nothing else.
    let (domain, roots) = (scene.process().await, rows.roots());
    for _ in 0..5 {
        scene.clock.advance(2 * HOUR);
        scene.round(&domain, &roots.iter().collect::<Vec<_>>(), &at_once()).await;
    }
    let done = measure(&scene, &domain, &roots).await;
    assert_eq!((done.dead_objects, done.retired_objects, done.is_alarmed), (0, 0, false));
    check(&mut scene, &rows).await;
}

/// Every disk is there, byte for byte, for a process that knows nothing.
async fn check(scene: &mut Scene, rows: &Rows) {
    let domain = scene.process().await;
    let all = rows.rows.lock().unwrap().clone();
    for row in all {
        domain.verify(&row.root).await.unwrap();
        let bytes = read_all(&domain, &row.root).await.unwrap();
        assert!(bytes.chunks(BLOCK).zip(&row.blocks).all(|(found, kind)| found == block(*kind)));
        if let Some(key) = &row.key {
            assert_eq!(domain.load(key).await.unwrap(), row.root);
        }
    }
}

#[tokio::test]
async fn writers_readers_and_deleters_lose_nothing_while_everything_dead_goes() {
    for seed in [1, 2] {
        torture(seed, 5, 400).await;
    }
}
