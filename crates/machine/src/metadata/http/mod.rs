//! HTTP of the metadata service, version 1 (plain GETs) and version 2 (session tokens).

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, SERVER};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::instance::HttpTokens;
use model::{Clock, IdGen};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncWrite};

use super::spec::MetadataSpec;
use super::token::Tokens;
use super::tree;

const TOKEN_PATH: &str = "/latest/api/token";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TTL_SECONDS_MAX: u64 = 21_600;
/// What a request line with all its headers may take.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// The whole of one connection; clients make a new one without noticing.
const CONNECTION_DEADLINE: Duration = Duration::from_mins(5);
/// The hop limit of everything that is not the answer to a token request.
const HOPS_DEFAULT: u8 = 64;

/// One machine's metadata service. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spec: RwLock<Arc<MetadataSpec>>,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdGen>,
}

impl Service {
    pub(crate) fn new(spec: MetadataSpec, clock: Arc<dyn Clock>, ids: Arc<dyn IdGen>) -> Self {
        let tokens = Tokens::new(&*ids);
        Self { shared: Arc::new(Shared { spec: RwLock::new(Arc::new(spec)), tokens, clock, ids }) }
    }

    /// What is told from now on. Tokens stay good.
    pub(crate) fn set(&self, spec: MetadataSpec) {
        *self.shared.spec.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(spec);
    }

    /// Serves one connection to its end. `set_hop_limit` sets the hop limit of what is sent next.
    pub(crate) async fn serve<S, H>(&self, stream: S, set_hop_limit: H)
    where
        S: AsyncRead + AsyncWrite + Unpin,
        H: Fn(u8),
    {
        let answer = |request: Request<Incoming>| {
            let (head, _) = request.into_parts();
            let spec = Arc::clone(&self.shared.spec.read().unwrap_or_else(PoisonError::into_inner));
            let is_token = head.method == Method::PUT;
            set_hop_limit(if is_token { spec.options.http_put_response_hop_limit } else { HOPS_DEFAULT });
            let answer = self.shared.answer(&spec, &head.method, head.uri.path(), &head.headers);
            std::future::ready(Ok::<_, Infallible>(answer))
        };
        let connection = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_DEADLINE, connection).await {
            tracing::debug!(%error, "a metadata connection ended early");
        }
    }
}

impl Shared {
    fn answer(
        &self,
        spec: &MetadataSpec,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Response<Full<Bytes>> {
        if !spec.options.http_endpoint_enabled {
            return problem(StatusCode::FORBIDDEN);
        }
        match *method {
            Method::PUT if path.trim_end_matches('/') == TOKEN_PATH => self.issue(headers),
            Method::GET | Method::HEAD => self.read(spec, path, headers),
            _ => problem(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    /// A proxy that passes requests on adds `X-Forwarded-For`: no token may travel through one.
    fn issue(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if headers.contains_key("x-forwarded-for") {
            return problem(StatusCode::FORBIDDEN);
        }
        let ttl = headers.get(TTL_HEADER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        let Some(seconds) = ttl.filter(|seconds| (1..=TTL_SECONDS_MAX).contains(seconds)) else {
            return problem(StatusCode::BAD_REQUEST);
        };
        let token = self.tokens.issue(Duration::from_secs(seconds), &*self.clock, &*self.ids);
        let mut response = text(token.into_bytes());
        response.headers_mut().insert(TTL_HEADER, HeaderValue::from(seconds));
        response
    }

    fn read(&self, spec: &MetadataSpec, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let left = match (headers.get(TOKEN_HEADER), spec.options.http_tokens) {
            (Some(token), _) => {
                let left = token.to_str().ok().and_then(|token| self.tokens.check(token, &*self.clock));
                let Some(left) = left else { return problem(StatusCode::UNAUTHORIZED) };
                Some(left)
            }
            (None, HttpTokens::Required) => return problem(StatusCode::UNAUTHORIZED),
            (None, HttpTokens::Optional) => None,
        };
        let Ok(path) = percent_decode_str(path).decode_utf8() else {
            return problem(StatusCode::NOT_FOUND);
        };
        let mut response = match tree::look_up(spec, &path) {
            Some(bytes) => text(bytes),
            None => problem(StatusCode::NOT_FOUND),
        };
        if let Some(left) = left {
            response.headers_mut().insert(TTL_HEADER, HeaderValue::from(left.as_secs()));
        }
        response
    }
}

fn text(bytes: Vec<u8>) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, "text/plain", bytes)
}

/// Errors have an HTML body, as the original's have.
fn problem(status: StatusCode) -> Response<Full<Bytes>> {
    let title = format!("{} - {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let html = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n\
         <html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n \
         <head><title>{title}</title></head>\n <body><h1>{title}</h1></body>\n</html>\n"
    );
    respond(status, "text/html", html.into_bytes())
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(SERVER, HeaderValue::from_static("EC2ws"));
    response
}

#[cfg(test)]
mod tests;
