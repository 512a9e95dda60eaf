//! The first and the last thing in a life: to find everything as it was promised.

use std::sync::Arc;

use volume::simulation::Options;
use volume::{Base, ErrorKind, FrozenView, Spec, Volume, ZeroBase};

use super::{Life, Verdict, chain, same};
use crate::model::Snapshot;
use crate::world::Slot;

/// Small enough that a few writes fill one.
const SEGMENT_BYTES: u64 = 48 << 10;

impl Life<'_> {
    pub(super) async fn recover(&self) -> Verdict {
        for slot in 0..self.world.slots.len() {
            self.open_volume(slot).await?;
            self.check_survivor(slot).await?;
        }
        self.finish_deletions().await
    }

    /// Opens the volume of a slot, and makes it first where it is new.
    pub(super) async fn open_volume(&self, slot: usize) -> Verdict {
        let (dir, spec, domain, disk, base) = {
            let slot = self.world.slots[slot].borrow();
            let size_bytes = slot.model.content().len() as u64;
            let base_root = slot.base.as_ref().map(ToString::to_string);
            let spec = Spec { size_bytes, base_root, domain: None };
            (slot.dir.clone(), spec, slot.domain, Arc::clone(&slot.disk), slot.base.clone())
        };
        Volume::create(&dir, &spec).map_err(|e| format!("create a volume: {}", chain(&e)))?;
        let base: Arc<dyn Base> = match &base {
            None => Arc::new(ZeroBase),
            Some(root) => {
                let domain = self.domain(domain);
                Arc::new(self.persist("read a volume's base", || domain.reader(root)).await?)
            }
        };
        let opened = self.persist("open a volume", async || {
            let options = Options { disk: Arc::clone(&disk) as _, segment_bytes_max: Some(SEGMENT_BYTES) };
            Volume::open_with(&dir, Arc::clone(&base), options).await
        });
        *self.volumes[slot].borrow_mut() = Some(opened.await?);
        Ok(())
    }

    /// What a crash left is a state since the last flush, and what was frozen is there.
    async fn check_survivor(&self, slot: usize) -> Verdict {
        let found = self.content(slot).await?;
        let mut guard = self.world.slots[slot].borrow_mut();
        let Slot { id, dir, model, layers, checkpoint, was_cut, .. } = &mut *guard;
        let (may_go, steps) = model.steps();
        self.sim.note(format_args!("recover volume {id}: {steps} steps, {may_go} unanswered"));
        let holds = if *was_cut { model.survive_cut(&found) } else { model.survive_kill(&found) };
        if !holds {
            return Err(format!("volume {id} holds no state since its last flush ({steps} steps)"));
        }
        *was_cut = false;
        let mut kept = Vec::new();
        for mut layer in layers.drain(..) {
            match FrozenView::open(dir, &layer.key) {
                Ok(_) => layer.is_certain = true,
                Err(e) if e.kind() == ErrorKind::NotFound && !layer.is_certain => continue,
                // Published, and released just before the end.
                Err(e)
                    if e.kind() == ErrorKind::NotFound && is_published(&layer.key, checkpoint.as_ref()) =>
                {
                    continue;
                }
                Err(e) => return Err(format!("frozen layer {} is lost: {}", layer.key, chain(&e))),
            }
            kept.push(layer);
        }
        *layers = kept;
        Ok(())
    }

    pub(super) async fn content(&self, slot: usize) -> Verdict<Vec<u8>> {
        let volume = self.volume(slot);
        let len = usize::try_from(volume.size_bytes()).unwrap_or_default();
        self.persist("read a whole volume", async || {
            let mut bytes = vec![0xee; len];
            volume.read_at(0, &mut bytes).await.map(|()| bytes)
        })
        .await
    }

    async fn finish_deletions(&self) -> Verdict {
        let doomed: Vec<(String, Snapshot)> = {
            let snapshots = self.world.snapshots.borrow();
            let doomed = snapshots.iter().filter(|(_, snapshot)| snapshot.is_deleted);
            doomed.map(|(key, snapshot)| (key.clone(), snapshot.clone())).collect()
        };
        for (key, snapshot) in doomed {
            self.delete_snapshot(&key, &snapshot).await?;
        }
        Ok(())
    }

    /// The orderly end: volumes are closed, and hold to the byte what they held.
    pub(super) async fn close(&self) -> Verdict {
        self.sim.be_immortal();
        for slot in 0..self.world.slots.len() {
            let volume = self.volume(slot);
            if let Err(e) = volume.close().await {
                self.die_if_poisoned(slot).await;
                return Err(format!("close a volume: {}", chain(&e)));
            }
            self.world.slots[slot].borrow_mut().model.flush();
            drop(volume);
            self.open_volume(slot).await?;
            let found = self.content(slot).await?;
            same("a volume that was closed", &found, self.world.slots[slot].borrow().model.content())?;
        }
        self.check_library().await?;
        self.collect_all().await?;
        self.check_library().await
    }
}

fn is_published(key: &str, checkpoint: Option<&(String, blockstore::Root)>) -> bool {
    checkpoint.is_some_and(|(published, _)| published == key)
}
