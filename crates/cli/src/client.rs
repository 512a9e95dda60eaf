//! Signed requests over HTTP, with patience for a server that is restarting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use model::id_gen::random_bytes;
use model::{Clock, IdGen};
use wire::sigv4::{Credentials, RequestParts, Signer};

use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};

const REQUEST_TIME_MAX: Duration = Duration::from_mins(1);
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// A server that answered before may be restarting.
const ATTEMPTS_MAX: u32 = 12;
/// One that never did is probably not there.
const FIRST_ATTEMPTS_MAX: u32 = 3;
const RETRY_DELAY_FIRST: Duration = Duration::from_millis(100);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);
const EC2_VERSION: &str = "2016-11-15";

/// Which service a request is signed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Ec2,
    Ebs,
}

/// Whether a request may be sent again when nobody knows what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Twice does what once does.
    Harmless,
    /// Only when it certainly did not arrive.
    Unsafe,
}

/// One request, as it is sent every time.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// False where a header already holds the body's checksum.
    pub(crate) sign_body: bool,
    pub(crate) repeat: Repeat,
}

impl Call {
    pub(crate) fn get(service: Service, path: String) -> Self {
        Self {
            service,
            method: Method::GET,
            path,
            headers: Vec::new(),
            body: Bytes::new(),
            sign_body: true,
            repeat: Repeat::Harmless,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why one attempt brought no usable answer.
enum Miss {
    /// Nothing was sent.
    Unreachable(String),
    /// It may have been carried out.
    Lost(String),
}

impl Miss {
    fn allows(&self, repeat: Repeat) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Lost(_) => repeat == Repeat::Harmless,
        }
    }
}

/// A connection pool to one server, and who asks.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    settings: Arc<Settings>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdGen>,
    has_answered: Arc<AtomicBool>,
}

impl Client {
    pub(crate) fn new(settings: Settings, clock: Arc<dyn Clock>, ids: Arc<dyn IdGen>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(5))
            .build(connector);
        Self { http, settings: Arc::new(settings), clock, ids, has_answered: Arc::default() }
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    pub(crate) fn client_token(&self) -> String {
        model::id_gen::random_uuid(self.ids.as_ref())
    }

