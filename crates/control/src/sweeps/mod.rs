//! Sweeps, one file each: they look for drift and enqueue jobs.

mod purge_terminated;
mod watch_machines;

use crate::spine::runner::Sweep;

pub(crate) const ALL: &[Sweep] = &[purge_terminated::SWEEP, watch_machines::SWEEP];
