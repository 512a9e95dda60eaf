//! The second implementation: a plain overlay as large as the volume, with a bitmap of the sectors it holds.

use super::{VOLUME_BYTES, base_bytes};

const SECTOR: usize = 512;

#[derive(Debug, Clone)]
pub(super) struct Overlay {
    base: Vec<u8>,
    bytes: Vec<u8>,
    written: Vec<bool>,
    /// The content after each step that the volume may show after a crash.
    history: Vec<Vec<u8>>,
}

impl Overlay {
    pub(super) fn new() -> Self {
        let mut base = base_bytes();
        base.resize(VOLUME_BYTES, 0);
        let written = vec![false; VOLUME_BYTES / SECTOR];
        Self { history: vec![base.clone()], bytes: vec![0; VOLUME_BYTES], base, written }
    }

    pub(super) fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = self.base[offset..offset + len].to_vec();
        for sector in offset / SECTOR..(offset + len).div_ceil(SECTOR) {
            if self.written[sector] {
                let (from, to) = ((sector * SECTOR).max(offset), ((sector + 1) * SECTOR).min(offset + len));
                bytes[from - offset..to - offset].copy_from_slice(&self.bytes[from..to]);
            }
        }
        bytes
    }

    pub(super) fn content(&self) -> &[u8] {
        self.history.last().unwrap()
    }

    /// A write that begins or ends within a sector is one step for each such sector, in order.
    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        let mut at = offset;
        let mut rest = data;
        let to_boundary = (SECTOR - offset % SECTOR) % SECTOR;
        let (head, middle_and_tail) = rest.split_at(to_boundary.min(rest.len()));
        let (middle, tail) = middle_and_tail.split_at(middle_and_tail.len() / SECTOR * SECTOR);
        for part in [head, middle, tail] {
            self.step(at, part);
            at += part.len();
            rest = &rest[part.len()..];
        }
        assert!(rest.is_empty());
    }

    pub(super) fn zero(&mut self, offset: usize, len: usize) {
        self.write(offset, &vec![0; len]);
    }

    pub(super) fn trim(&mut self, offset: usize, len: usize) {
        let (from, to) = (offset.next_multiple_of(SECTOR), (offset + len) / SECTOR * SECTOR);
        if from < to {
            self.step(from, &vec![0; to - from]);
        }
    }

    fn step(&mut self, offset: usize, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        for sector in offset / SECTOR..(offset + data.len()).div_ceil(SECTOR) {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            let before = self.read(range.start, SECTOR);
            self.bytes[range].copy_from_slice(&before);
            self.written[sector] = true;
        }
        self.bytes[offset..offset + data.len()].copy_from_slice(data);
        self.history.push(self.read(0, VOLUME_BYTES));
    }

    pub(super) fn steps(&self) -> usize {
        self.history.len() - 1
    }

    /// The latest step not before `flushed` after which the content was this; the overlay goes back to it.
    pub(super) fn rewind_to(&mut self, content: &[u8], flushed: usize) -> Option<usize> {
        let step = (flushed..self.history.len()).rev().find(|step| self.history[*step] == content)?;
        self.history.truncate(step + 1);
        self.bytes.copy_from_slice(content);
        self.written.fill(true);
        Some(step)
    }
}
