//! From a chain of descriptors, which the guest wrote, to a request.
//!
//! Nothing here is to be trusted: addresses, lengths and the order of descriptors are the guest's, and it may
//! change them at any time. Each is read once; data goes through buffers of our own.

use vm_memory::{Address as _, Bytes as _, GuestAddress, GuestMemoryMmap};

use super::protocol::{HEADER_BYTES, RANGE_BYTES, RANGE_UNMAP, RANGES_MAX, SECTOR_BYTES, kind};

/// A chain of more is broken or hostile.
const DESCRIPTORS_MAX: usize = 1024;
/// A request of more is refused: it is held in memory until it is done.
pub(super) const REQUEST_BYTES_MAX: u64 = 32 << 20;

/// A run of the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) address: GuestAddress,
    pub(super) len_bytes: u32,
}

/// One descriptor as the ring has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) segment: Segment,
    pub(super) is_writable: bool,
    pub(super) has_next: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Flush,
    GetId,
    Discard,
    WriteZeroes,
    Unknown,
}

impl Kind {
    const fn from_number(number: u32) -> Self {
        match number {
            kind::READ => Self::Read,
            kind::WRITE => Self::Write,
            kind::FLUSH => Self::Flush,
            kind::GET_ID => Self::GetId,
            kind::DISCARD => Self::Discard,
            kind::WRITE_ZEROES => Self::WriteZeroes,
            _ => Self::Unknown,
        }
    }

    const fn reads_device(self) -> bool {
        matches!(self, Self::Read | Self::GetId)
    }
}

/// A request that can be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) head: u16,
    pub(super) kind: Kind,
    pub(super) sector: u64,
    /// Where the data comes from or goes to.
    pub(super) data: Vec<Segment>,
    pub(super) data_bytes: u64,
    pub(super) status: GuestAddress,
}

/// Lists of segments that are used again.
#[derive(Debug, Default)]
pub(super) struct Spares {
    lists: Vec<Vec<Segment>>,
}

impl Spares {
    const KEPT_MAX: usize = 64;

    fn take(&mut self) -> Vec<Segment> {
        self.lists.pop().unwrap_or_default()
    }

    pub(super) fn give(&mut self, mut list: Vec<Segment>) {
        if self.lists.len() < Self::KEPT_MAX {
            list.clear();
            self.lists.push(list);
        }
    }
}

/// Reads a chain. The framing is not ours to assume: the header is the first 16 readable bytes and the status
/// the last writable one, however they are cut into descriptors.
///
/// None when there is nowhere to put a status, or no telling where.
pub(super) fn parse(
    head: u16,
    descriptors: impl Iterator<Item = Descriptor>,
    memory: &GuestMemoryMmap,
    spares: &mut Spares,
) -> Option<Request> {
    let (mut readable, mut writable) = (spares.take(), spares.take());
    let parsed = sort(descriptors, &mut readable, &mut writable).and_then(|()| {
        let status = take_last_byte(&mut writable)?;
        let header = take_header(&mut readable, memory);
        Some((status, header))
    });
    let Some((status, header)) = parsed else {
        spares.give(readable);
        spares.give(writable);
        return None;
    };
    let (number, sector) = header.unwrap_or((u32::MAX, 0));
    let kind = Kind::from_number(number);
    let (data, other) = if kind.reads_device() { (writable, readable) } else { (readable, writable) };
    spares.give(other);
    let data_bytes = data.iter().map(|segment| u64::from(segment.len_bytes)).sum();
    Some(Request { head, kind, sector, data, data_bytes, status })
}

/// Readable segments come before writable ones; a chain that ends in the middle was cut by the ring's walker.
fn sort(
    descriptors: impl Iterator<Item = Descriptor>,
    readable: &mut Vec<Segment>,
    writable: &mut Vec<Segment>,
) -> Option<()> {
    let mut ends = false;
    for (position, descriptor) in descriptors.enumerate() {
        if position >= DESCRIPTORS_MAX {
            return None;
        }
        ends = !descriptor.has_next;
        let list = match (descriptor.is_writable, writable.is_empty()) {
            (true, _) => &mut *writable,
            (false, true) => &mut *readable,
            (false, false) => return None,
        };
        if descriptor.segment.len_bytes > 0 {
            list.push(descriptor.segment);
        }
    }
    ends.then_some(())
}

fn take_last_byte(segments: &mut Vec<Segment>) -> Option<GuestAddress> {
    let last = segments.last_mut()?;
    last.len_bytes -= 1;
    let address = last.address.checked_add(u64::from(last.len_bytes))?;
    if last.len_bytes == 0 {
        segments.pop();
    }
    Some(address)
}

