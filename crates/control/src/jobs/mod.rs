//! Background work, one file a job. This file is written by `cargo xtask codegen`.

use crate::spine::runner::JobEntry;

pub(crate) mod delete_volume;
pub(crate) mod drive_instance;
pub(crate) mod reboot_instance;
pub(crate) mod upload_snapshot;

pub(crate) const ALL: &[JobEntry] = &[
    JobEntry::of::<delete_volume::DeleteVolume>(),
    JobEntry::of::<drive_instance::DriveInstance>(),
    JobEntry::of::<reboot_instance::RebootInstance>(),
    JobEntry::of::<upload_snapshot::UploadSnapshot>(),
];
