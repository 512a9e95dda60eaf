//! The part of S3 that a store uses: objects with ranges and conditions, listings in pages.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http::request::Parts;
use http::{HeaderName, Method, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use model::{Clock, SystemClock};

use super::{ACCESS_KEY_ID, BUCKET, Bucket};

const MODIFIED: &str = "Sat, 21 Nov 2026 08:22:07 GMT";
const PAGE_KEYS: usize = 100;
const PART_BYTES: usize = 64 << 10;

/// Ends the connection without a word.
#[derive(Debug)]
pub(super) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cut off")
    }
}

impl std::error::Error for Cut {}

pub(super) type Body = UnsyncBoxBody<Bytes, Cut>;

pub(super) struct Answer {
    status: u16,
    headers: Vec<(HeaderName, String)>,
    /// What is told of the length where no body is sent.
    len: Option<u64>,
    body: Bytes,
}

impl Answer {
    fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), len: None, body: body.into() }
    }

    pub(super) fn error(status: u16) -> Self {
        Self::new(status, format!("<Error><Code>Fault{status}</Code><Message>planned</Message></Error>"))
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// An answer, and how much of it is sent.
pub(super) struct Reply {
    answer: Answer,
    is_cut: bool,
}

impl Reply {
    pub(super) const fn of(answer: Answer) -> Self {
        Self { answer, is_cut: false }
    }

    pub(super) const fn cut(answer: Answer) -> Self {
        Self { answer, is_cut: true }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.answer.body.len() as u64
    }

    pub(super) fn into_response(self, link: &Link, bytes_a_second: Option<u64>) -> http::Response<Body> {
        let Answer { status, headers, len, body } = self.answer;
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        response = response.header(header::CONTENT_LENGTH, len.unwrap_or(body.len() as u64));
        let sent = if self.is_cut { body.slice(..body.len() / 2) } else { body };
        let starts: Vec<usize> = (0..sent.len()).step_by(PART_BYTES).collect();
        let link = link.clone();
        let parts = stream::iter(starts).then(move |start| {
            let part = sent.slice(start..(start + PART_BYTES).min(sent.len()));
            let link = link.clone();
            async move {
                if let Some(rate) = bytes_a_second {
                    link.carry(Duration::from_micros(part.len() as u64 * 1_000_000 / rate)).await;
                }
                Ok(Frame::data(part))
            }
        });
        let end = stream::iter(self.is_cut.then_some(Err(Cut)));
        let body = StreamBody::new(parts.chain(end)).boxed_unsync();
        response.body(body).expect("the headers are ours")
    }
}

/// The way to the server, on which all answers go one after another.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    clock: Arc<dyn Clock>,
    /// By the clock's monotonic time.
    free_at: Arc<Mutex<Duration>>,
}

impl Default for Link {
    fn default() -> Self {
        Self { clock: Arc::new(SystemClock::new()), free_at: Arc::default() }
    }
}

impl Link {
    /// Returns when what takes so long has gone over.
    async fn carry(&self, takes: Duration) {
        let now = self.clock.monotonic();
        let gone = {
            let mut free_at = self.free_at.lock().expect("nothing panics under the lock");
            *free_at = now.max(*free_at) + takes;
            *free_at
        };
        tokio::time::sleep(gone.saturating_sub(now)).await;
    }
}

/// Does what a request asks.
pub(super) fn act(bucket: &Bucket, parts: &Parts, body: Bytes) -> Answer {
    let claim = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !claim.is_some_and(|claim| claim.contains(&format!("Credential={ACCESS_KEY_ID}/"))) {
        return Answer::error(403);
    }
    let path = percent_decoded(parts.uri.path());
    let Some(key) = path.strip_prefix('/').and_then(|path| path.strip_prefix(BUCKET)) else {
        return Answer::error(404);
    };
    let key = key.strip_prefix('/').unwrap_or(key);
    match (&parts.method, key) {
        (&Method::GET, "") => list(bucket, parts.uri.query().unwrap_or_default()),
        (&Method::GET | &Method::HEAD, key) => get(bucket, key, parts),
        (&Method::PUT, key) => put(bucket, key, parts, body),
        (&Method::DELETE, key) => {
            bucket.objects().remove(key);
            Answer::new(204, "")
        }
        _ => Answer::error(405),
    }
}

