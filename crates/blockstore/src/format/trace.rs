//! Boot traces: what the first launch of a root read, in order. See docs/formats/trace.md.

use super::cursor::{Cursor, put_varint, unzigzag, zigzag};
use super::pack::PACK_BYTES_MAX;
use super::seal::{Seal, Section};
use super::{NodePackId, PackId};
use crate::error::{Error, Result};
use crate::keys::DomainKeys;
use crate::remote::sealed::Part;

/// No trace is longer.
pub(crate) const TRACE_BYTES_MAX: u64 = 1 << 20;
/// No frame is longer once sealed.
const PART_BYTES_MAX: u32 = 2 << 20;

const MAGIC: &[u8; 8] = b"KTGMTRAC";
const TRACE_VERSION: u16 = 1;

/// A hint: whatever it says, only what opens under its seal is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) node_packs: Vec<NodePackId>,
    pub(crate) parts: Vec<Part>,
}

impl Trace {
    /// `salt` must be fresh and random. The root is sealed in.
    pub(crate) fn encode(&self, keys: &DomainKeys, root: NodePackId, salt: [u8; 32]) -> Vec<u8> {
        let mut plain = Vec::new();
        put_varint(&mut plain, self.node_packs.len() as u64);
        plain.extend(self.node_packs.iter().flat_map(|id| id.0));
        let mut packs: Vec<PackId> = Vec::new();
        let mut ends: Vec<u64> = Vec::new();
        let mut rows = Vec::new();
        for part in &self.parts {
            let at = packs.iter().position(|pack| *pack == part.pack).unwrap_or(packs.len());
            if at == packs.len() {
                packs.push(part.pack);
                ends.push(0);
            }
            put_varint(&mut rows, at as u64);
            if let Some(end) = ends.get_mut(at) {
                put_varint(&mut rows, zigzag(part.offset.cast_signed().wrapping_sub(end.cast_signed())));
                *end = part.end();
            }
            put_varint(&mut rows, u64::from(part.len));
        }
        put_varint(&mut plain, packs.len() as u64);
        plain.extend(packs.iter().flat_map(|id| id.0));
        put_varint(&mut plain, self.parts.len() as u64);
        plain.extend(rows);
        let mut out = MAGIC.to_vec();
        out.extend(TRACE_VERSION.to_le_bytes());
        out.extend(salt);
        let seal = Seal::new(&keys.node_key(&salt), &keys.domain);
        out.extend(seal.seal(Section::Trace, 0, &root.0, plain));
        out
    }

    pub(crate) fn parse(keys: &DomainKeys, root: NodePackId, bytes: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(8)? != MAGIC || cursor.u16()? != TRACE_VERSION {
            return Err(Error::corrupt("read boot trace: unknown magic or version"));
        }
        let seal = Seal::new(&keys.node_key(&cursor.array()?), &keys.domain);
        let sealed = bytes.get(42..).unwrap_or_default();
        let plain = seal.open(Section::Trace, 0, &root.0, sealed.to_vec())?;
        Self::parse_plain(&plain)
    }

    pub(super) fn parse_plain(plain: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(plain);
        let count = cursor.count(32)?;
        let mut node_packs = Vec::with_capacity(count);
        for _ in 0..count {
            node_packs.push(NodePackId(cursor.array()?));
        }
        let count = cursor.count(32)?;
        let mut packs = Vec::with_capacity(count);
        for _ in 0..count {
            packs.push((PackId(cursor.array()?), 0u64));
        }
        let count = cursor.count(3)?;
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            let at = usize::try_from(cursor.varint()?).unwrap_or(usize::MAX);
            let (pack, end) =
                packs.get_mut(at).ok_or_else(|| Error::corrupt("read boot trace: it names no such pack"))?;
            let offset = end.checked_add_signed(unzigzag(cursor.varint()?));
            let len = cursor.varint_u32()?;
            let part = offset.map(|offset| Part { pack: *pack, offset, len });
            let part = part.filter(|part| {
                (1..=PART_BYTES_MAX).contains(&len)
                    && part.offset < PACK_BYTES_MAX
                    && part.end() <= PACK_BYTES_MAX
            });
            let part = part.ok_or_else(|| Error::corrupt("read boot trace: a place is impossible"))?;
            *end = part.end();
            parts.push(part);
        }
        cursor.finish()?;
        Ok(Self { node_packs, parts })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::DomainSecret;

    fn keys() -> DomainKeys {
        DomainKeys::derive("d", &DomainSecret::new([7; 32]))
    }

    fn part() -> impl Strategy<Value = Part> {
        let place = (0u8..5, 0u64..PACK_BYTES_MAX - (1 << 20), 1u32..1 << 20);
        place.prop_map(|(pack, offset, len)| Part { pack: PackId([pack; 32]), offset, len })
    }

    proptest! {
        #[test]
        fn traces_survive(parts in prop::collection::vec(part(), 0..60), nodes: Vec<[u8; 32]>, flip: usize) {
            let trace = Trace { node_packs: nodes.into_iter().map(NodePackId).collect(), parts };
            let root = NodePackId([3; 32]);
            let mut bytes = trace.encode(&keys(), root, [5; 32]);
            prop_assert_eq!(&Trace::parse(&keys(), root, &bytes).unwrap(), &trace);
            prop_assert!(Trace::parse(&keys(), NodePackId([4; 32]), &bytes).is_err());
            let at = flip % bytes.len();
            bytes[at] ^= 1;
            prop_assert!(Trace::parse(&keys(), root, &bytes).is_err());
        }

        #[test]
        fn any_plain_bytes_are_parsed_safely(bytes in prop::collection::vec(0u8..40, 0..300)) {
            if let Ok(trace) = Trace::parse_plain(&bytes) {
                prop_assert!(trace.parts.iter().all(|part| part.end() <= PACK_BYTES_MAX));
            }
        }
    }
}