/// The type and the sector; None for a header that is too short or nowhere.
fn take_header(segments: &mut Vec<Segment>, memory: &GuestMemoryMmap) -> Option<(u32, u64)> {
    let mut header = [0; HEADER_BYTES];
    let mut rest = header.as_mut_slice();
    while !rest.is_empty() {
        let first = segments.first_mut()?;
        let len = rest.len().min(first.len_bytes as usize);
        let (part, after) = rest.split_at_mut(len);
        memory.read_slice(part, first.address).ok()?;
        rest = after;
        first.len_bytes -= u32::try_from(len).ok()?;
        first.address = first.address.checked_add(len as u64)?;
        if first.len_bytes == 0 {
            segments.remove(0);
        }
    }
    let (number, rest) = header.split_first_chunk::<4>()?;
    let (_, sector) = rest.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), u64::from_le_bytes(*sector.first_chunk()?)))
}

impl Request {
    /// Where data of the request begins on the volume, if it is whole sectors and not too much. Whether it
    /// lies inside the volume, the volume says.
    pub(super) fn place(&self) -> Option<u64> {
        let fits = self.data_bytes <= REQUEST_BYTES_MAX && self.data_bytes.is_multiple_of(SECTOR_BYTES);
        fits.then(|| self.sector.checked_mul(SECTOR_BYTES)).flatten()
    }

    /// Copies the guest's data out; None where it names memory that it does not have.
    pub(super) fn fetch(&self, memory: &GuestMemoryMmap, buf: &mut [u8]) -> Option<()> {
        let mut rest = buf;
        for segment in &self.data {
            let (part, after) = rest.split_at_mut_checked(segment.len_bytes as usize)?;
            memory.read_slice(part, segment.address).ok()?;
            rest = after;
        }
        Some(())
    }

    /// Copies data to the guest, as much as it has room for.
    pub(super) fn deliver(&self, memory: &GuestMemoryMmap, data: &[u8]) -> Option<u32> {
        let mut rest = data;
        for segment in &self.data {
            let (part, after) = rest.split_at(rest.len().min(segment.len_bytes as usize));
            memory.write_slice(part, segment.address).ok()?;
            rest = after;
        }
        u32::try_from(data.len() - rest.len()).ok()
    }
}

/// A part of the volume in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) offset_bytes: u64,
    pub(super) len_bytes: u64,
}

/// Why ranges are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadRanges {
    Malformed,
    UnknownFlag,
}

/// The ranges of a discard, which knows no flag, or of a write of zeros.
pub(super) fn ranges(kind: Kind, data: &[u8]) -> Result<Vec<Range>, BadRanges> {
    let (ranges, rest) = data.as_chunks::<RANGE_BYTES>();
    if !rest.is_empty() || ranges.is_empty() || ranges.len() > RANGES_MAX as usize {
        return Err(BadRanges::Malformed);
    }
    let flags_known = if kind == Kind::WriteZeroes { RANGE_UNMAP } else { 0 };
    ranges.iter().map(|range| parse_range(*range, flags_known)).collect()
}

