//! Snapshots of volumes, from the call to the bytes in the store.

use model::{IdGen, SeededIdGen, SnapshotId, VolumeId};
use proptest::prelude::*;
use testkit::World;

const MIB: usize = 1 << 20;

/// Incompressible bytes, the same for the same seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    SeededIdGen::new(seed).fill(&mut bytes);
    bytes
}

/// A call for a snapshot whose content has not been stored yet.
async fn call(world: &World, volume: &VolumeId) -> SnapshotId {
    let reply = world.call("CreateSnapshot", &[("VolumeId", volume.as_str())]).await.ok();
    assert_eq!(reply.value("status"), "pending");
    reply.value("snapshotId").parse().unwrap()
}

async fn snapshot(world: &World, volume: &VolumeId) -> SnapshotId {
    let id = call(world, volume).await;
    world.settle().await;
    assert_eq!(state(world, &id).await, "completed");
    id
}

async fn describe(world: &World, id: &SnapshotId) -> testkit::Reply {
    world.call("DescribeSnapshots", &[("SnapshotId.1", id.as_str())]).await
}

async fn state(world: &World, id: &SnapshotId) -> String {
    describe(world, id).await.ok().value("status")
}

fn write(world: &World, volume: &VolumeId, offset: usize, bytes: &[u8]) {
    world.host.guest_write(volume.as_str(), offset as u64, bytes);
}

#[tokio::test]
async fn a_snapshot_holds_what_was_written_before_the_call_and_nothing_later() {
    let world = World::new().await;
    let volume = world.seed_volume(1, None).await;
    write(&world, &volume, 8192, &noise(1, 8192));
    let id = call(&world, &volume).await;
    write(&world, &volume, 8192, &noise(2, 4096));
    world.settle().await;
    let described = describe(&world, &id).await.ok();
    assert_eq!((described.value("status"), described.value("progress")), ("completed".into(), "100%".into()));
    assert_eq!(described.value("fullSnapshotSizeInBytes"), "8192");
    assert!(described.has("completionTime"));
    let content = world.snapshot_content(&id, 5 * 4096).await;
    assert_eq!(content, [vec![0; 8192], noise(1, 8192), vec![0; 4096]].concat());
    assert_eq!(world.host.held_freezes(volume.as_str()), Vec::<String>::new());
}

#[tokio::test]
async fn the_next_snapshot_reads_only_what_changed_since() {
    let world = World::new().await;
    let volume = world.seed_volume(1, None).await;
    write(&world, &volume, 0, &noise(1, MIB));
    let first = snapshot(&world, &volume).await;
    let read = world.host.frozen_bytes_read();
    assert_eq!(read, MIB as u64);
    write(&world, &volume, 4096, &noise(2, 4096));
    let second = snapshot(&world, &volume).await;
    assert_eq!(world.host.frozen_bytes_read() - read, 4096);
    let mut expected = noise(1, MIB);
    assert_eq!(world.snapshot_content(&first, MIB).await, expected);
    expected[4096..8192].copy_from_slice(&noise(2, 4096));
    assert_eq!(world.snapshot_content(&second, MIB).await, expected);
    let third = snapshot(&world, &volume).await;
    assert_eq!(world.host.frozen_bytes_read() - read, 4096, "nothing changed");
    assert_eq!(world.snapshot_content(&third, MIB).await, expected);
}

#[tokio::test]
async fn the_next_snapshot_builds_on_one_that_was_deleted() {
    let world = World::new().await;
    let volume = world.seed_volume(1, None).await;
    write(&world, &volume, 0, &noise(1, 8192));
    let first = snapshot(&world, &volume).await;
    world.call("DeleteSnapshot", &[("SnapshotId", first.as_str())]).await.ok();
    world.settle().await;
    write(&world, &volume, 4096, &noise(2, 4096));
    let second = snapshot(&world, &volume).await;
    let expected = [noise(1, 8192)[..4096].to_vec(), noise(2, 4096)].concat();
    assert_eq!(world.snapshot_content(&second, 8192).await, expected);
}

