//! The EBS direct API: the same authentication and accounts as the query API, other wire forms, and
//! operations that move data themselves, between short transactions.

pub(crate) mod content;
pub(crate) mod cx;
mod records;
mod tokens;
pub(in crate::spine) mod uploads;

use std::fmt;
use std::future::Future;

use futures::future::BoxFuture;
use http::StatusCode;
use wire::rest_json::{self, RestFault, RestReply};
use wire::sigv4::RequestParts;

use self::cx::BlockCx;
use super::authenticate::{readable_headers, request_parts};
use super::cx::Caller;
use super::dispatcher::{Answer, CONFLICT_RETRIES_MAX, Call, Dispatcher, log_failure};
use crate::failure::{BlockFailure, Failure};

/// The service's name in credential scopes.
pub(in crate::spine) const SCOPE: &str = "ebs";

/// One action of the EBS direct API. Data is durable before the row that names it, and the row
/// before the reply.
pub(crate) trait BlockOperation: Sized + 'static {
    const ACTION: &'static str;
    type Request: 'static;

    /// The request, where the call is one of this action.
    fn request(call: &rest_json::Call) -> Option<&Self::Request>;

    /// May run more than once: after a conflict the dispatcher starts again with the same request.
    fn run(
        cx: &BlockCx<'_>,
        req: &Self::Request,
    ) -> impl Future<Output = Result<RestReply, BlockFailure>> + Send;
}

type Run = for<'a> fn(&'a BlockCx<'_>, &'a rest_json::Call) -> BoxFuture<'a, Result<RestReply, BlockFailure>>;

/// The type-free form of a block operation.
#[derive(Clone, Copy)]
pub(crate) struct BlockEntry {
    pub(crate) action: &'static str,
    run: Run,
}

impl BlockEntry {
    pub(crate) const fn of<O: BlockOperation>() -> Self
    where
        O::Request: Sync,
    {
        Self { action: O::ACTION, run: run::<O> }
    }
}

impl fmt::Debug for BlockEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action)
    }
}

fn run<'a, O: BlockOperation>(
    cx: &'a BlockCx<'_>,
    call: &'a rest_json::Call,
) -> BoxFuture<'a, Result<RestReply, BlockFailure>>
where
    O::Request: Sync,
{
    Box::pin(async move {
        match O::request(call) {
            Some(request) => O::run(cx, request).await,
            None => Err(Failure::internal("the call is not of the action it was dispatched to").into()),
        }
    })
}

/// Whether the path is one of the EBS direct API's.
pub(in crate::spine) fn is_block_call(call: &Call) -> bool {
    call.path == "/snapshots" || call.path.starts_with("/snapshots/")
}

impl Dispatcher {
    pub(in crate::spine) async fn answer_block(&self, call: &Call, caller: &Caller) -> Answer {
        let headers = readable_headers(call);
        match self.run_block(call, &request_parts(call, &headers), caller).await {
            Ok(reply) => answer(reply, &caller.request_id),
            Err(failure) => refusal(&failure, &caller.request_id),
        }
    }

    async fn run_block(
        &self,
        call: &Call,
        parts: &RequestParts<'_>,
        caller: &Caller,
    ) -> Result<RestReply, BlockFailure> {
        let request = rest_json::Call::parse(parts, &call.body)?;
        let entry = crate::block_operations::ALL.iter().find(|entry| entry.action == request.action());
        let entry = entry.ok_or_else(|| Failure::invalid_action(request.action()))?;
        let cx = BlockCx::new(self, caller, entry.action, &call.body);
        for _ in 0..CONFLICT_RETRIES_MAX {
            match (entry.run)(&cx, &request).await {
                Err(BlockFailure::Failure(failure)) if failure.is_conflict() => {
                    tracing::debug!(action = entry.action, "conflict, again");
                }
                done => return done,
            }
        }
        Err(Failure::internal(format!("{CONFLICT_RETRIES_MAX} conflicts in a row")).into())
    }
}

fn answer(reply: RestReply, request_id: &str) -> Answer {
    let mut headers = reply.headers;
    headers.push(("x-amzn-requestid", request_id.to_owned()));
    Answer {
        status: StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        headers,
        body: reply.body.into(),
    }
}

fn refusal(failure: &BlockFailure, request_id: &str) -> Answer {
    match failure {
        BlockFailure::Fault(fault) => {
            tracing::debug!(request_id, %fault, "call refused");
            answer(fault.reply(), request_id)
        }
        BlockFailure::Failure(failure) => {
            log_failure(request_id, failure);
            refuse(failure, request_id)
        }
    }
}

/// A failure in this API's words.
pub(in crate::spine) fn refuse(failure: &Failure, request_id: &str) -> Answer {
    answer(RestFault::from_code(failure.code, failure.message.as_str()).reply(), request_id)
}
