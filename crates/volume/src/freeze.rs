//! Live snapshots: a frozen layer is a sequence number, made while writes go on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use blockstore::offload;
use futures::future::try_join_all;
use tokio::sync::MutexGuard;

use crate::error::{Error, Result};
use crate::extent_map::{ExtentMap, Place};
use crate::format::{Body, KEY_BYTES_MAX, SECTOR_BYTES};
use crate::io::bytes_of;
use crate::log::Log;
use crate::metadata::Metadata;
use crate::recovery::replay;
use crate::segment::{Segment, Segments};
use crate::volume::{Inner, Volume};

/// A frozen layer: the volume as it was after the write with this sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freeze {
    pub seq: u64,
}

/// A run of bytes of a frozen layer that were written over the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub offset_bytes: u64,
    pub len_bytes: u64,
    pub kind: ExtentKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtentKind {
    Data,
    Zero,
}

impl Volume {
    /// Freezes the volume as it is now, under `key`. Once this returns, the layer survives any crash until it
    /// is released. The same key gives the same layer again.
    pub async fn freeze(&self, key: &str) -> Result<Freeze> {
        let frozen = Self::freeze_together(&[(self, key)]).await?;
        frozen.first().copied().ok_or_else(|| Error::invalid("a freeze of no volume"))
    }

    /// Freezes several volumes at one instant, each under a key of its own: of two writes to any of them, the
    /// second begun after the first was acknowledged, the layers have both, none, or the first.
    ///
    /// The same keys give the same layers again. Where only some are known, an earlier call ended half way:
    /// nobody was told of those layers, and new ones take their place.
    pub async fn freeze_together(freezes: &[(&Self, &str)]) -> Result<Vec<Freeze>> {
        if freezes.iter().any(|(_, key)| key.is_empty() || key.len() > KEY_BYTES_MAX) {
            return Err(Error::invalid("the key of a frozen layer has 1 to 255 bytes"));
        }
        // One order for everybody: two calls must not wait for each other.
        let mut ordered: Vec<(usize, &Self, &str)> =
            freezes.iter().enumerate().map(|(at, (volume, key))| (at, *volume, *key)).collect();
        ordered.sort_by_key(|(_, volume, _)| &volume.inner.dir);
        if ordered.windows(2).any(|pair| matches!(pair, [(_, a, _), (_, b, _)] if a.inner.dir == b.inner.dir))
        {
            return Err(Error::invalid("a volume is frozen once at a time"));
        }
        let mut metadata = Vec::with_capacity(ordered.len());
        for (_, volume, _) in &ordered {
            metadata.push(volume.inner.metadata.lock().await);
        }
        let known = metadata.iter().zip(&ordered).map(|(metadata, (.., key))| metadata.frozen(key));
        let known: Option<Vec<u64>> = known.map(|layer| layer.map(|layer| layer.seq)).collect();
        let mut seqs = match known {
            Some(seqs) => seqs,
            None => freeze_anew(&ordered, &mut metadata).await?,
        };
        let mut frozen: Vec<_> =
            ordered.iter().zip(seqs.drain(..)).map(|((at, ..), seq)| (*at, seq)).collect();
        frozen.sort_unstable();
        Ok(frozen.into_iter().map(|(_, seq)| Freeze { seq }).collect())
    }

    /// Says that the frozen layer will not be read again. It stays known as the lower end of a difference.
    /// Releasing twice, or a layer that is long gone, is no error.
    pub async fn release(&self, key: &str) -> Result<()> {
        self.inner.check_open()?;
        let mut metadata = self.inner.metadata.lock().await;
        if metadata.frozen(key).is_none_or(|layer| layer.released) {
            return Ok(());
        }
        let mut next = metadata.clone();
        next.release(key);
        self.inner.write_metadata(&mut metadata, next).await?;
        drop(metadata);
        self.tidy().await;
        Ok(())
    }
}

