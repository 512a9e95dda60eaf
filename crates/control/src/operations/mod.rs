//! API actions, one file each. This file is written by `cargo xtask codegen`.

use crate::spine::registry::Entry;

mod create_snapshot;
mod delete_snapshot;
mod describe_images;
mod describe_regions;
mod describe_snapshots;
mod register_image;

pub(crate) const ALL: &[Entry] = &[
    Entry::of::<create_snapshot::CreateSnapshot>(),
    Entry::of::<delete_snapshot::DeleteSnapshot>(),
    Entry::of::<describe_images::DescribeImages>(),
    Entry::of::<describe_regions::DescribeRegions>(),
    Entry::of::<describe_snapshots::DescribeSnapshots>(),
    Entry::of::<register_image::RegisterImage>(),
];
