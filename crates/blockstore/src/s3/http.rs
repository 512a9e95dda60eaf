//! HTTP to a bucket, with a deadline on every step: connecting, the answer, each part of its body.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use tokio::time::Sleep;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Until the answer begins, besides the time that sending the request takes.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);
/// A request that is sent slower than this is given up.
const SENT_BYTES_A_SECOND_MIN: u64 = 256 << 10;
/// Between two parts of an answer's body.
const BODY_PAUSE_MAX: Duration = Duration::from_secs(15);
/// Below the time after which servers close idle connections.
const IDLE_TIME_MAX: Duration = Duration::from_secs(20);
const IDLE_CONNECTIONS_MAX: usize = 64;

/// One pool of connections.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    client: Client<HttpsConnector<TcpConnector>, HttpRequestBody>,
}

impl Connector {
    /// With `is_plain` no certificates are looked for, and https is refused.
    pub(super) fn new(is_plain: bool) -> io::Result<Self> {
        let mut tcp = TcpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_TIME_MAX));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let provider = rustls::crypto::ring::default_provider();
        let tls = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let tls = if is_plain {
            tls.with_root_certificates(rustls::RootCertStore::empty())
        } else {
            tls.with_native_roots()?
        };
        let https = HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth());
        let https = if is_plain { https.https_or_http() } else { https.https_only() }
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(https);
        Ok(Self { client })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let sent_bytes = request.body().content_length() as u64;
        let time_max = ANSWER_TIME_MAX + Duration::from_secs(sent_bytes / SENT_BYTES_A_SECOND_MIN);
        let answer = tokio::time::timeout(time_max, self.client.request(request)).await;
        let answer = answer.map_err(|e| HttpError::new(HttpErrorKind::Timeout, e))?.map_err(|e| {
            let kind = if e.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Request };
            HttpError::new(kind, e)
        })?;
        Ok(answer.map(|body| HttpResponseBody::new(TimedBody::new(body))))
    }
}

/// A body that fails when nothing comes for too long.
struct TimedBody {
    inner: Incoming,
    pause: Pin<Box<Sleep>>,
    is_paused: bool,
}

impl TimedBody {
    fn new(inner: Incoming) -> Self {
        Self { inner, pause: Box::pin(tokio::time::sleep(BODY_PAUSE_MAX)), is_paused: false }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.is_paused = false;
            let failed = |e| HttpError::new(HttpErrorKind::Interrupted, e);
            return Poll::Ready(frame.map(|frame| frame.map_err(failed)));
        }
        if !self.is_paused {
            self.is_paused = true;
            self.pause = Box::pin(tokio::time::sleep(BODY_PAUSE_MAX));
        }
        self.pause.as_mut().poll(cx).map(|()| {
            let late = io::Error::new(io::ErrorKind::TimedOut, "the body of the answer stopped coming");
            Some(Err(HttpError::new(HttpErrorKind::Timeout, late)))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
