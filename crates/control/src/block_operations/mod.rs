//! Actions of the EBS direct API, one file each. This file is written by `cargo xtask codegen`.

use crate::spine::block::BlockEntry;

mod complete_snapshot;
mod get_snapshot_block;
mod list_changed_blocks;
mod list_snapshot_blocks;
mod put_snapshot_block;
mod start_snapshot;

pub(crate) const ALL: &[BlockEntry] = &[
    BlockEntry::of::<complete_snapshot::CompleteSnapshot>(),
    BlockEntry::of::<get_snapshot_block::GetSnapshotBlock>(),
    BlockEntry::of::<list_changed_blocks::ListChangedBlocks>(),
    BlockEntry::of::<list_snapshot_blocks::ListSnapshotBlocks>(),
    BlockEntry::of::<put_snapshot_block::PutSnapshotBlock>(),
    BlockEntry::of::<start_snapshot::StartSnapshot>(),
];

#[cfg(test)]
mod tests;
