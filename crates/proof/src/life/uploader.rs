//! Frozen layers become snapshots while their volume is written to.

use std::collections::BTreeSet;

use blockstore::{BLOCK_BYTES, Domain, ErrorKind, Root};
use volume::{Extent, FrozenView};

use super::{Life, Trouble, Verdict, same};
use crate::world::{BLOCK, Layer};

impl Life<'_> {
    /// Uploads the layers of a slot's volumes until its writer has stopped and none is left.
    pub(super) async fn upload(&self, slot: usize) -> Verdict {
        loop {
            let layer = {
                let slot = self.world.slots[slot].borrow();
                slot.layers.first().filter(|layer| layer.is_certain).cloned()
            };
            match layer {
                Some(layer) => self.upload_layer(slot, &layer).await?,
                None if self.world.budget.get() == 0 && self.world.slots[slot].borrow().layers.is_empty() => {
                    return Ok(());
                }
                None => self.news[slot].notified().await,
            }
        }
    }

    async fn upload_layer(&self, slot: usize, layer: &Layer) -> Verdict {
        // A process that died may have published it, and not have come to its release.
        let published = self.world.slots[slot].borrow().checkpoint.as_ref().map(|(key, _)| key.clone());
        if published.as_ref() != Some(&layer.key) {
            self.publish_layer(slot, layer).await?;
        }
        let volume = self.volume(slot);
        self.persist("release a layer", || volume.release(&layer.key)).await?;
        self.world.slots[slot].borrow_mut().layers.retain(|other| other.key != layer.key);
        Ok(())
    }

    async fn publish_layer(&self, slot: usize, layer: &Layer) -> Verdict {
        let number = self.world.slots[slot].borrow().domain;
        let root = self.persist("upload a layer", || self.store_layer(slot, layer)).await?;
        self.sim.note(format_args!("uploaded {} as {root}", layer.key));
        // Before anybody knows of it, and may delete it.
        if self.sim.one_in(3) {
            self.check_root("an uploaded snapshot", number, &root, &layer.content).await?;
        }
        self.world.publish(&layer.key, &layer.content, number, root.clone());
        self.world.slots[slot].borrow_mut().checkpoint = Some((layer.key.clone(), root));
        self.sim.count(|counts| counts.uploads += 1);
        Ok(())
    }

    /// One attempt. Nothing of it counts until the root is published.
    async fn store_layer(&self, slot: usize, layer: &Layer) -> Result<Root, Hitch> {
        let (dir, domain, base, checkpoint) = {
            let slot = self.world.slots[slot].borrow();
            (slot.dir.clone(), self.domain(slot.domain), slot.base.clone(), slot.checkpoint.clone())
        };
        let view = FrozenView::open(&dir, &layer.key)?;
        let (base, extents) = match checkpoint {
            Some((key, root)) => (Some(root), view.extents_since(Some(&key))?),
            None => (base, view.extents_since(None)?),
        };
        let root = self.store_extents(&domain, &view, base.as_ref(), &extents).await?;
        match domain.publish(&layer.key, &root, base.as_ref()).await {
            // An earlier attempt was through after all.
            Err(e) if e.kind() == ErrorKind::Conflict => Ok(domain.load(&layer.key).await?),
            done => Ok(done.map(|()| root)?),
        }
    }

    async fn store_extents(
        &self,
        domain: &Domain,
        view: &FrozenView,
        base: Option<&Root>,
        extents: &[Extent],
    ) -> Result<Root, Hitch> {
        let reader = match base {
            Some(root) => Some(domain.reader(root).await?),
            None => None,
        };
        let mut writer = domain.writer(base, view.size_bytes()).await?;
        for block in blocks(extents) {
            let offset = block * BLOCK_BYTES;
            let mut bytes = vec![0; BLOCK];
            if let Some(reader) = reader.as_ref().filter(|reader| offset < reader.size_bytes()) {
                reader.read_at(offset, &mut bytes).await?;
            }
            view.overlay_at(offset, &mut bytes)?;
            if bytes.iter().all(|byte| *byte == 0) && block % 2 == 0 {
                writer.zero(offset, BLOCK_BYTES).await?;
            } else {
                writer.write(offset, &bytes).await?;
            }
        }
        Ok(writer.commit().await?.0)
    }

    /// Every byte under a root is the expected one.
    pub(super) async fn check_root(
        &self,
        what: &str,
        domain: usize,
        root: &Root,
        expected: &[u8],
    ) -> Verdict {
        let domain = self.reader(domain);
        let read = async || {
            let reader = domain.reader(root).await?;
            let mut bytes = vec![0xee; usize::try_from(reader.size_bytes()).unwrap_or_default()];
            reader.read_at(0, &mut bytes).await.map(|()| bytes)
        };
        let found = self.persist(what, read).await?;
        self.sim.count(|counts| counts.reads += 1);
        same(what, &found, expected)
    }
}

fn blocks(extents: &[Extent]) -> BTreeSet<u64> {
    let of = |extent: &Extent| {
        extent.offset_bytes / BLOCK_BYTES..(extent.offset_bytes + extent.len_bytes).div_ceil(BLOCK_BYTES)
    };
    extents.iter().flat_map(of).collect()
}

/// What may go wrong with an upload.
#[derive(Debug)]
enum Hitch {
    Store(blockstore::Error),
    /// Trouble with a frozen layer is never one of the weather.
    Layer(volume::Error),
}

impl std::fmt::Display for Hitch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(_) => f.write_str("use the store"),
            Self::Layer(_) => f.write_str("read a frozen layer"),
        }
    }
}

impl std::error::Error for Hitch {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(e) => Some(e),
            Self::Layer(e) => Some(e),
        }
    }
}

impl Trouble for Hitch {
    fn passes(&self) -> bool {
        matches!(self, Self::Store(e) if e.passes())
    }
}

impl From<blockstore::Error> for Hitch {
    fn from(error: blockstore::Error) -> Self {
        Self::Store(error)
    }
}

impl From<volume::Error> for Hitch {
    fn from(error: volume::Error) -> Self {
        Self::Layer(error)
    }
}
