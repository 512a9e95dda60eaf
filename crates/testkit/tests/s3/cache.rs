use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blockstore::{CacheOptions, Domain, Options, RemoteOptions, Root, Store};
use model::{Clock, ManualClock, SeededIdGen, SystemClock, Timestamp};
use testkit::s3::{Faults, S3Server};

use crate::support::{BLOCK, MIB, noise, read_all, remote, secret, write};

async fn domain(server: &S3Server, cache: Option<&Path>, clock: Arc<dyn Clock>) -> Domain {
    let cache = cache.map(|dir| CacheOptions { dir: dir.to_owned(), bytes_max: 64 << 20 });
    let remote = RemoteOptions { cache, clock, is_checked: false, ..remote() };
    let options = Options { remote: Some(remote), ..Options::default() };
    let objects = Store::s3(&server.options("p")).unwrap();
    let ids = Arc::new(SeededIdGen::new(server.counts().all));
    Store::open(objects, ids, options).await.unwrap().domain("d", &secret(1))
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// A server with an image of 6 MiB, which is more than one leaf.
async fn image() -> (S3Server, Root, Vec<u8>) {
    let server = S3Server::start(Faults::none()).await;
    let image = noise(1, 6 << 20);
    let (root, _) = write(&domain(&server, None, clock()).await, None, 8 * MIB, &[(0, &image)]).await;
    (server, root, image)
}

#[tokio::test]
async fn neighbours_come_together_and_each_frame_once() {
    let (server, root, image) = image().await;
    let domain = domain(&server, None, clock()).await;
    let before = server.counts();
    let readers = (0..16).map(|_| read_all(&domain, &root));
    for read in futures::future::join_all(readers).await {
        assert!(read.unwrap()[..image.len()] == image[..]);
    }
    let (gets, bytes) = (server.counts().gets - before.gets, server.counts().bytes_out - before.bytes_out);
    assert!(gets <= 12 && bytes < 7 << 20, "{gets} gets of {bytes} bytes");
}

/// What was read is on the disk a moment later.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_second_process_of_the_host_asks_for_nothing() {
    let (server, root, image) = image().await;
    let cache = tempfile::tempdir().unwrap();
    read_all(&domain(&server, Some(cache.path()), clock()).await, &root).await.unwrap();
    settle().await;
    let second = domain(&server, Some(cache.path()), clock()).await;
    let before = server.counts().all;
    assert!(read_all(&second, &root).await.unwrap()[..image.len()] == image[..]);
    assert_eq!(server.counts().all, before);
}

#[tokio::test]
async fn a_damaged_cache_costs_requests_and_nothing_else() {
    let (server, root, image) = image().await;
    let cache = tempfile::tempdir().unwrap();
    read_all(&domain(&server, Some(cache.path()), clock()).await, &root).await.unwrap();
    settle().await;
    let mut files = vec![cache.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        for at in (5000..bytes.len()).step_by(200_000) {
            bytes[at] ^= 1;
        }
        bytes.truncate(bytes.len() * 9 / 10);
        std::fs::write(&path, bytes).unwrap();
    }
    let before = server.counts().all;
    for _ in 0..2 {
        let domain = domain(&server, Some(cache.path()), clock()).await;
        assert!(read_all(&domain, &root).await.unwrap()[..image.len()] == image[..]);
        settle().await;
    }
    let asked = server.counts().all - before;
    assert!((10..80).contains(&asked), "{asked}");
    let healed = domain(&server, Some(cache.path()), clock()).await;
    let before = server.counts().all;
    assert!(read_all(&healed, &root).await.unwrap()[..image.len()] == image[..]);
    assert_eq!(server.counts().all, before);
}

/// Scattered reads, as a boot does them.
async fn boot(domain: &Domain, root: &Root, image: &[u8]) {
    let reader = domain.launch_reader(root).await.unwrap();
    for n in 0..12usize {
        let at = (n * 7919 * BLOCK) % (6 << 20);
        let mut bytes = vec![0; BLOCK];
        reader.read_at(at as u64, &mut bytes).await.unwrap();
        assert!(bytes == image[at..at + BLOCK]);
    }
}

#[tokio::test]
async fn the_first_launch_is_remembered_and_the_next_host_reads_it_ahead() {
    let (server, root, image) = image().await;
    let time = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
    let first = tempfile::tempdir().unwrap();
    boot(&domain(&server, Some(first.path()), time.clone()).await, &root, &image).await;
    time.advance(Duration::from_mins(1));
    let traces = || server.keys().into_iter().filter(|key| key.starts_with("p/trace/")).collect::<Vec<_>>();
    for _ in 0..100 {
        if !traces().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(traces().len(), 1);

    let second = tempfile::tempdir().unwrap();
    let other_host = domain(&server, Some(second.path()), clock()).await;
    drop(other_host.launch_reader(&root).await.unwrap());
    settle().await;
    let before = server.counts().gets;
    boot(&other_host, &root, &image).await;
    assert_eq!(server.counts().gets, before);

    // A wrong trace only costs.
    server.damage(&traces()[0], |bytes| bytes[60] ^= 1);
    let third = tempfile::tempdir().unwrap();
    boot(&domain(&server, Some(third.path()), clock()).await, &root, &image).await;
}
