//! Changed extents, which may be any run of sectors, as runs of whole blocks for the snapshot store.

use std::ops::Range;

use blockstore::BLOCK_BYTES;

use crate::ports::FrozenExtent;

/// Nothing larger is read or held in memory at once.
const SPAN_BYTES_MAX: u64 = 4 << 20;

/// A run of whole blocks, and the changes that lie in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start_bytes: u64,
    pub(super) end_bytes: u64,
    /// Ascending, disjoint, all within the span.
    pub(super) pieces: Vec<FrozenExtent>,
}

impl Span {
    pub(super) fn len_bytes(&self) -> u64 {
        self.end_bytes - self.start_bytes
    }

    /// Whether the changes leave nothing of what was there before.
    pub(super) fn is_covered(&self) -> bool {
        self.pieces.iter().map(|piece| piece.len_bytes).sum::<u64>() == self.len_bytes()
    }

    /// Whether all of it became zeros.
    pub(super) fn is_zero(&self) -> bool {
        self.is_covered() && self.pieces.iter().all(|piece| piece.is_zero)
    }

    /// Puts one change into the span's bytes; None is zeros.
    pub(super) fn lay(
        &self,
        piece: &FrozenExtent,
        data: Option<&[u8]>,
        bytes: &mut [u8],
    ) -> Result<(), &'static str> {
        let from =
            usize::try_from(piece.offset_bytes - self.start_bytes).map_err(|_| "a change too far away")?;
        let len = usize::try_from(piece.len_bytes).map_err(|_| "a change too large")?;
        let target = bytes.get_mut(from..from + len).ok_or("a change outside its span")?;
        match data {
            None => target.fill(0),
            Some(data) if data.len() == len => target.copy_from_slice(data),
            Some(_) => return Err("the host gave another length than it was asked for"),
        }
        Ok(())
    }
}

/// Zeros may be long and cost nothing; data is cut to what fits into memory.
pub(super) fn of(extents: &[FrozenExtent]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for piece in extents.iter().flat_map(|extent| cut(*extent)) {
        let end = piece.offset_bytes + piece.len_bytes;
        let start_bytes = piece.offset_bytes / BLOCK_BYTES * BLOCK_BYTES;
        let end_bytes = end.next_multiple_of(BLOCK_BYTES);
        match spans.last_mut() {
            // Shares a block with the span before, or continues it and still fits.
            Some(last) if start_bytes < last.end_bytes || joins(last, &piece, start_bytes, end_bytes) => {
                last.end_bytes = last.end_bytes.max(end_bytes);
                last.pieces.push(piece);
            }
            _ => spans.push(Span { start_bytes, end_bytes, pieces: vec![piece] }),
        }
    }
    spans
}

/// The parts of the extents that lie in the ranges; both ascending.
pub(super) fn within(extents: &[FrozenExtent], ranges: &[Range<u64>]) -> Vec<FrozenExtent> {
    let mut parts = Vec::new();
    let mut ranges = ranges.iter().peekable();
    for extent in extents {
        let end = extent.offset_bytes + extent.len_bytes;
        while ranges.next_if(|range| range.end <= extent.offset_bytes).is_some() {}
        while let Some(range) = ranges.peek().filter(|range| range.start < end) {
            let from = extent.offset_bytes.max(range.start);
            parts.push(FrozenExtent { offset_bytes: from, len_bytes: end.min(range.end) - from, ..*extent });
            if range.end > end {
                break;
            }
            ranges.next();
        }
    }
    parts
}

fn joins(last: &Span, piece: &FrozenExtent, start_bytes: u64, end_bytes: u64) -> bool {
    let fits = end_bytes - last.start_bytes <= SPAN_BYTES_MAX;
    let same_kind = last.pieces.iter().all(|before| before.is_zero == piece.is_zero);
    start_bytes == last.end_bytes && fits && same_kind
}

