//! volume.json: what a volume is, which layers are frozen, which parts of the log were cleaned away.

use std::fs;
use std::path::Path;

use blockstore::durable;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::segment::Link;

const FILE: &str = "volume.json";
const VERSION: u32 = 1;
/// Released layers are kept this long only as the lower end of a difference.
const RELEASED_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Metadata {
    version: u32,
    pub(crate) size_bytes: u64,
    pub(crate) base_root: Option<String>,
    pub(crate) domain: Option<String>,
    /// Bumped at every open, before the first write.
    pub(crate) generation: u64,
    /// Every group up to this sequence number is durable; less after a crash is damage, not a torn tail.
    pub(crate) durable_seq: u64,
    pub(crate) frozen: Vec<FrozenLayer>,
    /// Sequence numbers whose segments were cleaned away, in order, never touching each other.
    pub(crate) cleaned: Vec<CleanedRange>,
    /// Of everything else, as it is written; the first files of version 1 have none. None in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crc32c: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FrozenLayer {
    pub(crate) key: String,
    pub(crate) seq: u64,
    pub(crate) released: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CleanedRange {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    /// Checksum of the last header, where the chain goes on.
    pub(crate) last_crc: u32,
}

impl Metadata {
    pub(crate) fn new(size_bytes: u64, base_root: Option<String>, domain: Option<String>) -> Self {
        Self {
            version: VERSION,
            size_bytes,
            base_root,
            domain,
            generation: 0,
            durable_seq: 0,
            frozen: Vec::new(),
            cleaned: Vec::new(),
            crc32c: None,
        }
    }

    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let bytes = fs::read(dir.join(FILE)).map_err(|e| Error::io("read volume.json", e))?;
        let mut metadata: Self =
            serde_json::from_slice(&bytes).map_err(|e| Error::corrupt("parse volume.json").with_source(e))?;
        if metadata.version != VERSION {
            return Err(Error::invalid(format!(
                "volume.json has version {}, not {VERSION}",
                metadata.version
            )));
        }
        // A flipped digit of a sequence number would be another moment of the volume, and no error anywhere.
        if metadata.crc32c.take().is_some_and(|crc| crc != crc32c::crc32c(&metadata.text())) {
            return Err(Error::corrupt("checksum of volume.json"));
        }
        Ok(metadata)
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("strings and numbers are always JSON")
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let bytes = Self { crc32c: Some(crc32c::crc32c(&self.text())), ..self.clone() }.text();
        durable::write_file(&dir.join(FILE), &bytes, 0o600).map_err(|e| Error::io("write volume.json", e))
    }

    pub(crate) fn frozen(&self, key: &str) -> Option<&FrozenLayer> {
        self.frozen.iter().find(|layer| layer.key == key)
    }

    /// The newest sequence number that some frozen layer still needs; everything up to it stays.
    pub(crate) fn pinned_seq(&self) -> u64 {
        self.frozen.iter().filter(|layer| !layer.released).map(|layer| layer.seq).max().unwrap_or(0)
    }

    /// A later layer of the same key takes the place of one that nobody was told of.
    pub(crate) fn set_frozen(&mut self, key: &str, seq: u64) {
        self.frozen.retain(|layer| layer.key != key);
        self.frozen.push(FrozenLayer { key: key.to_owned(), seq, released: false });
    }

    /// Marks a layer as no longer needed, and forgets the oldest of those.
    pub(crate) fn release(&mut self, key: &str) {
        for layer in self.frozen.iter_mut().filter(|layer| layer.key == key) {
            layer.released = true;
        }
        let mut surplus =
            self.frozen.iter().filter(|layer| layer.released).count().saturating_sub(RELEASED_MAX);
        self.frozen.retain(|layer| {
            let forget = layer.released && surplus > 0;
            surplus -= usize::from(forget);
            !forget
        });
    }

    pub(crate) fn add_cleaned(&mut self, range: CleanedRange) {
        self.cleaned.push(range);
        self.cleaned.sort_by_key(|range| range.first_seq);
        self.cleaned.dedup_by(|next, range| {
            let touches = range.last_seq + 1 == next.first_seq;
            if touches {
                (range.last_seq, range.last_crc) = (next.last_seq, next.last_crc);
            }
            touches
        });
    }

    pub(crate) fn is_cleaned(&self, seq: u64) -> bool {
        self.cleaned.iter().any(|range| (range.first_seq..=range.last_seq).contains(&seq))
    }

    /// Where the chain goes on after `link`, past what was cleaned away.
    pub(crate) fn skip_cleaned(&self, link: Link) -> Link {
        let range = self.cleaned.iter().find(|range| range.first_seq == link.seq + 1);
        range.map_or(link, |range| Link { seq: range.last_seq, crc: range.last_crc })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_is_refused_or_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut metadata = Metadata::new(1 << 30, Some("root".to_owned()), None);
        metadata.set_frozen("snap-1", 17);
        metadata.add_cleaned(CleanedRange { first_seq: 3, last_seq: 9, last_crc: 77 });
        metadata.write(dir.path()).unwrap();
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, bytes).unwrap();
            if let Ok(found) = Metadata::read(dir.path()) {
                assert_eq!(found, metadata, "bit {bit}");
            }
        }
    }
}
