//! Which request goes wrong, and how: the same for the same seed and order of requests.

use std::time::Duration;

use model::{IdGen, SeededIdGen};

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An error status, and nothing was done.
    Refused(u16),
    /// An error status, though it was done.
    RefusedAfter(u16),
    /// 409 for a conditional put, and nothing was done. A cut answer for anything else.
    Conflict,
    /// The connection ends before anything was done.
    Dropped,
    /// It was done, and the connection ends.
    LostReply,
    /// It is done twice.
    Duplicate,
    /// The connection ends in the middle of the answer's body.
    Truncated,
    Slow(Duration),
}

const KINDS: &[Kind] = &[
    Kind::Refused(500),
    Kind::Refused(503),
    Kind::Refused(429),
    Kind::Refused(408),
    Kind::RefusedAfter(500),
    Kind::RefusedAfter(503),
    Kind::Conflict,
    Kind::Dropped,
    Kind::LostReply,
    Kind::Duplicate,
    Kind::Truncated,
    Kind::Slow(Duration::from_millis(40)),
];

/// How fast a healthy answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pace {
    pub(super) first_byte: Duration,
    pub(super) bytes_a_second: Option<u64>,
}

/// A plan of faults, and a pace.
#[derive(Debug)]
pub struct Faults {
    random: SeededIdGen,
    percent: u8,
    kinds: Vec<Kind>,
    pace: Pace,
}

impl Faults {
    pub fn none() -> Self {
        Self::some(0, 0, &[])
    }

    /// All kinds of faults.
    pub fn all(seed: u64, percent: u8) -> Self {
        Self::some(seed, percent, KINDS)
    }

    pub fn some(seed: u64, percent: u8, kinds: &[Kind]) -> Self {
        Self { random: SeededIdGen::new(seed), percent, kinds: kinds.to_vec(), pace: Pace::default() }
    }

    /// Every answer begins after `first_byte`, and all of them together come at most this fast.
    #[must_use]
    pub fn paced(mut self, first_byte: Duration, bytes_a_second: Option<u64>) -> Self {
        self.pace = Pace { first_byte, bytes_a_second };
        self
    }

    pub(super) const fn pace(&self) -> Pace {
        self.pace
    }

    pub(super) fn next(&mut self) -> Option<Kind> {
        let mut bytes = [0; 2];
        self.random.fill(&mut bytes);
        let [chance, which] = bytes.map(usize::from);
        if chance * 100 >= usize::from(self.percent) * 256 {
            return None;
        }
        self.kinds.get(which % self.kinds.len().max(1)).copied()
    }
}