/// Cuts at block borders: the zeros in the middle apart from their ragged ends, data at multiples of the maximum.
fn cut(extent: FrozenExtent) -> Vec<FrozenExtent> {
    let end = extent.offset_bytes + extent.len_bytes;
    let mut pieces = Vec::new();
    let mut from = extent.offset_bytes;
    while from < end {
        let to = if extent.is_zero { next_zero_cut(from, end) } else { next_data_cut(from, end) };
        pieces.push(FrozenExtent { offset_bytes: from, len_bytes: to - from, is_zero: extent.is_zero });
        from = to;
    }
    pieces
}

fn next_data_cut(from: u64, end: u64) -> u64 {
    end.min((from / SPAN_BYTES_MAX + 1) * SPAN_BYTES_MAX)
}

fn next_zero_cut(from: u64, end: u64) -> u64 {
    let first_border = from.next_multiple_of(BLOCK_BYTES);
    let last_border = end / BLOCK_BYTES * BLOCK_BYTES;
    if from < first_border {
        first_border.min(end)
    } else if from < last_border {
        last_border
    } else {
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(offset_bytes: u64, len_bytes: u64, is_zero: bool) -> FrozenExtent {
        FrozenExtent { offset_bytes, len_bytes, is_zero }
    }

    #[test]
    fn sectors_of_one_block_become_one_span() {
        let spans = of(&[extent(512, 512, false), extent(2048, 512, false), extent(8192, 4096, false)]);
        assert_eq!(spans.len(), 2);
        assert_eq!((spans[0].start_bytes, spans[0].end_bytes), (0, 4096));
        assert!(!spans[0].is_covered());
        assert!(spans[1].is_covered() && !spans[1].is_zero());
    }

    #[test]
    fn long_zeros_stay_one_span_with_ragged_ends_apart() {
        let spans = of(&[extent(512, 64 << 30, true)]);
        assert_eq!(spans.len(), 3);
        assert!(spans[1].is_zero());
        assert!(!spans[0].is_covered() && !spans[2].is_covered());
    }

    #[test]
    fn data_is_cut_to_what_memory_holds_and_nothing_is_lost() {
        let spans = of(&[extent(4096, 20 << 20, false), extent((20 << 20) + 4096, 4096, true)]);
        assert!(spans.iter().all(|span| span.len_bytes() <= SPAN_BYTES_MAX));
        let total: u64 = spans.iter().flat_map(|span| &span.pieces).map(|piece| piece.len_bytes).sum();
        assert_eq!(total, (20 << 20) + 4096);
        assert!(spans.windows(2).all(|pair| pair[0].end_bytes <= pair[1].start_bytes));
    }

    #[test]
    fn what_lies_outside_of_the_ranges_is_left_out() {
        let extents = [extent(0, 10, false), extent(10, 10, true), extent(30, 10, false)];
        assert_eq!(
            within(&extents, &[2..4, 6..15, 18..35, 40..50]),
            [
                extent(2, 2, false),
                extent(6, 4, false),
                extent(10, 5, true),
                extent(18, 2, true),
                extent(30, 5, false)
            ]
        );
        assert_eq!(within(&extents, &[]), []);
        assert_eq!(within(&extents, &[0..30, 30..100]), extents);
    }

    #[test]
    fn pieces_are_laid_where_they_belong() {
        let spans = of(&[extent(512, 512, false), extent(1024, 512, true)]);
        let mut bytes = vec![9; 4096];
        spans[0].lay(&spans[0].pieces[0], Some(&[1; 512]), &mut bytes).unwrap();
        spans[0].lay(&spans[0].pieces[1], None, &mut bytes).unwrap();
        assert_eq!((bytes[511], bytes[512], bytes[1023], bytes[1024], bytes[1536]), (9, 1, 1, 0, 9));
        assert!(spans[0].lay(&spans[0].pieces[0], Some(&[1; 511]), &mut bytes).is_err());
    }
}
