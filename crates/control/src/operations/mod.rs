//! API actions, one file each. This file is written by `cargo xtask codegen`.

use crate::spine::registry::Entry;

mod describe_regions;

pub(crate) const ALL: &[Entry] = &[Entry::of::<describe_regions::DescribeRegions>()];
