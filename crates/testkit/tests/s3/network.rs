use std::sync::Arc;
use std::time::Duration;

use blockstore::{Domain, ErrorKind, Options, RemoteOptions, Store};
use model::{Clock, SeededIdGen, SystemClock};
use testkit::s3::{Faults, Kind, S3Server};

use crate::support::{MIB, noise, read_all, remote, secret, small, write};

async fn try_open(server: &S3Server, remote: RemoteOptions, seed: u64) -> blockstore::Result<Store> {
    let objects = Store::s3(&server.options("p")).unwrap();
    let options = Options { remote: Some(remote), ..small() };
    Store::open(objects, Arc::new(SeededIdGen::new(seed)), options).await
}

async fn domain(server: &S3Server, seed: u64) -> Domain {
    try_open(server, remote(), seed).await.unwrap().domain("d", &secret(1))
}

#[tokio::test]
async fn hostile_answers_lose_nothing_and_cost_little() {
    let server = S3Server::start(Faults::all(7, 30)).await;
    let domain = domain(&server, 1).await;
    let mut roots = Vec::new();
    for n in 0..24 {
        let image = noise(n, 200 << 10);
        let (root, _) = write(&domain, None, MIB, &[(0, &image)]).await;
        domain.publish(&format!("snap-{n}"), &root, None).await.unwrap();
        roots.push((root, image));
    }
    let stored = server.keys().len() as u64;
    let (puts, faults) = (server.counts().puts, server.counts().faults);
    assert!(faults > 30 && puts < stored * 18 / 10, "{puts} puts of {stored} objects, {faults} faults");
    let fresh = self::domain(&server, 2).await;
    for (n, (root, image)) in roots.iter().enumerate() {
        assert_eq!(fresh.load(&format!("snap-{n}")).await.unwrap(), *root);
        assert_eq!(read_all(&fresh, root).await.unwrap()[..image.len()], image[..]);
        fresh.retract(&format!("snap-{n}")).await.unwrap();
    }
    assert!(server.keys().iter().all(|key| !key.starts_with("p/snap/")));
}

#[tokio::test]
async fn a_store_that_is_gone_is_unavailable_after_the_time_it_was_given() {
    let server = S3Server::start(Faults::none()).await;
    let patient = RemoteOptions { patience: Duration::from_millis(300), ..remote() };
    let domain = try_open(&server, patient, 1).await.unwrap().domain("d", &secret(1));
    let (root, _) = write(&domain, None, MIB, &[(0, &noise(1, 100 << 10))]).await;
    server.set_faults(Faults::some(1, 100, &[Kind::Refused(503), Kind::Dropped]));
    let clock = SystemClock::new();
    let error = domain.load("any").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!((250..3000).contains(&clock.monotonic().as_millis()), "{:?}", clock.monotonic());
    server.set_faults(Faults::none());
    read_all(&domain, &root).await.unwrap();
}

#[tokio::test]
async fn what_will_not_pass_is_told_at_once() {
    let server = S3Server::start(Faults::none()).await;
    let mut options = server.options("p");
    options.bucket = "other".to_owned();
    let clock = SystemClock::new();
    let open = |options: &blockstore::S3Options| {
        let objects = Store::s3(options).unwrap();
        let options = Options { remote: Some(remote()), ..small() };
        async { Store::open(objects, Arc::new(SeededIdGen::new(1)), options).await }
    };
    assert!(open(&options).await.is_err());
    let mut options = server.options("p");
    options.credentials = blockstore::S3Credentials::Keys {
        access_key_id: "AKIDSTRANGER".to_owned(),
        secret_access_key: "canary".to_owned(),
        session_token: None,
    };
    let refused = open(&options).await.unwrap_err();
    let told = format!("{refused:?}");
    assert!(told.contains("403") && !told.contains("canary"), "{told}");
    assert!(clock.monotonic() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_server_without_conditional_puts_is_refused_by_name() {
    let server = S3Server::start(Faults::none()).await;
    server.ignore_conditions();
    let refused = try_open(&server, remote(), 1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("If-None-Match"), "{refused}");
    let unchecked = RemoteOptions { is_checked: false, ..remote() };
    try_open(&server, unchecked, 1).await.unwrap();
}

#[tokio::test]
async fn a_late_answer_is_asked_for_twice() {
    const READS: u64 = 150;
    const LATE: Duration = Duration::from_secs(4);
    let server = S3Server::start(Faults::none()).await;
    let writer = domain(&server, 1).await;
    let mut roots = Vec::new();
    for n in 0..READS {
        roots.push(write(&writer, None, MIB, &[(0, &noise(n, 8 << 10))]).await.0);
    }
    let reader = domain(&server, 2).await;
    let (known, late) = roots.split_at(usize::try_from(READS / 2).unwrap());
    for root in known {
        read_all(&reader, root).await.unwrap();
    }
    server.set_faults(Faults::some(3, 5, &[Kind::Slow(LATE)]));
    for root in late {
        let clock = SystemClock::new();
        read_all(&reader, root).await.unwrap();
        assert!(clock.monotonic() < LATE, "{:?}", clock.monotonic());
    }
    assert!(server.counts().faults > 0);
}
