//! Sweeps, one file each: they look for drift and enqueue jobs.

mod client_tokens;
mod expired_uploads;
mod purge_terminated;
mod watch_machines;

use crate::spine::runner::Sweep;

pub(crate) const ALL: &[Sweep] =
    &[client_tokens::SWEEP, expired_uploads::SWEEP, purge_terminated::SWEEP, watch_machines::SWEEP];