async fn freeze_anew(
    freezes: &[(usize, &Volume, &str)],
    metadata: &mut [MutexGuard<'_, Metadata>],
) -> Result<Vec<u64>> {
    // Before anybody has to wait.
    for (_, volume, _) in freezes {
        volume.make_spare().await;
    }
    let seqs = append_freezes(freezes)?;
    try_join_all(freezes.iter().map(|(_, volume, _)| volume.flush())).await?;
    for ((metadata, (_, volume, key)), seq) in metadata.iter_mut().zip(freezes).zip(&seqs) {
        let mut next = metadata.clone();
        next.set_frozen(key, *seq);
        volume.inner.write_metadata(metadata, next).await?;
        volume.prepare();
    }
    Ok(seqs)
}

/// The instant: no volume takes a write between the first record and the last.
fn append_freezes(freezes: &[(usize, &Volume, &str)]) -> Result<Vec<u64>> {
    let mut logs = Vec::with_capacity(freezes.len());
    for (_, volume, _) in freezes {
        logs.push(volume.inner.lock_log()?);
        volume.inner.check_writable()?;
    }
    let append = |(log, (_, volume, key)): (&mut std::sync::MutexGuard<'_, Log>, &(usize, &Volume, &str))| {
        let body = Body::Freeze((*key).to_owned());
        let appended = log.append(&body, &[]).map_err(|e| volume.inner.judge(e))?;
        log.seal();
        volume.inner.written_seq.store(appended.seq, Ordering::Release);
        Ok(appended.seq)
    };
    logs.iter_mut().zip(freezes).map(append).collect()
}

impl Inner {
    /// Notes how far the log is durable, so that the next owner need not read the data up to there.
    pub(crate) async fn note_durable(&self) -> Result<()> {
        let mut metadata = self.metadata.lock().await;
        if metadata.durable_seq == self.durable_seq.load(Ordering::Acquire) {
            return Ok(());
        }
        let next = metadata.clone();
        self.write_metadata(&mut metadata, next).await
    }

    /// Replaces the metadata, on disk first.
    pub(crate) async fn write_metadata(&self, current: &mut Metadata, mut next: Metadata) -> Result<()> {
        next.durable_seq = self.durable_seq.load(Ordering::Acquire).max(next.durable_seq);
        let (dir, written) = (self.dir.clone(), next.clone());
        offload(move || written.write(&dir))
            .await
            .map_err(|e| Error::unavailable("write volume.json").with_source(e))??;
        *current = next;
        Ok(())
    }
}

/// A frozen layer's content, read from the volume's directory while its owner, if any, goes on writing.
/// It holds only what the log has; the caller knows the base.
#[derive(Debug)]
pub struct FrozenView {
    size_bytes: u64,
    seq: u64,
    metadata: Metadata,
    map: ExtentMap,
    segments: Segments,
}

impl FrozenView {
    /// Opens the layer `key` of the volume in `dir`. Blocking; reads the headers of the log.
    ///
    /// # Errors
    /// `NotFound` when no such layer is frozen or it was released, `Corrupt` when its log is damaged.
    pub fn open(dir: &Path, key: &str) -> Result<Self> {
        let metadata = Metadata::read(dir)?;
        let layer = metadata.frozen(key).filter(|layer| !layer.released);
        let Some(seq) = layer.map(|layer| layer.seq) else {
            return Err(Error::not_found(format!("no frozen layer {key:?}")));
        };
        let segments = Segment::open_all(dir, false)?;
        let replayed = replay(&metadata, &segments, seq)?;
        if replayed.last.seq != seq {
            return Err(Error::corrupt(format!("the frozen log ends at {}, not {seq}", replayed.last.seq)));
        }
        let segments = replayed.chain.iter().map(|s| (s.segment.id, Arc::clone(&s.segment))).collect();
        Ok(Self { size_bytes: metadata.size_bytes, seq, metadata, map: replayed.map, segments })
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What was written after the layer `prev_key` and up to this one, in order of address; with None,
    /// everything that was written over the base. Extents may hold what they held before, never less.
    ///
    /// # Errors
    /// `NotFound` when `prev_key` is not known (any more), `Invalid` when it is the later of the two.
    pub fn extents_since(&self, prev_key: Option<&str>) -> Result<Vec<Extent>> {
        let after_seq = match prev_key {
            None => 0,
            Some(key) => {
                let layer = self.metadata.frozen(key);
                layer.ok_or_else(|| Error::not_found(format!("no frozen layer {key:?}")))?.seq
            }
        };
        if after_seq > self.seq {
            // Laid over the later layer's content, no extents would make this one.
            return Err(Error::invalid(format!("the frozen layer {prev_key:?} is the later one")));
        }
        let mut extents: Vec<Extent> = Vec::new();
        for (start, sectors, mapping) in self.map.iter().filter(|(_, _, mapping)| mapping.seq > after_seq) {
            let (offset_bytes, len_bytes) = (start * SECTOR_BYTES, sectors * SECTOR_BYTES);
            let kind = if mapping.place == Place::Zero { ExtentKind::Zero } else { ExtentKind::Data };
            match extents.last_mut() {
                Some(last) if last.kind == kind && last.offset_bytes + last.len_bytes == offset_bytes => {
                    last.len_bytes += len_bytes;
                }
                _ => extents.push(Extent { offset_bytes, len_bytes, kind }),
            }
        }
        Ok(extents)
    }

    /// Lays what was written over the base on `buf`, which the caller has filled from the base (or with
    /// anything, inside an extent). Whole sectors only. Blocking.
    pub fn overlay_at(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        let len_bytes = buf.len() as u64;
        let aligned = offset_bytes.is_multiple_of(SECTOR_BYTES) && len_bytes.is_multiple_of(SECTOR_BYTES);
        let inside = offset_bytes.checked_add(len_bytes).is_some_and(|end| end <= self.size_bytes);
        if !aligned || !inside {
            return Err(Error::invalid(format!("{len_bytes} bytes at {offset_bytes} of a frozen layer")));
        }
        let mut rest = buf;
        for piece in self.map.lookup(offset_bytes / SECTOR_BYTES, len_bytes / SECTOR_BYTES) {
            let (part, after) = rest.split_at_mut(bytes_of(piece.sectors));
            rest = after;
            let Some(mapping) = piece.mapping else { continue };
            match (mapping.place, self.segments.get(&mapping.segment)) {
                (Place::Zero, _) => part.fill(0),
                (Place::Data(place), Some(segment)) => segment.read_checked(&place, part)?,
                (Place::Data(_), None) => return Err(Error::corrupt("a mapped segment is not open")),
            }
        }
        Ok(())
    }

    /// Reads log data; what only the base knows reads as zeros. Whole sectors only. Blocking.
    pub fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> Result<()> {
        buf.fill(0);
        self.overlay_at(offset_bytes, buf)
    }
}
