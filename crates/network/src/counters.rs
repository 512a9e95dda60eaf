//! What went through a port, for monitoring. Directions are the instance's own, as in its metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// A reading of the counters since the port began. Bytes are whole Ethernet frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// What the instance received.
    pub bytes_in: u64,
    pub packets_in: u64,
    /// What the instance sent, before any of it was dropped.
    pub bytes_out: u64,
    pub packets_out: u64,
    /// Frames with another source than the assigned addresses.
    pub dropped_spoofed: u64,
    /// Frames that do not parse, or that speak a protocol which ends here.
    pub dropped_malformed: u64,
    /// Packets that a rule forbids.
    pub dropped_by_rule: u64,
    /// Packets beyond a bound: too many connections, a full queue.
    pub dropped_by_limit: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Count {
    pub(crate) bytes_in: Cell,
    pub(crate) packets_in: Cell,
    pub(crate) bytes_out: Cell,
    pub(crate) packets_out: Cell,
    pub(crate) dropped_spoofed: Cell,
    pub(crate) dropped_malformed: Cell,
    pub(crate) dropped_by_rule: Cell,
    pub(crate) dropped_by_limit: Cell,
}

#[derive(Debug, Default)]
pub(crate) struct Cell(AtomicU64);

impl Cell {
    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Count {
    pub(crate) fn read(&self) -> Counters {
        Counters {
            bytes_in: self.bytes_in.read(),
            packets_in: self.packets_in.read(),
            bytes_out: self.bytes_out.read(),
            packets_out: self.packets_out.read(),
            dropped_spoofed: self.dropped_spoofed.read(),
            dropped_malformed: self.dropped_malformed.read(),
            dropped_by_rule: self.dropped_by_rule.read(),
            dropped_by_limit: self.dropped_by_limit.read(),
        }
    }
}
