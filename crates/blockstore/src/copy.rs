//! Copies a root into another domain, under that domain's keys.

use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::format::{BLOCK_BYTES, BLOCK_BYTES_U64, LEAF_BYTES};
use crate::reader::Reader;
use crate::root::Root;
use crate::tree::LeafDifference;
use crate::writer::{WriteStats, Writer};

/// What a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyStats {
    /// Bytes of the blocks that were read from the source.
    pub bytes_read: u64,
    /// What was written to the target.
    pub written: WriteStats,
}

impl Domain {
    /// Copies `root` of `source` into this domain. `base` is an earlier root of the source and
    /// its copy in this domain: then only what differs from it is read. Either way only what
    /// this domain does not have is stored, so that a copy which was cut short goes on where it
    /// was when it is begun again.
    pub async fn copy_from(
        &self,
        source: &Self,
        root: &Root,
        base: Option<(&Root, &Root)>,
    ) -> Result<(Root, CopyStats)> {
        let reader = source.reader(root).await?;
        let (from, to) = base.unzip();
        if from.map(Root::size_bytes) != to.map(Root::size_bytes) {
            return Err(Error::invalid("copy on a base whose copy has another size"));
        }
        let old = match from {
            Some(from) => Some(source.inner.tree(from).await?),
            None => None,
        };
        let new = source.inner.tree(root).await?;
        let mut writer = self.writer(to, root.size_bytes()).await?;
        let mut bytes_read = 0;
        let mut differences = source.inner.differences(old, Some(new), 0);
        while let Some(leaf) = differences.next().await? {
            bytes_read += copy_leaf(source, &reader, &mut writer, leaf).await?;
        }
        let (root, written) = writer.commit().await?;
        Ok((root, CopyStats { bytes_read, written }))
    }
}

async fn copy_leaf(
    source: &Domain,
    reader: &Reader,
    writer: &mut Writer,
    leaf: LeafDifference,
) -> Result<u64> {
    let start = u64::from(leaf.index) * LEAF_BYTES;
    let (old, new) = (source.inner.places(leaf.a).await?, source.inner.places(leaf.b).await?);
    let states: Vec<_> = old.iter().zip(&new).map(|(old, new)| (old != new, new.is_some())).collect();
    let (mut bytes_read, mut block) = (0, 0u64);
    for run in states.chunk_by(|a, b| a == b) {
        let (offset, len) = (start + block * BLOCK_BYTES_U64, run.len() * BLOCK_BYTES);
        block += run.len() as u64;
        match run.first() {
            Some((true, true)) => {
                let mut bytes = vec![0; len];
                reader.read_at(offset, &mut bytes).await?;
                writer.write(offset, &bytes).await?;
                bytes_read += len as u64;
            }
            Some((true, false)) => writer.zero(offset, len as u64).await?,
            _ => {}
        }
    }
    Ok(bytes_read)
}
