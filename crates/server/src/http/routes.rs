//! What is ours by its path; everything else is the dispatcher's.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use control::{Answer, Call, Dispatcher};
use futures::future::BoxFuture;
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use model::{Clock, InstanceId};
use serde_json::json;

use super::request::{Bodies, Refusal};
use crate::host::Host;
use crate::limits::Limits;

const OWN_PREFIX: &str = "/_katagami/";

type Reset = dyn Fn() -> BoxFuture<'static, crate::Result<()>> + Send + Sync;

/// Answers requests.
pub(crate) struct Routes {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) host: Arc<Host>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Only an emulator can be reset.
    pub(crate) reset: Option<Box<Reset>>,
    bodies: Bodies,
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routes").field("is_emulator", &self.reset.is_some()).finish_non_exhaustive()
    }
}

impl Routes {
    pub(crate) fn new(
        dispatcher: Dispatcher,
        host: Arc<Host>,
        clock: Arc<dyn Clock>,
        reset: Option<Box<Reset>>,
        limits: Limits,
    ) -> Self {
        Self { dispatcher, host, clock, reset, bodies: Bodies::new(limits) }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.bodies.limits
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let started = self.clock.monotonic();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = match self.bodies.read(request).await {
            Ok(whole) => response(self.route(whole.call).await),
            Err(refusal) => refused(refusal, &self.dispatcher.new_request_id()),
        };
        let elapsed = self.clock.monotonic().saturating_sub(started);
        log(&method, &path, &response, elapsed);
        response
    }

    async fn route(&self, call: Call) -> Answer {
        let Some(own) = call.path.strip_prefix(OWN_PREFIX) else { return self.dispatcher.answer(call).await };
        match (&call.method, own) {
            (&Method::GET, "health") => json_answer(StatusCode::OK, &json!({"status": "ok"})),
            (&Method::POST, "reset") => self.reset().await,
            (&Method::GET, own) if let Some(id) = own.strip_prefix("instances/") => {
                self.instance(&call, id).await
            }
            _ => not_found(),
        }
    }

    async fn reset(&self) -> Answer {
        let Some(reset) = &self.reset else {
            let why = "only a server that was started with --emulator can be reset";
            return json_answer(StatusCode::FORBIDDEN, &json!({"message": why}));
        };
        match reset().await {
            Ok(()) => json_answer(StatusCode::OK, &json!({"status": "reset"})),
            Err(error) => {
                tracing::error!(error = error.chain(), "the reset failed");
                json_answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"message": "the reset failed"}))
            }
        }
    }

    /// Where an instance's ports are on this host; for its owner.
    async fn instance(&self, call: &Call, id: &str) -> Answer {
        let Ok(id) = id.parse::<InstanceId>() else { return not_found() };
        if let Err(refusal) = self.dispatcher.authorize_instance(call, &id).await {
            return refusal;
        }
        match self.host.forwards(&id).await {
            Ok(forwards) => {
                let forwards: Vec<_> = forwards
                    .into_iter()
                    .map(|(guest_port, host)| json!({"guest_port": guest_port, "host": host.to_string()}))
                    .collect();
                json_answer(StatusCode::OK, &json!({"instance_id": id, "forwards": forwards}))
            }
            Err(error) => {
                tracing::warn!(instance_id = %id, error = crate::error::chain(&error), "ask a machine for its forwards");
                json_answer(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &json!({"message": "the machine does not answer"}),
                )
            }
        }
    }
}

fn not_found() -> Answer {
    json_answer(StatusCode::NOT_FOUND, &json!({"message": "no such path"}))
}

fn json_answer(status: StatusCode, body: &serde_json::Value) -> Answer {
    let headers = vec![("content-type", "application/json".to_owned())];
    Answer { status, headers, body: body.to_string().into() }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers {
        match HeaderValue::try_from(value) {
            Ok(value) => drop(response.headers_mut().append(name, value)),
            Err(error) => tracing::error!(name, %error, "a header of an answer is no header"),
        }
    }
    response
}

fn refused(refusal: Refusal, request_id: &str) -> Response<Full<Bytes>> {
    let answer = Answer::to_unread(refusal.status, refusal.code(), refusal.why, request_id);
    let mut response = response(answer);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn log(method: &Method, path: &str, response: &Response<Full<Bytes>>, elapsed: std::time::Duration) {
    let status = response.status().as_u16();
    let request_id =
        response.headers().get("x-amzn-requestid").and_then(|id| id.to_str().ok()).unwrap_or("-");
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    if status < 400 {
        tracing::debug!(request_id, %method, path, status, micros, "answered");
    } else {
        tracing::info!(request_id, %method, path, status, micros, "refused");
    }
}