#[tokio::test]
async fn sectors_are_laid_over_the_block_that_was_there() {
    let world = World::new().await;
    let base = world.seed_snapshot(1, &noise(1, 16384)).await;
    let volume = world.seed_volume(2, Some(&base)).await;
    write(&world, &volume, 4096 + 512, &noise(2, 1024));
    write(&world, &volume, 8192 + 3584, &[0; 1024]);
    // Beyond the end of the base.
    write(&world, &volume, (1 << 30) + 512, &noise(3, 512));
    let id = snapshot(&world, &volume).await;
    let mut expected = noise(1, 16384);
    expected[4608..5632].copy_from_slice(&noise(2, 1024));
    expected[11776..12800].fill(0);
    assert_eq!(world.snapshot_content(&id, 16384).await, expected);
    let beyond = world.snapshot_part(&id, 1 << 30, 4096).await;
    assert_eq!(beyond, [vec![0; 512], noise(3, 512), vec![0; 3072]].concat());
}

#[tokio::test]
async fn zeroed_blocks_are_absent() {
    let world = World::new().await;
    let base = world.seed_snapshot(1, &noise(1, MIB)).await;
    let volume = world.seed_volume(1, Some(&base)).await;
    write(&world, &volume, 0, &vec![0; MIB - 4096]);
    let id = snapshot(&world, &volume).await;
    assert_eq!(describe(&world, &id).await.ok().value("fullSnapshotSizeInBytes"), "4096");
    let mut expected = noise(1, MIB);
    expected[..MIB - 4096].fill(0);
    assert_eq!(world.snapshot_content(&id, MIB).await, expected);
}

#[tokio::test]
async fn content_of_another_accounts_image_moves_into_the_own_domain() {
    let world = World::new().await;
    let other = world.account("other").await;
    let base = world.seed_snapshot_of(&other, 1, &noise(1, 16384)).await;
    let volume = world.seed_volume(1, Some(&base)).await;
    write(&world, &volume, 0, &noise(2, 512));
    let id = snapshot(&world, &volume).await;
    let expected = [&noise(2, 512), &noise(1, 16384)[512..]].concat();
    assert_eq!(world.snapshot_content(&id, 16384).await, expected);
    let mut tx = world.metastore.read().await.unwrap();
    let row = tx.snapshot_get(&id).await.unwrap().unwrap();
    assert!(row.domain.starts_with(world.owner.id.as_str()) && row.root.unwrap().ends_with(&row.domain));
}

/// A sector of zeros in each of so many blocks is more changes than one turn takes, and fast to store.
const BLOCKS: usize = 40_000;

#[tokio::test]
async fn much_content_is_stored_in_turns_and_progress_shows() {
    let world = World::new().await;
    let volume = world.seed_volume(1, None).await;
    for block in 0..BLOCKS {
        write(&world, &volume, block * 4096 + 512, &[0; 512]);
    }
    write(&world, &volume, BLOCKS * 4096, &noise(1, 4096));
    let id = call(&world, &volume).await;
    let mut seen = Vec::new();
    while world.runner.turn().await.unwrap() {
        seen.push(describe(&world, &id).await.ok().value("progress"));
    }
    seen.dedup();
    assert_eq!(seen, ["0%", "40%", "81%", "100%"]);
    let content = world.snapshot_content(&id, (BLOCKS + 1) * 4096).await;
    assert!(content[..BLOCKS * 4096].iter().all(|byte| *byte == 0));
    assert_eq!(content[BLOCKS * 4096..], noise(1, 4096));
}

#[tokio::test]
async fn a_snapshot_deleted_while_it_is_made_leaves_nothing() {
    let world = World::new().await;
    let volume = world.seed_volume(1, None).await;
    write(&world, &volume, 0, &noise(1, 4096));
    for turns in 0..5 {
        let id = call(&world, &volume).await;
        for _ in 0..turns {
            world.runner.turn().await.unwrap();
        }
        world.call("DeleteSnapshot", &[("SnapshotId", id.as_str())]).await.ok();
        world.settle().await;
        assert_eq!(describe(&world, &id).await.error_code(), "InvalidSnapshot.NotFound");
        assert_eq!(world.host.held_freezes(volume.as_str()), Vec::<String>::new(), "after {turns} turns");
        assert!(!world.is_published(&id).await, "after {turns} turns");
    }
}

