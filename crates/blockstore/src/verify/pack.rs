//! One data pack: all of its sections, every frame, every block.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{Defect, PackKey, Verification, chain, stored_node_pack};
use crate::domain::DomainInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::pack::{Directory, FrameEntry, PACK_BYTES_MAX, PackTable};
use crate::format::{BLOCK_BYTES, BlockId, PackId};
use crate::offload::offload;

/// What a look at one pack has found.
#[derive(Debug)]
pub struct PackFinding {
    pub(super) id: PackId,
    pub(super) stored_bytes: u64,
    pub(super) decoded_bytes: u64,
    pub(super) problem: Option<(Defect, String)>,
    /// Ascending.
    pub(super) bad_slots: Vec<Range<u32>>,
}

impl PackFinding {
    pub const fn key(&self) -> PackKey {
        PackKey(self.id)
    }

    pub const fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    pub const fn decoded_bytes(&self) -> u64 {
        self.decoded_bytes
    }

    pub const fn is_whole(&self) -> bool {
        self.problem.is_none()
    }

    const fn new(id: PackId, stored_bytes: u64) -> Self {
        Self { id, stored_bytes, decoded_bytes: 0, problem: None, bad_slots: Vec::new() }
    }

    /// Nothing of it can be read.
    fn lost(mut self, error: &Error) -> Self {
        self.blame(error);
        self.bad_slots.push(0..u32::MAX);
        self
    }

    /// The first thing that is found is told.
    fn blame(&mut self, error: &Error) {
        let defect = match error.kind() {
            ErrorKind::NotFound => Defect::Missing,
            ErrorKind::Unavailable => Defect::Unreadable,
            ErrorKind::Conflict | ErrorKind::Corrupt | ErrorKind::Invalid => Defect::Damaged,
        };
        self.problem.get_or_insert_with(|| (defect, chain(error)));
    }

    fn bad(&mut self, slots: Range<u32>, error: &Error) {
        self.blame(error);
        match self.bad_slots.last_mut() {
            Some(last) if last.end == slots.start => last.end = slots.end,
            _ => self.bad_slots.push(slots),
        }
    }
}

impl Verification {
    /// Reads and checks one pack. Decoding runs beside the caller's runtime, so that several packs
    /// at once use several cores.
    pub async fn check_pack(&self, pack: PackKey) -> PackFinding {
        let id = pack.0;
        let needed = self.packs.get(&id).copied().unwrap_or(0);
        let path = self.domain.pack_path(id);
        let bytes = match self.domain.store.objects.get(&path, PACK_BYTES_MAX).await {
            Ok(bytes) => bytes,
            Err(error) => return PackFinding::new(id, 0).lost(&error),
        };
        let stored_bytes = bytes.len() as u64;
        let whole = decode(&self.domain, &bytes, move |domain, bytes| {
            let directory = directory(domain, id, bytes)?;
            let finding = PackFinding::new(id, stored_bytes);
            Ok(frames(domain, &directory.table, Some(&directory.ids), bytes, needed, finding))
        });
        let error = match whole.await {
            Ok(finding) => return finding,
            Err(error) => error,
        };
        // Its own tables are lost; readers go on with the copy that a node pack has.
        let mut finding = PackFinding::new(id, stored_bytes);
        let Some(table) = self.table_copy(id).await else { return finding.lost(&error) };
        finding.blame(&error);
        let rest = decode(&self.domain, &bytes, move |domain, bytes| {
            Ok(frames(domain, &table, None, bytes, needed, finding))
        });
        match rest.await {
            Ok(finding) => finding,
            Err(error) => PackFinding::new(id, stored_bytes).lost(&error),
        }
    }

    async fn table_copy(&self, id: PackId) -> Option<Arc<PackTable>> {
        if let Some(table) = self.map.table(id) {
            return Some(Arc::clone(table));
        }
        let pack = stored_node_pack(&self.domain, *self.tables_in.get(&id)?).await.ok()?;
        pack.table(id).cloned()
    }
}

async fn decode(
    domain: &Arc<DomainInner>,
    bytes: &Bytes,
    work: impl FnOnce(&DomainInner, &[u8]) -> Result<PackFinding> + Send + 'static,
) -> Result<PackFinding> {
    let (domain, bytes) = (Arc::clone(domain), bytes.clone());
    offload(move || work(&domain, &bytes))
        .await
        .map_err(|e| Error::corrupt("decode a pack").with_source(e))?
}

fn directory(domain: &DomainInner, id: PackId, bytes: &[u8]) -> Result<Directory> {
    let size = bytes.len() as u64;
    let trailer = bytes.last_chunk().ok_or_else(|| Error::corrupt("read pack: it has no trailer"))?;
    let tail = Directory::tail_bytes(trailer, size)?;
    let tail = usize::try_from(size - tail).ok().and_then(|start| bytes.get(start..));
    Directory::parse(&domain.keys, id, tail.unwrap_or_default(), size)
}

fn frames(
    domain: &DomainInner,
    table: &PackTable,
    ids: Option<&[BlockId]>,
    bytes: &[u8],
    needed: u32,
    mut finding: PackFinding,
) -> PackFinding {
    for (number, frame) in (0..).zip(&table.frames) {
        let slots = frame.first_slot..frame.first_slot + u32::from(frame.slots);
        match check_frame(domain, table, number, frame, ids, bytes) {
            Ok(decoded) => finding.decoded_bytes += decoded,
            Err(error) => finding.bad(slots, &error),
        }
    }
    if table.slots < needed {
        let error = Error::corrupt("a leaf names a slot that its pack does not have");
        finding.bad(table.slots..u32::MAX, &error);
    }
    finding
}

/// How many bytes it decoded to.
fn check_frame(
    domain: &DomainInner,
    table: &PackTable,
    number: u32,
    frame: &FrameEntry,
    ids: Option<&[BlockId]>,
    bytes: &[u8],
) -> Result<u64> {
    let range = usize::try_from(frame.offset).ok().zip(usize::try_from(frame.end()).ok());
    let sealed = range.and_then(|(start, end)| bytes.get(start..end));
    let sealed = sealed.ok_or_else(|| Error::corrupt(format!("frame {number} lies beyond the end")))?;
    let blocks = table.open_frame(number, sealed.to_vec())?;
    if let Some(ids) = ids {
        let ids = ids.get(frame.first_slot as usize..).unwrap_or_default();
        let expected = blocks.chunks_exact(BLOCK_BYTES).zip(ids);
        for (block, id) in expected {
            if domain.keys.block_id(block) != *id {
                return Err(Error::corrupt(format!("a block of frame {number} does not match its id")));
            }
        }
    }
    Ok(blocks.len() as u64)
}
