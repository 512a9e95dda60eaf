//! The one shape of an operation.

use std::future::Future;

use model::Code;
use wire::{FromQuery, ToXml};

use super::access::{Access, Service};
use super::cx::Cx;
use crate::failure::Failure;
use crate::ports::Host;

/// One API action. `run` looks up, checks state, passes `commit_point`, writes, answers; in that order.
pub(crate) trait Operation: Sized + 'static {
    const ACTION: &'static str;
    const SERVICE: Service = Service::Ec2;
    const ACCESS: Access;
    /// Every code that the operation itself gives, beyond those of the dispatcher and of parsing.
    const ERRORS: &'static [Code];
    /// Parameters that EC2 has and that cannot act here yet, without list numbers; giving one is refused
    /// by name. A name stands for everything below it.
    const UNSUPPORTED: &'static [&'static str] = &[];
    /// Whether `complete` has something to add.
    const ASKS_HOST: bool = false;
    type Request: FromQuery + Send + Sync + 'static;
    type Response: ToXml + Send + 'static;

    /// May run more than once: after a conflict the dispatcher starts again with the same request.
    fn run(
        cx: &mut Cx<'_>,
        req: &Self::Request,
    ) -> impl Future<Output = Result<Self::Response, Failure>> + Send;

    /// Adds to a read's answer what only the host knows, after the transaction has ended. For a
    /// write: what should happen on the host before the caller goes on, after the commit; the
    /// answer stays, and a job does it again where it fails.
    fn complete(
        _host: &dyn Host,
        response: Self::Response,
    ) -> impl Future<Output = Result<Self::Response, Failure>> + Send {
        async { Ok(response) }
    }
}
