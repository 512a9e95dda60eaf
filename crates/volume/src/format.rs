//! The bytes of a log segment: groups of a checksummed header and its data. See docs/formats/volume-log.md.
//!
//! Refuses to know: files, order of segments, what the bytes mean to a reader.

/// The unit of addresses and of alignment: what a disk writes whole or not at all.
pub(crate) const SECTOR: usize = 512;
pub(crate) const SECTOR_BYTES: u64 = SECTOR as u64;
/// The unit of data checksums, counted from the start of each entry.
pub(crate) const CHUNK: usize = 4096;
pub(crate) const CHUNK_BYTES: u64 = CHUNK as u64;
/// More data than this is split into several groups.
pub(crate) const GROUP_DATA_MAX: usize = 4 << 20;
const GROUP_DATA_BYTES_MAX: u64 = GROUP_DATA_MAX as u64;
pub(crate) const HEADER_MAX: usize = 64 << 10;
/// Longest key of a frozen layer.
pub(crate) const KEY_BYTES_MAX: usize = 255;

const MAGIC: &[u8; 8] = b"KGVOLLOG";
const VERSION: u16 = 1;
const FIXED_BYTES: usize = 64;
const ENTRY_BYTES: usize = 24;
const CRC_AT: usize = 36;

const KIND_START: u16 = 1;
const KIND_WRITES: u16 = 2;
const KIND_FREEZE: u16 = 3;
const ENTRY_DATA: u32 = 1;
const ENTRY_ZERO: u32 = 2;

/// One record group's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) generation: u64,
    pub(crate) seq: u64,
    /// The header checksum of the group with the sequence number before this one.
    pub(crate) prev_crc: u32,
    pub(crate) body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// The first group of every segment.
    Start,
    Writes(Vec<Entry>),
    Freeze(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset_bytes: u64,
    pub(crate) len_bytes: u64,
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// The bytes follow the header; one CRC32C for each started 4 KiB.
    Data(Vec<u32>),
    Zero,
}

/// A decoded header with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) group: Group,
    pub(crate) crc: u32,
    pub(crate) header_bytes: u64,
    pub(crate) data_bytes: u64,
}

/// An encoded header and its checksum, which the next group repeats.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) header: Vec<u8>,
    pub(crate) crc: u32,
}

pub(crate) fn chunk_crcs(data: &[u8]) -> Vec<u32> {
    data.chunks(CHUNK).map(crc32c::crc32c).collect()
}

/// The header of a group; the caller writes the data of its entries behind it.
pub(crate) fn encode(generation: u64, seq: u64, prev_crc: u32, body: &Body) -> Encoded {
    let mut header = Vec::with_capacity(SECTOR);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&body.kind().to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&generation.to_le_bytes());
    header.extend_from_slice(&seq.to_le_bytes());
    header.extend_from_slice(&prev_crc.to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&body.count().to_le_bytes());
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&body.data_bytes().to_le_bytes());
    header.extend_from_slice(&[0; 8]);
    body.encode(&mut header);
    header.resize(header.len().next_multiple_of(SECTOR), 0);
    let header_bytes = u32::try_from(header.len()).unwrap_or(u32::MAX);
    put(&mut header, 12, &header_bytes.to_le_bytes());
    let crc = crc32c::crc32c(&header);
    put(&mut header, CRC_AT, &crc.to_le_bytes());
    Encoded { header, crc }
}

impl Body {
    const fn kind(&self) -> u16 {
        match self {
            Self::Start => KIND_START,
            Self::Writes(_) => KIND_WRITES,
            Self::Freeze(_) => KIND_FREEZE,
        }
    }