    /// A query action of EC2; the answer is its document.
    pub(crate) async fn ec2(
        &self,
        action: &str,
        parameters: &[(String, String)],
        repeat: Repeat,
    ) -> Result<String> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", action).append_pair("Version", EC2_VERSION).extend_pairs(parameters);
        let call = Call {
            service: Service::Ec2,
            method: Method::POST,
            path: "/".into(),
            headers: vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8".into())],
            body: form.finish().into(),
            sign_body: true,
            repeat,
        };
        let reply = self.send(&call).await?;
        let document = String::from_utf8_lossy(&reply.body).into_owned();
        if reply.status.is_success() {
            return Ok(document);
        }
        let code = wire::xml::first_text(&document, "Code").unwrap_or_else(|| reply.status.to_string());
        let message = wire::xml::first_text(&document, "Message").unwrap_or_default();
        Err(Error::of_service(action, &code, &message))
    }

    /// A request of a REST service; answers other than successes become errors.
    pub(crate) async fn rest(&self, doing: &str, call: &Call) -> Result<Reply> {
        let reply = self.send(call).await?;
        if reply.status.is_success() { Ok(reply) } else { Err(rest_error(doing, &reply)) }
    }

    /// Sends until there is an answer that is not "later", or patience ends.
    async fn send(&self, call: &Call) -> Result<Reply> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let outcome = self.send_once(call).await?;
            let has_answered = self.has_answered.fetch_or(outcome.is_ok(), Ordering::Relaxed);
            let is_last = attempt == if has_answered { ATTEMPTS_MAX } else { FIRST_ATTEMPTS_MAX };
            match outcome {
                Ok(reply) if is_last || !is_later(&reply) => return Ok(reply),
                Err(miss) if is_last || !miss.allows(call.repeat) => {
                    return Err(self.no_answer(call.service, &miss));
                }
                Ok(_) | Err(_) => tokio::time::sleep(self.pause(attempt)).await,
            }
        }
    }

    fn no_answer(&self, service: Service, miss: &Miss) -> Error {
        let endpoint = self.endpoint(service);
        match miss {
            Miss::Unreachable(cause) => {
                Error::new(ErrorKind::Failed, format!("no server answers at {endpoint}: {cause}"))
                    .with_hint("start one with: katagami serve; or name another with --endpoint")
            }
            Miss::Lost(cause) => {
                Error::new(ErrorKind::Failed, format!("the answer of {endpoint} was lost: {cause}"))
            }
        }
    }

    /// Doubling pauses, each cut by up to half so that parallel requests do not come back together.
    fn pause(&self, attempt: u32) -> Duration {
        let doubled =
            RETRY_DELAY_FIRST.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(RETRY_DELAY_MAX);
        let [random] = random_bytes::<1>(self.ids.as_ref());
        doubled.saturating_sub(doubled / 2 * u32::from(random) / 255)
    }

    fn endpoint(&self, service: Service) -> &str {
        match service {
            Service::Ec2 => &self.settings.ec2_endpoint,
            Service::Ebs => &self.settings.ebs_endpoint,
        }
    }

    /// Signed anew each time: a signature ages.
    async fn send_once(&self, call: &Call) -> Result<Result<Reply, Miss>> {
        let request = self.signed(call)?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|e| miss_of(&e))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|e| Miss::Lost(format!("read the answer: {e}")))?.to_bytes();
            Ok(Reply { status: parts.status, headers: parts.headers, body })
        };
        let answered = tokio::time::timeout(REQUEST_TIME_MAX, exchange).await;
        Ok(answered.unwrap_or_else(|_| Err(Miss::Lost("it took more than a minute".into()))))
    }

    fn signed(&self, call: &Call) -> Result<Request<Full<Bytes>>> {
        let endpoint = self.endpoint(call.service);
        let uri = format!("{endpoint}{}", call.path);
        let uri: Uri = uri.parse().map_err(|e| Error::usage(format!("the endpoint {endpoint}: {e}")))?;
        if uri.scheme_str() != Some("http") {
            return Err(Error::usage(format!("the endpoint {endpoint} is not an http:// URL")));
        }
        let host = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        let mut headers: Vec<(&str, &str)> = vec![(HOST.as_str(), host)];
        headers.extend(call.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let parts = RequestParts {
            method: call.method.as_str(),
            path: uri.path(),
            query: uri.query().unwrap_or_default(),
            headers: &headers,
        };
        let body = call.sign_body.then_some(call.body.as_ref());
        let added = self.signer(call.service).headers(&parts, body, self.clock.now());
        let added = added.map_err(|e| Error::failed(format!("sign the request: {e}")))?;
        let mut request = Request::builder().method(&call.method).uri(&uri);
        for (name, value) in headers.into_iter().chain(added.iter().map(|(n, v)| (n.as_str(), v.as_str()))) {
            request = request.header(name, value);
        }
        request.body(Full::new(call.body.clone())).map_err(|e| Error::usage(format!("make the request: {e}")))
    }

    fn signer(&self, service: Service) -> Signer<'_> {
        let key = &self.settings.access_key;
        let credentials = Credentials {
            access_key_id: &key.id,
            secret_access_key: &key.secret,
            session_token: key.session_token.as_deref(),
        };
        let service = match service {
            Service::Ec2 => "ec2",
            Service::Ebs => "ebs",
        };
        Signer { credentials, region: &self.settings.region, service }
    }
}

fn miss_of(error: &legacy::Error) -> Miss {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    if error.is_connect() { Miss::Unreachable(text) } else { Miss::Lost(text) }
}

/// Answers that ask to come back.
fn is_later(reply: &Reply) -> bool {
    let throttled = [b"RequestLimitExceeded".as_slice(), b"ThrottlingException", b"RequestThrottled"];
    reply.status.is_server_error()
        || reply.status == StatusCode::TOO_MANY_REQUESTS
        || (reply.status.is_client_error()
            && reply.body.len() < 4096
            && throttled.iter().any(|code| reply.body.windows(code.len()).any(|window| window == *code)))
}

fn rest_error(doing: &str, reply: &Reply) -> Error {
    #[derive(serde::Deserialize, Default)]
    #[serde(default)]
    struct Body {
        #[serde(alias = "Message")]
        message: String,
        #[serde(alias = "__type")]
        code: String,
    }
    let body: Body = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = String::from_utf8_lossy(&reply.body);
    let named = reply.headers.get("x-amzn-errortype").and_then(|name| name.to_str().ok());
    let named =
        named.map(str::to_owned).or_else(|| wire::xml::first_text(&text, "Code")).unwrap_or(body.code);
    let code = match named.split(':').next() {
        None | Some("") => reply.status.as_str(),
        Some(code) => code,
    };
    let message = wire::xml::first_text(&text, "Message").unwrap_or(body.message);
    Error::of_service(doing, code, &message)
}
