use std::sync::atomic::{AtomicU8, Ordering};

use model::{ManualClock, SeededIdGen, Timestamp};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::tests::metadata;

struct Rig {
    service: Service,
    clock: Arc<ManualClock>,
    hops: Arc<AtomicU8>,
}

fn rig(change: impl FnOnce(&mut MetadataSpec)) -> Rig {
    let mut spec = metadata();
    change(&mut spec);
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let service = Service::new(spec, Arc::clone(&clock) as _, Arc::new(SeededIdGen::new(7)));
    Rig { service, clock, hops: Arc::new(AtomicU8::new(0)) }
}

impl Rig {
    /// Sends bytes as one connection and returns everything that comes back.
    async fn raw(&self, request: &[u8]) -> String {
        let (mut ours, theirs) = tokio::io::duplex(1 << 16);
        let serving = async {
            self.service.serve(theirs, |hops| self.hops.store(hops, Ordering::Relaxed)).await;
        };
        let talking = async {
            ours.write_all(request).await.unwrap();
            ours.shutdown().await.unwrap();
            let mut answer = Vec::new();
            ours.read_to_end(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        };
        tokio::join!(serving, talking).1
    }

    async fn ask(&self, head: &str) -> (u16, String, String) {
        let request = format!("{head}\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n");
        let answer = self.raw(request.as_bytes()).await;
        let (headers, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = headers.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (status, headers.to_lowercase(), body.to_owned())
    }

    async fn token(&self, seconds: u64) -> String {
        let head = format!("PUT {TOKEN_PATH} HTTP/1.1\r\n{TTL_HEADER}: {seconds}\r\nContent-Length: 0");
        let (status, headers, body) = self.ask(&head).await;
        assert_eq!(status, 200);
        assert!(headers.contains(&format!("{TTL_HEADER}: {seconds}")), "{headers}");
        body
    }
}

#[tokio::test]
async fn version_one_reads_without_a_token_where_that_is_allowed() {
    let rig = rig(|_| ());
    let (status, headers, body) = rig.ask("GET /latest/meta-data/instance-id HTTP/1.1").await;
    assert_eq!((status, body.as_str()), (200, "i-0123456789abcdef0"));
    assert!(headers.contains("server: ec2ws") && headers.contains("content-type: text/plain"), "{headers}");
    assert_eq!(rig.hops.load(Ordering::Relaxed), 64);
    let (status, _, body) = rig.ask("GET /latest/meta-data/nothing HTTP/1.1").await;
    assert_eq!(status, 404);
    assert!(body.contains("404 - Not Found"), "{body}");
    let (status, _, body) = rig.ask("GET /latest/meta-data/tags/instance/%4eame HTTP/1.0").await;
    assert_eq!((status, body.as_str()), (200, "one two"));
    assert_eq!(rig.ask("GET /latest/%ff HTTP/1.1").await.0, 404);
    let (status, headers, body) = rig.ask("HEAD /latest/meta-data/ami-id HTTP/1.1").await;
    assert_eq!((status, body.as_str()), (200, ""));
    assert!(headers.contains("content-length: 21"), "{headers}");
}

#[tokio::test]
async fn version_two_needs_a_living_token_of_this_machine() {
    let strict = rig(|spec| spec.options.http_tokens = HttpTokens::Required);
    assert_eq!(strict.ask("GET /latest/meta-data/ami-id HTTP/1.1").await.0, 401);
    let token = strict.token(60).await;
    assert_eq!(strict.hops.load(Ordering::Relaxed), 2, "the answer to a token request is confined");
    let with = |token: &str| format!("GET /latest/meta-data/ami-id HTTP/1.1\r\n{TOKEN_HEADER}: {token}");
    let (status, headers, _) = strict.ask(&with(&token)).await;
    assert_eq!(status, 200);
    assert!(headers.contains(&format!("{TTL_HEADER}: 60")), "{headers}");
    assert_eq!(strict.ask(&with("")).await.0, 401);
    let lax = rig(|_| ());
    assert_eq!(lax.ask(&with("AAAA")).await.0, 401, "a wrong token is refused even where none is needed");
    let foreign = Service::new(metadata(), Arc::clone(&strict.clock) as _, Arc::new(SeededIdGen::new(8)));
    let other = Rig { service: foreign, clock: Arc::clone(&strict.clock), hops: Arc::default() };
    assert_eq!(other.ask(&with(&token)).await.0, 401, "another machine's token");
    strict.clock.advance(Duration::from_mins(1));
    assert_eq!(strict.ask(&with(&token)).await.0, 401, "an ended token");
}

#[tokio::test]
async fn token_requests_are_refused_as_documented() {
    let rig = rig(|_| ());
    let put = |headers: &str| format!("PUT {TOKEN_PATH} HTTP/1.1\r\nContent-Length: 0{headers}");
    assert_eq!(rig.ask(&put("")).await.0, 400);
    for bad in ["0", "21601", "-1", "x", "", "99999999999999999999999"] {
        assert_eq!(rig.ask(&put(&format!("\r\n{TTL_HEADER}: {bad}"))).await.0, 400, "{bad}");
    }
    let forwarded = format!("\r\n{TTL_HEADER}: 60\r\nX-Forwarded-For: 10.0.0.9");
    assert_eq!(rig.ask(&put(&forwarded)).await.0, 403);
    assert_eq!(rig.ask("PUT /latest/meta-data/ HTTP/1.1\r\nContent-Length: 0").await.0, 405);
    assert_eq!(rig.ask("POST / HTTP/1.1\r\nContent-Length: 0").await.0, 405);
    let off = self::rig(|spec| spec.options.http_endpoint_enabled = false);
    assert_eq!(off.ask("GET / HTTP/1.1").await.0, 403);
    assert_eq!(off.ask(&put(&format!("\r\n{TTL_HEADER}: 60"))).await.0, 403);
}

#[tokio::test]
async fn new_metadata_is_told_at_once() {
    let rig = rig(|_| ());
    let mut changed = metadata();
    changed.tags.insert("Name".to_owned(), "new".to_owned());
    rig.service.set(changed);
    let (_, _, body) = rig.ask("GET /latest/meta-data/tags/instance/Name HTTP/1.1").await;
    assert_eq!(body, "new");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever a guest sends, the connection ends and nothing panics.
    #[test]
    fn any_bytes_are_survived(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        method in "(GET|PUT|HEAD|POST|\\PC{0,5})",
        path in "(/latest)?/[!-~]{0,40}",
        headers in proptest::collection::vec("[!-~ ]{0,40}", 0..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let rig = rig(|_| ());
        let request = format!("{method} {path} HTTP/1.1\r\n{}\r\n\r\n", headers.join("\r\n"));
        runtime.block_on(async {
            rig.raw(&noise).await;
            rig.raw(request.as_bytes()).await;
        });
    }
}
