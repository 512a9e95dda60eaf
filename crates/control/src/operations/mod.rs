//! API actions, one file each. This file is written by `cargo xtask codegen`.

use crate::spine::registry::Entry;

mod create_snapshot;
mod delete_snapshot;
mod describe_images;
mod describe_instance_status;
mod describe_instances;
mod describe_regions;
mod describe_snapshots;
mod get_console_output;
mod reboot_instances;
mod register_image;
mod run_instances;
mod start_instances;
mod stop_instances;
mod terminate_instances;

pub(crate) const ALL: &[Entry] = &[
    Entry::of::<create_snapshot::CreateSnapshot>(),
    Entry::of::<delete_snapshot::DeleteSnapshot>(),
    Entry::of::<describe_images::DescribeImages>(),
    Entry::of::<describe_instance_status::DescribeInstanceStatus>(),
    Entry::of::<describe_instances::DescribeInstances>(),
    Entry::of::<describe_regions::DescribeRegions>(),
    Entry::of::<describe_snapshots::DescribeSnapshots>(),
    Entry::of::<get_console_output::GetConsoleOutput>(),
    Entry::of::<reboot_instances::RebootInstances>(),
    Entry::of::<register_image::RegisterImage>(),
    Entry::of::<run_instances::RunInstances>(),
    Entry::of::<start_instances::StartInstances>(),
    Entry::of::<stop_instances::StopInstances>(),
    Entry::of::<terminate_instances::TerminateInstances>(),
];
