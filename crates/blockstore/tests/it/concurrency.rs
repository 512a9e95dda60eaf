use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use blockstore::{ErrorKind, Options, Store};
use object_store::ObjectStore;

use crate::crashes::Recorder;
use crate::support::{BLOCK, MIB, noise, open, read_all, secret, small, write};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_readers_of_a_frame_make_one_request() {
    // Slow enough that readers who ask at once meet.
    let recorder = Arc::new(Recorder::slow(Duration::from_millis(5)));
    let objects: Arc<dyn ObjectStore> = Arc::clone(&recorder) as Arc<dyn ObjectStore>;
    let data = noise(1, 128 * BLOCK);
    let domain = open(&objects, 1, Options::default()).await.domain("d", &secret(1));
    let (root, _) = write(&domain, None, MIB, &[(0, &data)]).await;
    let domain = open(&objects, 2, Options::default()).await.domain("d", &secret(1));
    let before = recorder.gets.load(Ordering::SeqCst);
    let reader = domain.reader(&root).await.unwrap();
    let reads = (0..32).map(|i| {
        let (reader, expected) = (reader.clone(), data[i * 4 * BLOCK..][..2 * BLOCK].to_vec());
        tokio::spawn(async move {
            let mut buf = vec![0; 2 * BLOCK];
            reader.read_at((i * 4 * BLOCK) as u64, &mut buf).await.unwrap();
            assert!(buf == expected);
        })
    });
    for read in reads.collect::<Vec<_>>() {
        read.await.unwrap();
    }
    // The node pack, which repeats the frame table, and two frames.
    assert_eq!(recorder.gets.load(Ordering::SeqCst) - before, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_at_once_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Store::local(dir.path()).unwrap();
    let domain = open(&objects, 1, small()).await.domain("d", &secret(1));
    let tasks = (0..8u64).map(|task| {
        let domain = domain.clone();
        tokio::spawn(async move {
            let data = [noise(1, 30 * BLOCK), noise(100 + task, 30 * BLOCK)].concat();
            let (root, _) = write(&domain, None, 8 * MIB, &[(task * 64 * BLOCK as u64, &data)]).await;
            domain.verify(&root).await.unwrap();
            let disk = read_all(&domain, &root).await.unwrap();
            let start = usize::try_from(task).unwrap() * 64 * BLOCK;
            assert!(disk[start..][..data.len()] == data);
            assert!(disk[..start].iter().chain(&disk[start + data.len()..]).all(|byte| *byte == 0));
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_publishers_one_wins_and_the_others_know() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Store::local(dir.path()).unwrap();
    let domain = open(&objects, 1, small()).await.domain("d", &secret(1));
    for round in 0..5 {
        let tasks = (0..8u64).map(|task| {
            let domain = domain.clone();
            tokio::spawn(async move {
                let (root, _) = write(&domain, None, MIB, &[(0, &noise(task + 1, BLOCK))]).await;
                (domain.publish(&format!("key {round}"), &root, None).await, root)
            })
        });
        let mut winners = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            match task.await.unwrap() {
                (Ok(()), root) => winners.push(root),
                (Err(e), _) => assert_eq!(e.kind(), ErrorKind::Conflict),
            }
        }
        assert_eq!(winners, [domain.load(&format!("key {round}")).await.unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_open_a_new_store_at_once_agree() {
    let dir = tempfile::tempdir().unwrap();
    let tasks = (0..8).map(|seed| {
        let objects = Store::local(dir.path()).unwrap();
        tokio::spawn(async move {
            let domain = open(&objects, seed, small()).await.domain("d", &secret(1));
            write(&domain, None, MIB, &[(0, &noise(seed, BLOCK))]).await.0
        })
    });
    let mut roots = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        roots.push(task.await.unwrap());
    }
    let domain = open(&Store::local(dir.path()).unwrap(), 99, small()).await.domain("d", &secret(1));
    for root in roots {
        domain.verify(&root).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_gives_up_leaves_no_one_waiting() {
    let objects: Arc<dyn ObjectStore> = Arc::new(Recorder::slow(Duration::from_millis(2)));
    let domain = open(&objects, 1, Options::default()).await.domain("d", &secret(1));
    let (root, _) = write(&domain, None, MIB, &[(0, &noise(1, BLOCK))]).await;
    let domain = open(&objects, 2, Options::default()).await.domain("d", &secret(1));
    let reader = domain.reader(&root).await.unwrap();
    let mut buf = [0; BLOCK];
    for _ in 0..20 {
        let given_up = reader.read_at(0, &mut buf);
        tokio::time::timeout(Duration::from_micros(300), given_up).await.ok();
    }
    let read = reader.read_at(0, &mut buf);
    tokio::time::timeout(Duration::from_secs(5), read).await.unwrap().unwrap();
    assert_eq!(buf[..], noise(1, BLOCK));
}
