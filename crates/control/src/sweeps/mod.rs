//! Sweeps, one file each: they look for drift and enqueue jobs.

mod client_tokens;
mod collect_store;
mod deleting_volumes;
mod expired_uploads;
mod purge_audit;
mod purge_terminated;
mod watch_machines;

use crate::spine::runner::Sweep;

pub(crate) const ALL: &[Sweep] = &[
    client_tokens::SWEEP,
    collect_store::SWEEP,
    deleting_volumes::SWEEP,
    expired_uploads::SWEEP,
    purge_audit::SWEEP,
    purge_terminated::SWEEP,
    watch_machines::SWEEP,
];
