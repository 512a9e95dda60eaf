//! A bucket in memory behind real HTTP on the loopback interface, with faults by a seed.

mod answers;
mod faults;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use blockstore::{S3Credentials, S3Options};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use self::answers::{Answer, Reply};
pub use self::faults::{Faults, Kind};

pub const BUCKET: &str = "images";
const ACCESS_KEY_ID: &str = "AKIDTESTKIT";

/// What was asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub gets: u64,
    pub puts: u64,
    pub all: u64,
    pub bytes_out: u64,
    /// Requests that were answered wrongly, late or not at all.
    pub faults: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    gets: AtomicU64,
    puts: AtomicU64,
    all: AtomicU64,
    bytes_out: AtomicU64,
    faults: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Bucket {
    objects: Mutex<BTreeMap<String, Bytes>>,
    faults: Mutex<Faults>,
    counters: Counters,
    ignores_conditions: AtomicBool,
    link: answers::Link,
}

impl Bucket {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().expect("nothing panics under the lock")
    }
}

/// Serves until it is dropped.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    bucket: Arc<Bucket>,
    accepting: JoinHandle<()>,
}

impl S3Server {
    pub async fn start(faults: Faults) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let bucket = Arc::new(Bucket {
            objects: Mutex::default(),
            faults: Mutex::new(faults),
            counters: Counters::default(),
            ignores_conditions: AtomicBool::new(false),
            link: answers::Link::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&bucket)));
        Self { address, bucket, accepting }
    }

    /// How a store in this bucket is opened.
    pub fn options(&self, prefix: &str) -> S3Options {
        S3Options {
            bucket: BUCKET.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: Some(format!("http://{}", self.address)),
            region: "us-east-1".to_owned(),
            credentials: S3Credentials::Keys {
                access_key_id: ACCESS_KEY_ID.to_owned(),
                secret_access_key: "any".to_owned(),
                session_token: None,
            },
        }
    }

    pub fn set_faults(&self, faults: Faults) {
        *self.bucket.faults.lock().expect("nothing panics under the lock") = faults;
    }

    pub fn counts(&self) -> Counts {
        let counters = &self.bucket.counters;
        let of = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        Counts {
            gets: of(&counters.gets),
            puts: of(&counters.puts),
            all: of(&counters.all),
            bytes_out: of(&counters.bytes_out),
            faults: of(&counters.faults),
        }
    }

    /// From now on it is a server that never heard of `If-None-Match`.
    pub fn ignore_conditions(&self) {
        self.bucket.ignores_conditions.store(true, Ordering::SeqCst);
    }

    /// The names of all objects.
    pub fn keys(&self) -> Vec<String> {
        self.bucket.objects().keys().cloned().collect()
    }

    /// Changes an object behind the store's back.
    pub fn damage(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut objects = self.bucket.objects();
        let object = objects.get_mut(key).expect("the object is there");
        let mut bytes = object.to_vec();
        change(&mut bytes);
        *object = bytes.into();
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, bucket: Arc<Bucket>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // An answer goes out in parts, none of which should wait for the other side's word.
                stream.set_nodelay(true).ok();
                drop(tokio::spawn(serve(stream, Arc::clone(&bucket))));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(stream: TcpStream, bucket: Arc<Bucket>) {
    let service = service_fn(|request| answer(&bucket, request));
    let served =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    // A connection that a fault cut off ends in an error, as it should.
    drop(served);
}

/// An error closes the connection without an answer.
async fn answer(
    bucket: &Bucket,
    request: http::Request<Incoming>,
) -> Result<http::Response<answers::Body>, answers::Cut> {
    let counters = &bucket.counters;
    counters.all.fetch_add(1, Ordering::SeqCst);
    match request.method().as_str() {
        "GET" => counters.gets.fetch_add(1, Ordering::SeqCst),
        "PUT" => counters.puts.fetch_add(1, Ordering::SeqCst),
        _ => 0,
    };
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| answers::Cut)?.to_bytes();
    let (kind, pace) = {
        let mut faults = bucket.faults.lock().expect("nothing panics under the lock");
        (faults.next(), faults.pace())
    };
    if kind.is_some() {
        counters.faults.fetch_add(1, Ordering::SeqCst);
    }
    tokio::time::sleep(pace.first_byte).await;
    let reply = match kind {
        None => Reply::of(answers::act(bucket, &parts, body)),
        Some(Kind::Slow(delay)) => {
            tokio::time::sleep(delay).await;
            Reply::of(answers::act(bucket, &parts, body))
        }
        Some(Kind::Refused(status)) => Reply::of(Answer::error(status)),
        Some(Kind::Conflict) if parts.headers.contains_key(http::header::IF_NONE_MATCH) => {
            Reply::of(Answer::error(409))
        }
        Some(Kind::Dropped) => return Err(answers::Cut),
        Some(Kind::LostReply) => {
            drop(answers::act(bucket, &parts, body));
            return Err(answers::Cut);
        }
        Some(Kind::RefusedAfter(status)) => {
            drop(answers::act(bucket, &parts, body));
            Reply::of(Answer::error(status))
        }
        Some(Kind::Duplicate) => {
            let first = answers::act(bucket, &parts, body.clone());
            drop(answers::act(bucket, &parts, body));
            Reply::of(first)
        }
        Some(Kind::Truncated | Kind::Conflict) => Reply::cut(answers::act(bucket, &parts, body)),
    };
    counters.bytes_out.fetch_add(reply.bytes(), Ordering::SeqCst);
    Ok(reply.into_response(&bucket.link, pace.bytes_a_second))
}