#[tokio::test]
async fn a_snapshot_of_a_volume_that_vanished_fails_and_tells_why() {
    let world = World::new().await;
    let volume = world.seed_volume(1, None).await;
    let id = call(&world, &volume).await;
    let mut tx = world.metastore.write().await.unwrap();
    tx.volume_delete(&volume).await.unwrap();
    tx.commit().await.unwrap();
    world.settle().await;
    let described = describe(&world, &id).await.ok();
    assert_eq!(described.value("status"), "error");
    assert_eq!(described.value("statusMessage"), "The volume is gone.");
}

#[tokio::test]
async fn every_fault_on_the_way_ends_as_the_clean_run() {
    let scene = async || {
        let world = World::new().await;
        let other = world.account("other").await;
        let base = world.seed_snapshot_of(&other, 1, &noise(1, 16384)).await;
        let volume = world.seed_volume(1, Some(&base)).await;
        write(&world, &volume, 4096, &noise(2, 512));
        let first = call(&world, &volume).await;
        write(&world, &volume, 64 * 1024, &noise(3, 4096));
        let second = call(&world, &volume).await;
        (world, (volume, first, second))
    };
    testkit::torture(scene, async |world, (volume, first, second)| {
        let mut ends = vec![format!("{:?}", world.host.held_freezes(volume.as_str()))];
        for id in [first, second] {
            let content = world.snapshot_content(id, 128 * 1024).await;
            let digest = <sha2::Sha256 as sha2::Digest>::digest(content);
            let published = world.is_published(id).await;
            ends.push(format!("{} {published} {digest:x}", state(world, id).await));
        }
        ends.join(", ")
    })
    .await;
}

/// What happens to a volume between two snapshots.
#[derive(Debug, Clone)]
enum Step {
    Write {
        sector: usize,
        sectors: usize,
        seed: u64,
    },
    Zero {
        sector: usize,
        sectors: usize,
    },
    Snapshot,
    /// A snapshot whose content is stored later.
    Call,
}

const SECTORS: usize = 96;

fn step() -> impl Strategy<Value = Step> {
    let range = || (0..SECTORS, 1..24_usize);
    prop_oneof![
        3 => (range(), any::<u64>()).prop_map(|((sector, sectors), seed)| Step::Write { sector, sectors, seed }),
        1 => range().prop_map(|(sector, sectors)| Step::Zero { sector, sectors }),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Call),
    ]
}

async fn play(steps: Vec<Step>) {
    let world = World::new().await;
    let base = world.seed_snapshot(1, &noise(1, 40 * 512)).await;
    let volume = world.seed_volume(1, Some(&base)).await;
    let mut model = noise(1, 40 * 512);
    model.resize(SECTORS * 512, 0);
    let mut taken = Vec::new();
    for step in steps {
        match step {
            Step::Write { sector, sectors, seed } => {
                let len = sectors.min(SECTORS - sector) * 512;
                write(&world, &volume, sector * 512, &noise(seed, len));
                model[sector * 512..][..len].copy_from_slice(&noise(seed, len));
            }
            Step::Zero { sector, sectors } => {
                let len = sectors.min(SECTORS - sector) * 512;
                write(&world, &volume, sector * 512, &vec![0; len]);
                model[sector * 512..][..len].fill(0);
            }
            Step::Snapshot => taken.push((snapshot(&world, &volume).await, model.clone())),
            Step::Call => taken.push((call(&world, &volume).await, model.clone())),
        }
    }
    world.settle().await;
    for (id, expected) in taken {
        assert!(world.snapshot_content(&id, SECTORS * 512).await == expected, "{id} differs");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_a_volume_is_kept_in_its_snapshots(steps in proptest::collection::vec(step(), 1..12)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(steps));
    }
}
