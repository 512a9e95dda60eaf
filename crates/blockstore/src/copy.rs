//! Copies a root into another domain, under that domain's keys. A frame of which all is wanted and nothing
//! is there yet is sealed again as it was compressed.

use futures::{StreamExt, TryStreamExt, stream};

use crate::bulk::{Gathered, WantedFrame};
use crate::domain::{Domain, DomainInner};
use crate::error::{Error, Result};
use crate::format::node::PackRef;
use crate::format::pack::Packed;
use crate::format::{BLOCK_BYTES, BLOCK_BYTES_U64, BlockId, IdMap, LEAF_BLOCKS, PackId};
use crate::index::Place;
use crate::root::Root;
use crate::tree::LeafDifference;
use crate::writer::{WriteStats, Writer};

/// Changed blocks that are gathered before they are copied: those that go block by block are kept until
/// the whole frames have gone.
const GATHERED_MAX: usize = 16 << 10;

/// What a copy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyStats {
    /// Bytes of the blocks that were read from the source.
    pub bytes_read: u64,
    /// Bytes of the sealed frames that hold them.
    pub fetched_bytes: u64,
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
        let (from, to) = base.unzip();
        if from.map(Root::size_bytes) != to.map(Root::size_bytes) {
            return Err(Error::invalid("copy on a base whose copy has another size"));
        }
        let _leases = [Some(root), from].map(|root| source.inner.ledger.lease(root));
        source.inner.ledger.load_map(&source.inner).await?;
        let old = match from {
            Some(from) => Some(source.inner.tree(from).await?),
            None => None,
        };
        let new = source.inner.tree(root).await?;
        let writer = self.writer(to, root.size_bytes()).await?;
        let mut copy = Copy { source, target: self, writer, stats: CopyStats::default() };
        let mut gathered = Gathered::default();
        let mut differences = source.inner.differences(old, Some(new), 0);
        while let Some(leaf) = differences.next().await? {
            copy.gather(leaf, &mut gathered).await?;
            if gathered.len() >= GATHERED_MAX {
                copy.frames(std::mem::take(&mut gathered)).await?;
            }
        }
        copy.frames(gathered).await?;
        let (root, written) = copy.writer.commit().await?;
        Ok((root, CopyStats { written, ..copy.stats }))
    }
}

struct Copy<'a> {
    source: &'a Domain,
    target: &'a Domain,
    writer: Writer,
    stats: CopyStats,
}

/// A frame as it was compressed, decoded, and its blocks' ids in the target.
struct Opened {
    packed: Packed,
    plain: Vec<u8>,
    ids: Vec<BlockId>,
}

impl Opened {
    fn new(packed: Packed, target: &DomainInner) -> Result<Self> {
        let plain = packed.clone().unpack()?;
        let blocks: Vec<&[u8; BLOCK_BYTES]> = plain.as_chunks().0.iter().collect();
        let ids = target.keys.block_ids(&blocks);
        Ok(Self { packed, plain, ids })
    }
}

impl Copy<'_> {
    /// Zeroes what the new leaf no longer has, and gathers what it has elsewhere than the old one.
    async fn gather(&mut self, leaf: LeafDifference, gathered: &mut Gathered) -> Result<()> {
        let domain = &self.source.inner;
        let (old, new) = (domain.places(leaf.a).await?, domain.places(leaf.b).await?);
        let mut packs: IdMap<PackId, PackRef> = IdMap::default();
        if let Some(leaf) = leaf.b {
            packs.extend(domain.leaf(leaf).await?.packs.iter().map(|pack| (pack.id, *pack)));
        }
        let mut block = u64::from(leaf.index) * LEAF_BLOCKS as u64;
        let places: Vec<_> = old.into_iter().zip(new).collect();
        // Only what the old leaf had: the last leaf has room beyond the end of the root.
        let goes = |(old, new): &(Option<Place>, Option<Place>)| old.is_some() && new.is_none();
        for run in places.chunk_by(|a, b| goes(a) == goes(b)) {
            for ((old, new), block) in run.iter().zip(block..) {
                if let Some(new) = new.filter(|_| old != new) {
                    let pack = packs.get(&new.pack).copied();
                    gathered.push(pack.unwrap_or(PackRef { id: new.pack, table_in: None }), new.slot, block);
                }
            }
            let len = run.len() as u64;
            if run.first().is_some_and(goes) {
                self.writer.zero(block * BLOCK_BYTES_U64, len * BLOCK_BYTES_U64).await?;
            }
            block += len;
        }
        Ok(())
    }

    async fn frames(&mut self, gathered: Gathered) -> Result<()> {
        let (source, target) = (&self.source.inner, &self.target.inner);
        let frames = gathered.frames(source).await?;
        let opened = stream::iter(frames).map(|frame| {
            let target = target.clone();
            frame.open(source, move |packed| Opened::new(packed, &target))
        });
        let mut opened = opened.buffered(2 * source.store.options.compression_tasks + 2);
        let (mut placed, mut rest) = (Vec::new(), Vec::new());
        while let Some((frame, opened)) = opened.try_next().await? {
            self.stats.bytes_read += frame.blocks.len() as u64 * BLOCK_BYTES_U64;
            self.stats.fetched_bytes += frame.sealed_bytes();
            if frame.is_whole() && !self.writer.has_any(&opened.ids).await? {
                let first = self.writer.adopt(opened.packed, opened.ids).await?;
                placed.extend(frame.blocks.iter().map(|(block, slot)| (*block, first.after((*slot).into()))));
            } else {
                rest.push((frame, opened));
            }
        }
        drop(opened);
        for (frame, opened) in rest {
            self.blocks(&frame, &opened, &mut placed).await?;
        }
        placed.sort_unstable_by_key(|(block, _)| *block);
        self.writer.put(&placed).await
    }

    /// A frame's blocks one by one.
    async fn blocks(
        &mut self,
        frame: &WantedFrame,
        opened: &Opened,
        placed: &mut Vec<(u64, crate::writer::At)>,
    ) -> Result<()> {
        let blocks = opened.plain.as_chunks().0;
        for (block, slot) in &frame.blocks {
            let found = opened.ids.get(usize::from(*slot)).zip(blocks.get(usize::from(*slot)));
            let (id, bytes) =
                found.ok_or_else(|| Error::corrupt("copy a block that its frame does not have"))?;
            placed.push((*block, self.writer.place(*id, bytes, None).await?));
        }
        Ok(())
    }
}
