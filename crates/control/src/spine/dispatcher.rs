//! The life of a query request: limits, signature, caller, action, parse, transaction, answer.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Method, StatusCode};
use metastore::{AuditRow, Metastore, Tx};
use model::limits::QUERY_BODY_BYTES_MAX;
use tokio::sync::Notify;
use wire::query::Params;
use wire::xml::ErrorSide;

use super::access::Service;
use super::authenticate::{AuthMode, Authenticated};
use super::block::{self, uploads::Uploads};
use super::cx::{Asked, Caller, Cx};
use super::env::Env;
use super::idempotency::ClientToken;
use super::registry::{self, Entry};
use crate::failure::Failure;
use crate::ports::Host;

pub(crate) const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// How often a call is run again when another transaction gets in its way.
pub(in crate::spine) const CONFLICT_RETRIES_MAX: u32 = 8;

/// An HTTP request, as the listener read it.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// As sent, still percent-encoded.
    pub path: String,
    /// Without the question mark; empty if there is none.
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An HTTP response, ready to be written.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Answer {
    /// To a request that could not be read: nobody knows which service was meant, so it speaks as EC2.
    pub fn to_unread(status: StatusCode, code: &str, message: &str, request_id: &str) -> Self {
        Self::xml(status.as_u16(), request_id, wire::xml::ec2_error(code, message, request_id))
    }

    fn xml(status: u16, request_id: &str, body: String) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            headers: vec![
                ("content-type", "text/xml;charset=UTF-8".to_owned()),
                ("x-amzn-requestid", request_id.to_owned()),
            ],
            body: body.into(),
        }
    }
}

/// Answers calls. Cheap to clone; one for all listeners.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    pub(in crate::spine) metastore: Metastore,
    pub(in crate::spine) store: blockstore::Store,
    pub(in crate::spine) host: Arc<dyn Host>,
    pub(in crate::spine) env: Env,
    pub(in crate::spine) auth: AuthMode,
    /// Tells the job runner that a commit left work.
    pub(in crate::spine) wake: Arc<Notify>,
    pub(in crate::spine) uploads: Arc<Uploads>,
}

impl Dispatcher {
    pub fn new(
        metastore: Metastore,
        store: blockstore::Store,
        host: Arc<dyn Host>,
        env: Env,
        auth: AuthMode,
        wake: Arc<Notify>,
    ) -> Self {
        Self { metastore, store, host, env, auth, wake, uploads: Arc::default() }
    }

    /// Also for refusals that never become calls.
    pub fn new_request_id(&self) -> String {
        model::id_gen::random_uuid(self.env.ids.as_ref())
    }

    /// The answer to a request, whatever it is: never an error of its own.
    pub async fn answer(&self, call: Call) -> Answer {
        let request_id = self.new_request_id();
        let answered = AssertUnwindSafe(self.route(&call, &request_id)).catch_unwind().await;
        answered.unwrap_or_else(|panic| {
            let failure = Failure::internal(format!("panic: {}", panic_text(panic.as_ref())));
            refuse(&call, &request_id, &failure)
        })
    }

    async fn route(&self, call: &Call, request_id: &str) -> Answer {
        if call.body.len() > QUERY_BODY_BYTES_MAX && !block::is_block_call(call) {
            return refuse(call, request_id, &Failure::too_large(QUERY_BODY_BYTES_MAX));
        }
        let authenticated = match self.authenticate(call, request_id).await {
            Ok(authenticated) => authenticated,
            Err(failure) => return refuse(call, request_id, &failure),
        };
        if authenticated.service == block::SCOPE {
            return self.answer_block(call, &authenticated.caller).await;
        }
        match self.query(call, &authenticated).await {
            Ok(document) => Answer::xml(200, request_id, document),
            Err(failure) => refuse(call, request_id, &failure),
        }
    }

    async fn query(&self, call: &Call, authenticated: &Authenticated) -> Result<String, Failure> {
        let params = query_params(call)?;
        let entry = find_entry(&params, &authenticated.service)?;
        let version = checked_version(entry, &params)?;
        let request = (entry.parse)(&params)?;
        let except: Vec<&str> = wire::query::COMMON.iter().chain(wire::page::PARAMETERS).copied().collect();
        let asked =
            Asked { action: entry.action, query: params.digest(&except), dry_run: is_dry_run(&params)? };
        let turn = Turn { entry, params: &params, version, request, asked, caller: &authenticated.caller };
        for _ in 0..CONFLICT_RETRIES_MAX {
            match self.run_once(&turn).await {
                Err(failure) if failure.is_conflict() => {
                    tracing::debug!(action = entry.action, "conflict, again");
                }
                done => return done,
            }
        }
        Err(Failure::internal(format!("{CONFLICT_RETRIES_MAX} conflicts in a row")))
    }

    async fn run_once(&self, turn: &Turn<'_>) -> Result<String, Failure> {
        if turn.entry.access.is_write() && !turn.asked.dry_run {
            self.run_write(turn).await
        } else {
            self.run_read(turn).await
        }
    }

    /// Reads, and dry runs of writes: the transaction is never committed.
    async fn run_read(&self, turn: &Turn<'_>) -> Result<String, Failure> {
        let mut tx = self.metastore.read().await?;
        let mut cx = Cx::new(&mut tx, turn.caller, &self.env, turn.asked);
        let response = (turn.entry.run)(&mut cx, &turn.request).await?;
        tx.rollback().await;
        if turn.asked.dry_run {
            return Err(Failure::dry_run());
        }
        let response = if turn.entry.asks_host {
            (turn.entry.complete)(self.host.as_ref(), response).await?
        } else {
            response
        };
        Ok(turn.encode(&response))
    }