fn etag(bytes: &Bytes) -> String {
    format!(
        "\"{:08x}-{}\"",
        bytes.iter().fold(7u32, |sum, &b| sum.wrapping_mul(31) ^ u32::from(b)),
        bytes.len()
    )
}

fn get(bucket: &Bucket, key: &str, parts: &Parts) -> Answer {
    let Some(object) = bucket.objects().get(key).cloned() else { return Answer::error(404) };
    let head = |answer: Answer| {
        let answer = answer.with(header::ETAG, etag(&object)).with(header::LAST_MODIFIED, MODIFIED);
        answer.with(header::ACCEPT_RANGES, "bytes")
    };
    if parts.method == Method::HEAD {
        let mut answer = head(Answer::new(200, ""));
        answer.len = Some(object.len() as u64);
        return answer;
    }
    let Some(range) = parts.headers.get(header::RANGE) else {
        return head(Answer::new(200, object.clone()));
    };
    let Some(range) = range.to_str().ok().and_then(|range| parse_range(range, object.len())) else {
        return Answer::error(416);
    };
    let place = format!("bytes {}-{}/{}", range.start, range.end - 1, object.len());
    head(Answer::new(206, object.slice(range)).with(header::CONTENT_RANGE, place))
}

/// `bytes=a-b`, `bytes=a-` and `bytes=-n`; None where nothing of it is there.
fn parse_range(text: &str, len: usize) -> Option<Range<usize>> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (from, to) {
        ("", last) => len.saturating_sub(last.parse().ok()?)..len,
        (from, "") => from.parse().ok()?..len,
        (from, to) => from.parse().ok()?..to.parse::<usize>().ok()?.checked_add(1)?.min(len),
    };
    (range.start < range.end).then_some(range)
}

fn put(bucket: &Bucket, key: &str, parts: &Parts, body: Bytes) -> Answer {
    let mut objects = bucket.objects();
    let is_known = !bucket.ignores_conditions.load(Ordering::SeqCst);
    let is_conditional =
        is_known && parts.headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == "*");
    if is_conditional && objects.contains_key(key) {
        return Answer::error(412);
    }
    let etag = etag(&body);
    objects.insert(key.to_owned(), body);
    Answer::new(200, "").with(header::ETAG, etag)
}

fn list(bucket: &Bucket, query: &str) -> Answer {
    let field = |name: &str| {
        let found = query.split('&').filter_map(|pair| pair.split_once('='));
        found.filter(|(key, _)| *key == name).map(|(_, value)| percent_decoded(value)).next()
    };
    let prefix = field("prefix").unwrap_or_default();
    let after = field("continuation-token").or_else(|| field("start-after")).unwrap_or_default();
    let objects = bucket.objects();
    let all = objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
    let page: Vec<(&String, &Bytes)> = all.take(PAGE_KEYS + 1).collect();
    let is_truncated = page.len() > PAGE_KEYS;
    let mut text = format!("<ListBucketResult><Name>{BUCKET}</Name><Prefix>{prefix}</Prefix>");
    for (key, bytes) in page.iter().take(PAGE_KEYS) {
        let size = bytes.len();
        write!(
            text,
            "<Contents><Key>{key}</Key><LastModified>2026-11-21T08:22:07.000Z</LastModified><ETag>x</ETag>\
             <Size>{size}</Size></Contents>"
        )
        .expect("text takes text");
    }
    if let Some((last, _)) = page.get(PAGE_KEYS - 1).filter(|_| is_truncated) {
        write!(text, "<NextContinuationToken>{last}</NextContinuationToken>").expect("text takes text");
    }
    write!(text, "<IsTruncated>{is_truncated}</IsTruncated></ListBucketResult>").expect("text takes text");
    Answer::new(200, text)
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