    /// Entries of writes, bytes of a key.
    fn count(&self) -> u32 {
        let count = match self {
            Self::Start => 0,
            Self::Writes(entries) => entries.len(),
            Self::Freeze(key) => key.len(),
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn data_bytes(&self) -> u64 {
        match self {
            Self::Start | Self::Freeze(_) => 0,
            Self::Writes(entries) => entries.iter().map(Entry::data_bytes).sum(),
        }
    }

    fn encode(&self, header: &mut Vec<u8>) {
        match self {
            Self::Start => {}
            Self::Freeze(key) => header.extend_from_slice(key.as_bytes()),
            Self::Writes(entries) => {
                for entry in entries {
                    let kind = if entry.data_bytes() > 0 { ENTRY_DATA } else { ENTRY_ZERO };
                    header.extend_from_slice(&kind.to_le_bytes());
                    header.extend_from_slice(&[0; 4]);
                    header.extend_from_slice(&entry.offset_bytes.to_le_bytes());
                    header.extend_from_slice(&entry.len_bytes.to_le_bytes());
                }
                for crc in entries.iter().flat_map(Entry::crcs) {
                    header.extend_from_slice(&crc.to_le_bytes());
                }
            }
        }
    }
}

impl Entry {
    /// How many bytes of data follow the header for this entry.
    pub(crate) const fn data_bytes(&self) -> u64 {
        match self.content {
            Content::Data(_) => self.len_bytes,
            Content::Zero => 0,
        }
    }

    fn crcs(&self) -> &[u32] {
        match &self.content {
            Content::Data(crcs) => crcs,
            Content::Zero => &[],
        }
    }
}

/// How long the header says it is, from its first sector; None when this is no group.
pub(crate) fn header_bytes(first_sector: &[u8]) -> Option<usize> {
    let magic = first_sector.get(..8)? == MAGIC;
    let version = u16_at(first_sector, 8)? == VERSION;
    let len = u32_at(first_sector, 12)? as usize;
    let fits = (SECTOR..=HEADER_MAX).contains(&len);
    (magic && version && fits && len.is_multiple_of(SECTOR)).then_some(len)
}

/// Reads a whole header; None when a bit of it is not as it was written.
pub(crate) fn decode(header: &[u8]) -> Option<Decoded> {
    if header_bytes(header)? != header.len() {
        return None;
    }
    let crc = u32_at(header, CRC_AT)?;
    let mut unsigned = header.to_vec();
    put(&mut unsigned, CRC_AT, &[0; 4]);
    if crc32c::crc32c(&unsigned) != crc {
        return None;
    }
    let count = u32_at(header, 40)? as usize;
    let data_bytes = u64_at(header, 48)?;
    let body = match u16_at(header, 10)? {
        KIND_START => Body::Start,
        KIND_FREEZE if count <= KEY_BYTES_MAX => {
            let key = header.get(FIXED_BYTES..FIXED_BYTES + count)?;
            Body::Freeze(String::from_utf8(key.to_vec()).ok()?)
        }
        KIND_WRITES => Body::Writes(decode_entries(header, count)?),
        _ => return None,
    };
    if body.data_bytes() != data_bytes || data_bytes > GROUP_DATA_BYTES_MAX {
        return None;
    }
    let group = Group {
        generation: u64_at(header, 16)?,
        seq: u64_at(header, 24)?,
        prev_crc: u32_at(header, 32)?,
        body,
    };
    Some(Decoded { group, crc, header_bytes: header.len() as u64, data_bytes })
}

fn decode_entries(header: &[u8], count: usize) -> Option<Vec<Entry>> {
    let table_end = FIXED_BYTES.checked_add(count.checked_mul(ENTRY_BYTES)?)?;
    let table = header.get(FIXED_BYTES..table_end)?;
    let mut crc_at = table_end;
    let mut entries = Vec::with_capacity(count);
    for row in table.chunks_exact(ENTRY_BYTES) {
        let (offset_bytes, len_bytes) = (u64_at(row, 8)?, u64_at(row, 16)?);
        let aligned = offset_bytes.is_multiple_of(SECTOR_BYTES) && len_bytes.is_multiple_of(SECTOR_BYTES);
        if !aligned || len_bytes == 0 || offset_bytes.checked_add(len_bytes).is_none() {
            return None;
        }
        let content = match u32_at(row, 0)? {
            ENTRY_ZERO => Content::Zero,
            ENTRY_DATA if len_bytes <= GROUP_DATA_BYTES_MAX => {
                let crcs_end = crc_at + 4 * usize::try_from(len_bytes.div_ceil(CHUNK_BYTES)).ok()?;
                let crcs = header.get(crc_at..crcs_end)?;
                crc_at = crcs_end;
                Content::Data(crcs.chunks_exact(4).filter_map(|crc| u32_at(crc, 0)).collect())
            }
            _ => return None,
        };
        entries.push(Entry { offset_bytes, len_bytes, content });
    }
    Some(entries)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (0_u64..1 << 30, 1_u64..40, any::<bool>()).prop_map(|(at, sectors, data)| {
            let len_bytes = sectors * SECTOR_BYTES;
            let chunks = usize::try_from(len_bytes.div_ceil(CHUNK_BYTES)).unwrap();
            let content = if data { Content::Data(vec![0xabcd; chunks]) } else { Content::Zero };
            Entry { offset_bytes: at * SECTOR_BYTES, len_bytes, content }
        });
        vec(entry, 0..40)
    }

    fn encode_group(group: &Group) -> Encoded {
        encode(group.generation, group.seq, group.prev_crc, &group.body)
    }

    fn group() -> impl Strategy<Value = Group> {
        let body = prop_oneof![
            Just(Body::Start),
            entries().prop_map(Body::Writes),
            "[a-z0-9-]{0,255}".prop_map(Body::Freeze),
        ];
        (any::<u64>(), any::<u64>(), any::<u32>(), body).prop_map(|(generation, seq, prev_crc, body)| Group {
            generation,
            seq,
            prev_crc,
            body,
        })
    }

    proptest! {
        #[test]
        fn a_header_reads_back(group in group()) {
            let encoded = encode_group(&group);
            let decoded = decode(&encoded.header).unwrap();
            prop_assert_eq!(decoded.crc, encoded.crc);
            prop_assert_eq!(decoded.header_bytes, encoded.header.len() as u64);
            prop_assert_eq!(decoded.group, group);
        }

        #[test]
        fn one_flipped_bit_is_noticed(group in group(), at in any::<prop::sample::Index>()) {
            let mut header = encode_group(&group).header;
            let bit = at.index(header.len() * 8);
            header[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode(&header), None);
        }

        #[test]
        fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..2048), group in group()) {
            prop_assert_eq!(decode(&bytes), None);
            // A valid checksum over nonsense: what follows the checksum test must hold by itself.
            let mut header = encode_group(&group).header;
            for (at, byte) in bytes.iter().enumerate().take(100) {
                if let Some(place) = header.get_mut(40 + at) {
                    *place = *byte;
                }
            }
            put(&mut header, CRC_AT, &[0; 4]);
            let crc = crc32c::crc32c(&header);
            put(&mut header, CRC_AT, &crc.to_le_bytes());
            if let Some(decoded) = decode(&header) {
                prop_assert!(decoded.data_bytes <= GROUP_DATA_BYTES_MAX);
            }
        }
    }
}
