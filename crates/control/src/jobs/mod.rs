//! Background work, one file a job. This file is written by `cargo xtask codegen`.

use crate::spine::runner::JobEntry;

pub(crate) const ALL: &[JobEntry] = &[];
