//! Sweeps, one file each: they look for drift and enqueue jobs.

use crate::spine::runner::Sweep;

pub(crate) const ALL: &[Sweep] = &[];
