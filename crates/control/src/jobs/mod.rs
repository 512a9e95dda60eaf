//! Background work, one file a job. This file is written by `cargo xtask codegen`.

use crate::spine::runner::JobEntry;

pub(crate) mod abandon_upload;
pub(crate) mod copy_snapshot;
pub(crate) mod create_image;
pub(crate) mod delete_snapshot;
pub(crate) mod delete_volume;
pub(crate) mod drive_instance;
pub(crate) mod keep_record;
pub(crate) mod publish_image;
pub(crate) mod reboot_instance;
pub(crate) mod refresh_instance;
pub(crate) mod upload_snapshot;

pub(crate) const ALL: &[JobEntry] = &[
    JobEntry::of::<abandon_upload::AbandonUpload>(),
    JobEntry::of::<copy_snapshot::CopySnapshot>(),
    JobEntry::of::<create_image::CreateImage>(),
    JobEntry::of::<delete_snapshot::DeleteSnapshot>(),
    JobEntry::of::<delete_volume::DeleteVolume>(),
    JobEntry::of::<drive_instance::DriveInstance>(),
    JobEntry::of::<keep_record::KeepRecord>(),
    JobEntry::of::<publish_image::PublishImage>(),
    JobEntry::of::<reboot_instance::RebootInstance>(),
    JobEntry::of::<refresh_instance::RefreshInstance>(),
    JobEntry::of::<upload_snapshot::UploadSnapshot>(),
];