    async fn run_write(&self, turn: &Turn<'_>) -> Result<String, Failure> {
        let token = if turn.entry.takes_client_token() {
            ClientToken::of(turn.entry.action, turn.params)?
        } else {
            None
        };
        let mut tx = self.metastore.write().await?;
        if let Some(token) = &token
            && let Some(answer) = token.replay(&mut tx, turn.caller).await?
        {
            return Ok(answer);
        }
        let mut cx = Cx::new(&mut tx, turn.caller, &self.env, turn.asked);
        let response = (turn.entry.run)(&mut cx, &turn.request).await?;
        let enqueued = cx.enqueued;
        let document = turn.encode(&response);
        if let Some(token) = &token {
            token.remember(&mut tx, turn.caller, self.env.clock.now(), &document).await?;
        }
        self.audit(&mut tx, turn.entry.action, turn.caller).await?;
        tx.commit().await?;
        if enqueued {
            self.wake.notify_one();
        }
        if turn.entry.asks_host
            && let Err(failure) = (turn.entry.complete)(self.host.as_ref(), response).await
        {
            // The change is made; a job sees to what the host owes it.
            log_failure(&turn.caller.request_id, &failure);
        }
        Ok(document)
    }

    /// One row a change, in the same transaction as the change.
    pub(in crate::spine) async fn audit(
        &self,
        tx: &mut Tx,
        action: &str,
        caller: &Caller,
    ) -> Result<(), Failure> {
        let row = AuditRow {
            time: self.env.clock.now(),
            request_id: caller.request_id.clone(),
            account_id: Some(caller.account.clone()),
            region: Some(caller.region),
            action: action.to_owned(),
            code: None,
            resource_ids: Vec::new(),
        };
        tx.audit_insert(&row).await?;
        Ok(())
    }
}

/// The error in the form that the caller's protocol wants.
pub(in crate::spine) fn refuse(call: &Call, request_id: &str, failure: &Failure) -> Answer {
    log_failure(request_id, failure);
    if block::is_block_call(call) {
        return block::refuse(failure, request_id);
    }
    let (code, status) = (failure.code.wire(), failure.code.http_status());
    let document = if speaks_sts(call) {
        let side = if status < 500 { ErrorSide::Sender } else { ErrorSide::Receiver };
        wire::xml::aws_query_error(STS_NAMESPACE, side, code, &failure.message, request_id)
    } else {
        wire::xml::ec2_error(code, &failure.message, request_id)
    };
    Answer::xml(status, request_id, document)
}

/// One parsed request on its way through one or more runs.
struct Turn<'a> {
    entry: &'static Entry,
    params: &'a Params,
    version: &'a str,
    request: Box<dyn Any + Send + Sync>,
    asked: Asked,
    caller: &'a Caller,
}

impl Turn<'_> {
    fn encode(&self, response: &Box<dyn Any + Send>) -> String {
        (self.entry.encode)(self.version, &self.caller.request_id, response)
    }
}

/// Form parameters of the URL and the body together.
pub(in crate::spine) fn query_params(call: &Call) -> Result<Params, Failure> {
    Ok(Params::parse_both(&call.query, &call.body)?)
}

fn find_entry(params: &Params, scope: &str) -> Result<&'static Entry, Failure> {
    let service = match scope {
        "ec2" => Service::Ec2,
        "sts" => Service::Sts,
        _ => return Err(Failure::service_not_served(scope)),
    };
    let action = params.non_empty("Action").ok_or_else(Failure::missing_action)?;
    registry::find(service, action).ok_or_else(|| Failure::invalid_action(action))
}

/// EC2 clients of any age are served under the version they ask for; the namespace of the answer echoes it.
fn checked_version<'a>(entry: &Entry, params: &'a Params) -> Result<&'a str, Failure> {
    let version = params.get("Version").unwrap_or_else(|| entry.service.version());
    let is_date = version.len() == 10
        && version
            .bytes()
            .enumerate()
            .all(|(i, b)| if matches!(i, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
    if is_date && version <= entry.service.version() {
        Ok(version)
    } else {
        Err(Failure::no_such_version(version))
    }
}

fn is_dry_run(params: &Params) -> Result<bool, Failure> {
    match params.get("DryRun") {
        None | Some("" | "false" | "False") => Ok(false),
        Some("true" | "True") => Ok(true),
        Some(other) => {
            Err(Failure::value(format!("Invalid value '{other}' for DryRun (expecting true or false)")))
        }
    }
}

pub(in crate::spine) fn speaks_sts(call: &Call) -> bool {
    query_params(call).is_ok_and(|params| params.get("Version") == Some(Service::Sts.version()))
}

pub(in crate::spine) fn log_failure(request_id: &str, failure: &Failure) {
    if let Some(cause) = failure.cause() {
        tracing::error!(request_id, code = %failure.code, cause = %chain(cause), "call failed");
    } else {
        tracing::debug!(request_id, code = %failure.code, message = failure.message, "call refused");
    }
}

/// The whole chain of an error on one line; each `Display` tells only its own part.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}
