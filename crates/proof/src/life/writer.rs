//! A volume's guest and its keeper: writes, flushes, freezes, and puts another volume in its place.

use std::rc::Rc;

use volume::Volume;

use super::{Life, Verdict, chain, same};
use crate::chance::Chance;
use crate::sim::Death;
use crate::world::{BLOCK, Layer, Slot, remove};

const WRITE_BYTES_MAX: usize = 12_000;
/// Layers that may wait for their upload.
const LAYERS_MAX: usize = 4;
/// Blocks of the same content come again, so that there is something to deduplicate.
const PATTERNS: u64 = 24;

impl Life<'_> {
    /// Does operations on the volume of a slot for as long as there are any to do.
    pub(super) async fn write(&self, slot: usize) -> Verdict {
        while self.world.take_operation() {
            self.sim.count(|counts| counts.operations += 1);
            // Others get their turn, and time passes between requests of a guest.
            tokio::time::sleep(std::time::Duration::from_millis(self.sim.below(100))).await;
            self.sim.pass().await;
            self.operation(slot).await?;
            if self.sim.one_in(4) {
                self.check_range(slot).await?;
            }
        }
        self.news[slot].notify_one();
        Ok(())
    }

    async fn operation(&self, slot: usize) -> Verdict {
        match self.sim.below(100) {
            0..50 => self.write_some(slot, Kind::Write).await,
            50..58 => self.write_some(slot, Kind::Zero).await,
            58..66 => self.write_some(slot, Kind::Trim).await,
            66..80 => self.flush(slot).await,
            80..92 => self.freeze(slot).await,
            92..96 => self.close_and_open(slot).await,
            _ => self.replace(slot).await,
        }
    }

    async fn write_some(&self, slot: usize, kind: Kind) -> Verdict {
        let volume = self.volume(slot);
        let (offset, data) = self.some_data(slot, kind);
        {
            let mut slot = self.world.slots[slot].borrow_mut();
            match kind {
                Kind::Write | Kind::Zero => slot.model.write(offset, &data),
                Kind::Trim => slot.model.trim(offset, data.len()),
            }
            self.sim.note(format_args!("volume {} {kind:?} {} bytes at {offset}", slot.id, data.len()));
        }
        let (at, len) = (offset as u64, data.len() as u64);
        let done = match kind {
            Kind::Write => volume.write_at(at, &data).await,
            Kind::Zero => volume.write_zeroes(at, len).await,
            Kind::Trim => volume.trim(at, len).await,
        };
        self.sim.alive().await;
        match done {
            Ok(()) => {
                self.world.slots[slot].borrow_mut().model.answer();
                Ok(())
            }
            Err(e) => self.doubt(slot, "write", &e).await,
        }
    }

    /// A range, and what to put there: mostly blocks of few kinds, sometimes odd bytes.
    fn some_data(&self, slot: usize, kind: Kind) -> (usize, Vec<u8>) {
        let size = self.world.slots[slot].borrow().model.content().len();
        let mut chance = self.sim.fork();
        let unit = [1, 512, BLOCK, BLOCK][chance.index(4)];
        // Near the ends, where leaves and bases end too.
        let offset = if chance.one_in(3) { size - chance.index(3 * BLOCK) - 1 } else { chance.index(size) };
        let offset = offset / unit * unit;
        let len = (chance.index(WRITE_BYTES_MAX) + 1).next_multiple_of(unit).min(size - offset);
        if kind != Kind::Write {
            return (offset, vec![0; len]);
        }
        let data = match chance.below(8) {
            0 => vec![0; len],
            1..4 => chance.noise(len),
            _ => {
                let blocks = (0..len.div_ceil(BLOCK)).map(|_| chance.below(PATTERNS));
                blocks.flat_map(|pattern| Chance::new(pattern).noise(BLOCK)).take(len).collect()
            }
        };
        (offset, data)
    }

    /// A refused write may have been done in part. Whatever it is, it must be one of the states in between.
    async fn doubt(&self, slot: usize, what: &str, error: &volume::Error) -> Verdict {
        if error.kind() != volume::ErrorKind::Unavailable {
            return Err(format!("{what}: {}", chain(error)));
        }
        self.die_if_poisoned(slot).await;
        let found = self.content(slot).await?;
        let mut slot = self.world.slots[slot].borrow_mut();
        self.sim.note(format_args!("volume {} refused a {what}", slot.id));
        if slot.model.settle_doubt(&found) {
            return Ok(());
        }
        Err(format!("volume {} holds neither the old nor the new after a refused {what}", slot.id))
    }

    /// After a failed sync nothing but a new owner helps.
    pub(super) async fn die_if_poisoned(&self, slot: usize) {
        if self.volume(slot).stats().is_ok_and(|stats| stats.poisoned) {
            self.sim.die(Death::PowerCut);
            self.sim.alive().await;
        }
    }

    async fn flush(&self, slot: usize) -> Verdict {
        let done = self.volume(slot).flush().await;
        self.sim.alive().await;
        match done {
            Ok(()) => {
                let mut slot = self.world.slots[slot].borrow_mut();
                slot.model.flush();
                self.sim.note(format_args!("volume {} flushed", slot.id));
                self.sim.count(|counts| counts.flushes += 1);
                Ok(())
            }
            Err(e) => self.doubt(slot, "flush", &e).await,
        }
    }

    async fn freeze(&self, slot: usize) -> Verdict {
        let key = format!("snapshot-{}", self.world.number());
        {
            let mut slot = self.world.slots[slot].borrow_mut();
            if slot.layers.len() >= LAYERS_MAX {
                return Ok(());
            }
            let content = Rc::new(slot.model.content().to_vec());
            slot.layers.push(Layer { key: key.clone(), content, is_certain: false });
            self.sim.note(format_args!("volume {} freezes {key}", slot.id));
        }
        let done = self.volume(slot).freeze(&key).await;
        self.sim.alive().await;
        if let Err(e) = done {
            // It may be in the log all the same; the same key again settles it, and nothing was written since.
            self.doubt(slot, "freeze", &e).await?;
            let volume = self.volume(slot);
            self.persist("freeze again", || volume.freeze(&key)).await?;
        }
        let mut guard = self.world.slots[slot].borrow_mut();
        guard.model.flush();
        guard.layers.iter_mut().filter(|layer| layer.key == key).for_each(|layer| layer.is_certain = true);
        self.sim.count(|counts| counts.freezes += 1);
        self.news[slot].notify_one();
        Ok(())
    }

    async fn close_and_open(&self, slot: usize) -> Verdict {
        if !self.world.slots[slot].borrow().layers.is_empty() {
            // The uploader's release needs the owner.
            return Ok(());
        }
        if let Err(e) = self.close_volume(slot).await? {
            return self.doubt(slot, "close", &e).await;
        }
        self.open_volume(slot).await?;
        let found = self.content(slot).await?;
        let guard = self.world.slots[slot].borrow();
        same("a volume that was opened again", &found, guard.model.content())
    }

    pub(super) async fn close_volume(&self, slot: usize) -> Verdict<Result<(), volume::Error>> {
        let volume = self.volume(slot);
        let done = volume.close().await;
        self.sim.alive().await;
        if done.is_err() {
            self.die_if_poisoned(slot).await;
            return Ok(done);
        }
        {
            let mut guard = self.world.slots[slot].borrow_mut();
            guard.model.flush();
            self.sim.note(format_args!("volume {} closed", guard.id));
        }
        if self.sim.one_in(10) {
            // What was closed needs no owner to survive.
            self.sim.die(Death::PowerCut);
            self.sim.alive().await;
        }
        Ok(done)
    }

    /// Deletes the volume, and makes another: empty, or of a snapshot.
    async fn replace(&self, slot: usize) -> Verdict {
        if !self.world.slots[slot].borrow().layers.is_empty() {
            return Ok(());
        }
        if let Err(e) = self.close_volume(slot).await? {
            return self.doubt(slot, "close", &e).await;
        }
        *self.volumes[slot].borrow_mut() = None;
        let origin = if self.sim.one_in(4) { None } else { self.world.any_snapshot() };
        let new: Slot = match &origin {
            None => self.world.empty_slot(),
            Some((_, snapshot)) => self.world.restored_slot(snapshot),
        };
        let origin = origin.as_ref().map_or("nothing", |(key, _)| key.as_str());
        self.sim.note(format_args!("volume {} of {origin}", new.id));
        let old = self.world.slots[slot].replace(new);
        remove(&old.dir);
        self.sim.count(|counts| counts.restores += 1);
        self.open_volume(slot).await?;
        let found = self.content(slot).await?;
        let guard = self.world.slots[slot].borrow();
        same("a new volume", &found, guard.model.content())
    }

    /// A range reads as the model has it, while all else goes on.
    async fn check_range(&self, slot: usize) -> Verdict {
        let volume: Volume = self.volume(slot);
        let (from, expected) = {
            let slot = self.world.slots[slot].borrow();
            let content = slot.model.content();
            let from = self.sim.index(content.len());
            let len = (self.sim.index(3 * BLOCK) + 1).min(content.len() - from);
            (from, content[from..from + len].to_vec())
        };
        let mut found = vec![0xee; expected.len()];
        let read = volume.read_at(from as u64, &mut found).await;
        self.sim.alive().await;
        self.sim.count(|counts| counts.reads += 1);
        match read {
            Ok(()) => same("a read of a volume", &found, &expected),
            Err(e) if e.kind() == volume::ErrorKind::Unavailable => Ok(()),
            Err(e) => Err(format!("read a volume: {}", chain(&e))),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Zero,
    Trim,
}
