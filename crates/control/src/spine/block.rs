//! The EBS direct API: the same authentication and accounts, other wire forms.

use super::cx::Caller;
use super::dispatcher::{Answer, Call, Dispatcher};
use crate::failure::Failure;

/// The service's name in credential scopes.
pub(in crate::spine) const SCOPE: &str = "ebs";

/// Whether the path is one of the EBS direct API's.
pub(in crate::spine) fn is_block_call(call: &Call) -> bool {
    call.path == "/snapshots" || call.path.starts_with("/snapshots/")
}

impl Dispatcher {
    pub(in crate::spine) async fn answer_block(&self, call: &Call, caller: &Caller) -> Answer {
        self.refuse(call, &caller.request_id, &Failure::service_not_served(SCOPE))
    }
}
