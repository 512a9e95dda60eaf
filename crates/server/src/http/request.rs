//! From a request on the wire to a whole call in memory, or a refusal.
//!
//! Invariant: where two readers could disagree about where a request ends or whom it is for, it is refused
//! and the connection closed.

use bytes::Bytes;
use control::Call;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::limits::Limits;

/// Why a request never reached the dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

impl Refusal {
    /// The error code of the answer. EC2 documents the last one; the others are those of its neighbours.
    pub(super) fn code(&self) -> &'static str {
        match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => "RequestEntityTooLarge",
            StatusCode::REQUEST_TIMEOUT => "RequestTimeout",
            StatusCode::SERVICE_UNAVAILABLE => "ServiceUnavailable",
            _ => "MalformedHttpRequest",
        }
    }
}

const fn refusal(status: StatusCode, why: &'static str) -> Refusal {
    Refusal { status, why }
}

/// Memory for bodies, shared by all connections.
#[derive(Debug)]
pub(super) struct Bodies {
    pub(super) limits: Limits,
    kib: Semaphore,
}

/// A call and the memory that it stands for.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    pub(super) call: Call,
    _memory: SemaphorePermit<'a>,
}

impl Bodies {
    pub(super) fn new(limits: Limits) -> Self {
        Self { kib: Semaphore::new(limits.bodies_bytes >> 10), limits }
    }

    /// Reads the body, within its limits of size, time and everybody's memory.
    pub(super) async fn read(&self, request: Request<Incoming>) -> Result<Whole<'_>, Refusal> {
        let (parts, body) = request.into_parts();
        check(&parts)?;
        tokio::time::timeout(self.limits.body_time, self.collect(parts, body))
            .await
            .map_err(|_| refusal(StatusCode::REQUEST_TIMEOUT, "the body took too long"))?
    }

    async fn collect(&self, parts: Parts, body: Incoming) -> Result<Whole<'_>, Refusal> {
        let too_large = refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than any request needs");
        let declared = body.size_hint().exact().unwrap_or(self.limits.body_bytes as u64);
        let declared = usize::try_from(declared).unwrap_or(usize::MAX);
        if declared > self.limits.body_bytes {
            return Err(too_large);
        }
        let kib = u32::try_from(declared.div_ceil(1024)).unwrap_or(u32::MAX);
        let memory = self.kib.acquire_many(kib).await;
        let memory = memory.map_err(|_| refusal(StatusCode::SERVICE_UNAVAILABLE, "the server stops"))?;
        let collected = Limited::new(body, self.limits.body_bytes).collect().await;
        let body = collected.map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_large
            } else {
                refusal(StatusCode::BAD_REQUEST, "the body ended early or is malformed")
            }
        })?;
        Ok(Whole { call: call(parts, body.to_bytes()), _memory: memory })
    }
}

fn call(parts: Parts, body: Bytes) -> Call {
    let (path, query) = (parts.uri.path().to_owned(), parts.uri.query().unwrap_or_default().to_owned());
    Call { method: parts.method, path, query, headers: parts.headers, body }
}

fn check(parts: &Parts) -> Result<(), Refusal> {
    let bad = |why| Err(refusal(StatusCode::BAD_REQUEST, why));
    let count = |name| parts.headers.get_all(name).iter().count();
    if count(TRANSFER_ENCODING) > 0 && count(CONTENT_LENGTH) > 0 {
        return bad("both a length and a transfer encoding");
    }
    if count(CONTENT_LENGTH) > 1 || count(TRANSFER_ENCODING) > 1 {
        return bad("more than one length");
    }
    if parts
        .headers
        .get(TRANSFER_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return bad("a transfer encoding other than chunked");
    }
    let hosts = count(HOST);
    if hosts > 1 || (hosts == 0 && parts.version == Version::HTTP_11) {
        return bad("not exactly one Host header");
    }
    let host = parts.headers.get(HOST).map(http::HeaderValue::as_bytes);
    if parts.uri.authority().is_some_and(|authority| host != Some(authority.as_str().as_bytes())) {
        return bad("the target and the Host header differ");
    }
    if !parts.uri.path().starts_with('/') {
        return bad("a target that is no path");
    }
    Ok(())
}