fn parse_range(range: [u8; RANGE_BYTES], flags_known: u32) -> Result<Range, BadRanges> {
    let number = u128::from_le_bytes(range);
    let word = |shift: u32| u64::try_from(number >> shift & u128::from(u32::MAX)).unwrap_or_default();
    let sector = u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
    if word(96) & !u64::from(flags_known) != 0 {
        return Err(BadRanges::UnknownFlag);
    }
    let offset_bytes = sector.checked_mul(SECTOR_BYTES).ok_or(BadRanges::Malformed)?;
    Ok(Range { offset_bytes, len_bytes: word(64) * SECTOR_BYTES })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MEMORY_BYTES: usize = 64 << 10;

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)]).unwrap()
    }

    fn descriptor(address: u64, len_bytes: u32, is_writable: bool, has_next: bool) -> Descriptor {
        let segment = Segment { address: GuestAddress(address), len_bytes };
        Descriptor { segment, is_writable, has_next }
    }

    fn header(number: u32, sector: u64) -> Vec<u8> {
        [number.to_le_bytes().as_slice(), &[0; 4], &sector.to_le_bytes()].concat()
    }

    fn total(segments: &[Segment]) -> u64 {
        segments.iter().map(|segment| u64::from(segment.len_bytes)).sum()
    }

    proptest! {
        /// The same bytes in the same order are the same request, wherever they are cut.
        #[test]
        fn framing_does_not_matter(
            number in prop::sample::select(vec![kind::READ, kind::WRITE, kind::FLUSH, kind::DISCARD, 77]),
            sector: u64,
            data_bytes in 0_u32..900,
            cuts in vec(1_u32..600, 1..12),
        ) {
            let memory = memory();
            memory.write_slice(&header(number, sector), GuestAddress(0x100)).unwrap();
            let is_read = number == kind::READ;
            let cut = |from: u64, len: u32, is_writable: bool| {
                let (mut at, mut descriptors, mut left) = (from, Vec::new(), len);
                for part in cuts.iter().cycle() {
                    let part = (*part).min(left);
                    if part == 0 { break }
                    descriptors.push(descriptor(at, part, is_writable, true));
                    at += u64::from(part);
                    left -= part;
                }
                descriptors
            };
            let (read, write) = if is_read { (16, data_bytes + 1) } else { (16 + data_bytes, 1) };
            let mut chain = [cut(0x100, read, false), cut(0x8000, write, true)].concat();
            chain.last_mut().unwrap().has_next = false;
            let request = parse(3, chain.into_iter(), &memory, &mut Spares::default()).unwrap();
            prop_assert_eq!((request.head, request.sector), (3, sector));
            prop_assert_eq!(request.kind, Kind::from_number(number));
            prop_assert_eq!(request.data_bytes, u64::from(data_bytes));
            prop_assert_eq!(total(&request.data), u64::from(data_bytes));
            let begins = request.data.first().map(|first| first.address.0);
            let expected = if is_read { 0x8000 } else { 0x110 };
            prop_assert_eq!(begins, (data_bytes > 0).then_some(expected));
            prop_assert_eq!(request.status.0, 0x8000 + u64::from(write) - 1);
        }

        #[test]
        fn no_chain_does_harm(
            chain in vec((any::<u64>(), any::<u32>(), any::<bool>(), prop::bool::weighted(0.9), any::<bool>()), 0..40),
            noise in vec(any::<u8>(), 0..200),
        ) {
            let memory = memory();
            memory.write_slice(&noise, GuestAddress(0)).unwrap();
            let chain = chain.into_iter().map(|(address, len, writable, next, is_near)| {
                let (address, len) = if is_near { (address % 0x1_1000, len % 4096) } else { (address, len) };
                descriptor(address, len, writable, next)
            });
            let mut spares = Spares::default();
            if let Some(request) = parse(0, chain, &memory, &mut spares) {
                let bytes = request.data_bytes;
                prop_assert!(request.place().is_none() || bytes <= REQUEST_BYTES_MAX);
                if request.place().is_some() {
                    let mut buf = vec![0; usize::try_from(bytes).unwrap()];
                    let fetched = request.fetch(&memory, &mut buf);
                    let delivered = request.deliver(&memory, &buf);
                    prop_assert_eq!(fetched.is_some(), delivered.is_some());
                }
                spares.give(request.data);
            }
        }

        #[test]
        fn any_bytes_are_ranges_or_a_refusal(data in vec(any::<u8>(), 0..600), is_zeroes: bool) {
            let kind = if is_zeroes { Kind::WriteZeroes } else { Kind::Discard };
            if let Ok(found) = ranges(kind, &data) {
                prop_assert_eq!(found.len() * RANGE_BYTES, data.len());
            }
        }
    }

    #[test]
    fn ranges_are_read_and_flags_minded() {
        let range = |sector: u64, sectors: u32, flags: u32| {
            [sector.to_le_bytes().as_slice(), &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
        };
        let two = [range(8, 16, 0), range(1, 2, 0)].concat();
        let expected =
            [Range { offset_bytes: 4096, len_bytes: 8192 }, Range { offset_bytes: 512, len_bytes: 1024 }];
        assert_eq!(ranges(Kind::Discard, &two).unwrap(), expected);
        assert_eq!(ranges(Kind::Discard, &range(0, 1, 1)), Err(BadRanges::UnknownFlag));
        assert!(ranges(Kind::WriteZeroes, &range(0, 1, 1)).is_ok());
        assert_eq!(ranges(Kind::WriteZeroes, &range(0, 1, 2)), Err(BadRanges::UnknownFlag));
        assert_eq!(ranges(Kind::Discard, &range(u64::MAX, 1, 0)), Err(BadRanges::Malformed));
        assert_eq!(ranges(Kind::Discard, &vec![0; 33 * 16]), Err(BadRanges::Malformed));
    }

    #[test]
    fn a_chain_without_a_status_or_an_end_is_no_request() {
        let memory = memory();
        let mut spares = Spares::default();
        let mut parsed = |chain: &[Descriptor]| parse(0, chain.iter().copied(), &memory, &mut spares);
        let (reads, writes) = (descriptor(0, 16, false, true), descriptor(64, 1, true, false));
        assert!(parsed(&[reads, writes]).is_some());
        assert_eq!(parsed(&[]), None);
        assert_eq!(parsed(&[descriptor(0, 16, false, false)]), None);
        assert_eq!(parsed(&[reads, descriptor(64, 1, true, true)]), None, "the walker gave up");
        assert_eq!(parsed(&[reads, descriptor(64, 0, true, false)]), None);
        assert_eq!(parsed(&[descriptor(64, 1, true, true), descriptor(0, 16, false, false)]), None);
        assert_eq!(parsed(&vec![reads; DESCRIPTORS_MAX + 1]), None);
        let short = parsed(&[descriptor(0, 15, false, true), writes]).unwrap();
        assert_eq!(short.kind, Kind::Unknown);
        let nowhere = parsed(&[descriptor(u64::MAX - 20, 16, false, true), writes]).unwrap();
        assert_eq!(nowhere.kind, Kind::Unknown);
    }
}
