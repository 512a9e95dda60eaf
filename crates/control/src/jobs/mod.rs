//! Background work, one file a job. This file is written by `cargo xtask codegen`.

use crate::spine::runner::JobEntry;

pub(crate) mod upload_snapshot;

pub(crate) const ALL: &[JobEntry] = &[JobEntry::of::<upload_snapshot::UploadSnapshot>()];
