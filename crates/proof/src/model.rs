//! What must be true: disks as flat arrays, snapshots as a list. Too simple to be wrong.

use std::collections::BTreeMap;
use std::rc::Rc;

use blockstore::Root;

const SECTOR: usize = 512;

/// A disk's whole content, shared by all that hold the same.
pub(crate) type Content = Rc<Vec<u8>>;

/// A volume's content, and what of it a crash may take.
#[derive(Debug)]
pub(crate) struct Disk {
    /// As of the last flush: no crash takes any of it.
    flushed: Vec<u8>,
    /// What was written since, in order, whole or not at all each.
    steps: Vec<Step>,
    /// Steps whose writes were answered.
    answered: usize,
    content: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Step {
    offset: usize,
    bytes: Vec<u8>,
}

impl Disk {
    pub(crate) fn new(content: Vec<u8>) -> Self {
        Self { flushed: content.clone(), steps: Vec::new(), answered: 0, content }
    }

    pub(crate) fn content(&self) -> &[u8] {
        &self.content
    }

    /// A write that was begun. One that begins or ends within a sector is a step for each such sector.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        let head = ((SECTOR - offset % SECTOR) % SECTOR).min(data.len());
        let middle = (data.len() - head) / SECTOR * SECTOR;
        let (head, rest) = data.split_at(head);
        let (middle, tail) = rest.split_at(middle);
        let mut at = offset;
        for part in [head, middle, tail] {
            self.step(at, part);
            at += part.len();
        }
    }

    /// Only whole sectors of a trimmed range become zeros.
    pub(crate) fn trim(&mut self, offset: usize, len: usize) {
        let (from, to) = (offset.next_multiple_of(SECTOR), (offset + len) / SECTOR * SECTOR);
        if from < to {
            self.step(from, &vec![0; to - from]);
        }
    }

    fn step(&mut self, offset: usize, data: &[u8]) {
        if !data.is_empty() {
            self.content[offset..offset + data.len()].copy_from_slice(data);
            self.steps.push(Step { offset, bytes: data.to_vec() });
        }
    }

    /// All that was begun was answered.
    pub(crate) fn answer(&mut self) {
        self.answered = self.steps.len();
    }

    /// All of it is durable.
    pub(crate) fn flush(&mut self) {
        for step in self.steps.drain(..) {
            self.flushed[step.offset..step.offset + step.bytes.len()].copy_from_slice(&step.bytes);
        }
        self.answered = 0;
    }

    /// How many steps may be lost, and how many there are.
    pub(crate) fn steps(&self) -> (usize, usize) {
        (self.steps.len() - self.answered, self.steps.len())
    }

    /// Whether `found` is the content after some step not before `least`; then that is the content from now on.
    fn settle(&mut self, found: &[u8], least: usize) -> bool {
        let mut state = self.flushed.clone();
        let mut fits = (least == 0 && state == found).then_some(0);
        for (number, step) in (1..).zip(&self.steps) {
            state[step.offset..step.offset + step.bytes.len()].copy_from_slice(&step.bytes);
            if number >= least && state == found {
                fits = Some(number);
            }
        }
        let Some(fits) = fits else { return false };
        self.steps.truncate(fits);
        self.answered = fits;
        self.content.copy_from_slice(found);
        true
    }

    /// After a failed write: anything from nothing to all of it happened, and all before it is there.
    pub(crate) fn settle_doubt(&mut self, found: &[u8]) -> bool {
        self.settle(found, self.answered)
    }

    /// After a crash that kept what was answered: recovery makes durable what it finds.
    pub(crate) fn survive_kill(&mut self, found: &[u8]) -> bool {
        let holds = self.settle(found, self.answered);
        self.flush();
        holds
    }

    /// After a crash that took any end of what was not flushed.
    pub(crate) fn survive_cut(&mut self, found: &[u8]) -> bool {
        let holds = self.settle(found, 0);
        self.flush();
        holds
    }
}

/// A snapshot as the model knows it.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) content: Content,
    /// Which domain holds it.
    pub(crate) domain: usize,
    pub(crate) root: Root,
    /// It may be gone already, and must go.
    pub(crate) is_deleted: bool,
}

/// Published snapshots by key.
pub(crate) type Snapshots = BTreeMap<String, Snapshot>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_may_take_what_was_not_flushed_from_its_end_and_nothing_else() {
        let after = |bytes: &[(usize, u8)]| {
            let mut content = vec![0; 2048];
            for (sector, byte) in bytes {
                content[sector * SECTOR..(sector + 1) * SECTOR].fill(*byte);
            }
            content
        };
        let disk = || {
            let mut disk = Disk::new(vec![0; 2048]);
            disk.write(0, &[1; SECTOR]);
            disk.flush();
            disk.write(512, &[2; SECTOR]);
            disk.answer();
            disk.write(1024, &[3; SECTOR]);
            disk
        };
        assert!(disk().survive_cut(&after(&[(0, 1)])));
        assert!(disk().survive_cut(&after(&[(0, 1), (1, 2)])));
        assert!(disk().survive_cut(&after(&[(0, 1), (1, 2), (2, 3)])));
        assert!(!disk().survive_cut(&after(&[])));
        assert!(!disk().survive_cut(&after(&[(0, 1), (2, 3)])));
        assert!(!disk().survive_kill(&after(&[(0, 1)])));
        assert!(disk().survive_kill(&after(&[(0, 1), (1, 2)])));
    }

    #[test]
    fn a_write_of_odd_bytes_is_a_step_for_each_end() {
        let mut disk = Disk::new(vec![0; 2048]);
        disk.write(500, &[7; 1000]);
        assert_eq!(disk.steps(), (3, 3));
        disk.trim(100, 1000);
        assert_eq!(disk.content()[500..512], [7; 12]);
        assert_eq!(disk.content()[512..1024], [0; 512]);
        assert_eq!(disk.content()[1024..1500], [7; 476]);
    }
}
