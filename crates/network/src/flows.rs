//! The table of conversations: which task gets which packet of the guest.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

/// Packets waiting for one conversation. A conversation never waits for its host socket before it
/// takes packets, so this only fills when the host is out of processor time; TCP's window bounds the
/// rest.
const QUEUE_PACKETS: usize = 512;
/// Bytes of all packets that wait in a table's conversations: what a guest that sends without
/// receiving can make the host hold.
const QUEUED_BYTES_MAX: usize = 32 << 20;

/// A packet on its way to its conversation, counted while it exists.
#[derive(Debug)]
pub(crate) struct Packet {
    bytes: Vec<u8>,
    queued_bytes: Arc<AtomicUsize>,
}

impl Packet {
    /// None when too much waits already.
    fn counted(bytes: &[u8], queued_bytes: &Arc<AtomicUsize>) -> Option<Self> {
        let before = queued_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        let packet = Self { bytes: bytes.to_vec(), queued_bytes: Arc::clone(queued_bytes) };
        (before < QUEUED_BYTES_MAX).then_some(packet)
    }
}

impl Deref for Packet {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        self.queued_bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// One conversation: the guest's port (or echo identifier) and the far end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FlowKey {
    pub(crate) kind: FlowKind,
    pub(crate) guest_port: u16,
    pub(crate) remote: SocketAddrV4,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FlowKind {
    Tcp,
    Udp,
    Echo,
}

#[derive(Debug)]
struct Flow {
    packets: mpsc::Sender<Packet>,
    generation: u64,
    used: Duration,
}

#[derive(Debug, Default)]
struct Table {
    flows: HashMap<FlowKey, Flow>,
    generation: u64,
}

/// A bounded table of conversations, each with a bounded queue.
#[derive(Debug)]
pub(crate) struct Flows {
    table: Mutex<Table>,
    limit: usize,
    queued_bytes: Arc<AtomicUsize>,
}

/// The place of a conversation in the table, given up when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    flows: Arc<Flows>,
    key: FlowKey,
    generation: u64,
}

/// A conversation's end of the table.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) key: FlowKey,
    pub(crate) packets: mpsc::Receiver<Packet>,
    pub(crate) lease: Lease,
}

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Done,
    QueueFull,
    NoSuchFlow,
}

/// What to do when the table is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    Refuse,
    /// The longest unused conversation ends: its receiver sees the end of its queue.
    EvictOldest,
}

impl Flows {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), limit, queued_bytes: Arc::default() })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code under the lock can leave the table half changed.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn deliver(&self, key: &FlowKey, now: Duration, packet: &[u8]) -> Delivery {
        let mut table = self.table();
        let Some(flow) = table.flows.get_mut(key) else { return Delivery::NoSuchFlow };
        flow.used = now;
        let slot = flow.packets.try_reserve().ok();
        match slot.zip(Packet::counted(packet, &self.queued_bytes)) {
            Some((slot, packet)) => {
                slot.send(packet);
                Delivery::Done
            }
            None => Delivery::QueueFull,
        }
    }

    /// Opens a conversation; None when there is one with that key, or no room.
    pub(crate) fn open(self: &Arc<Self>, key: FlowKey, now: Duration, when_full: WhenFull) -> Option<Seat> {
        let mut table = self.table();
        if table.flows.contains_key(&key) {
            return None;
        }
        if table.flows.len() >= self.limit {
            if when_full == WhenFull::Refuse {
                return None;
            }
            let oldest = table.flows.iter().min_by_key(|(_, flow)| flow.used).map(|(key, _)| *key);
            oldest.and_then(|oldest| table.flows.remove(&oldest));
        }
        table.generation += 1;
        let generation = table.generation;
        let (sender, packets) = mpsc::channel(QUEUE_PACKETS);
        table.flows.insert(key, Flow { packets: sender, generation, used: now });
        Some(Seat { key, packets, lease: Lease { flows: Arc::clone(self), key, generation } })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut table = self.flows.table();
        // After an eviction the key may belong to another conversation.
        if table.flows.get(&self.key).is_some_and(|flow| flow.generation == self.generation) {
            table.flows.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(guest_port: u16) -> FlowKey {
        FlowKey { kind: FlowKind::Udp, guest_port, remote: "192.0.2.1:53".parse().unwrap() }
    }

    #[test]
    fn a_full_table_refuses_or_evicts_the_longest_unused() {
        let flows = Flows::new(2);
        let at = Duration::from_secs;
        let mut first = flows.open(key(1), at(1), WhenFull::Refuse).unwrap();
        let _second = flows.open(key(2), at(2), WhenFull::Refuse).unwrap();
        assert!(flows.open(key(1), at(3), WhenFull::EvictOldest).is_none());
        assert!(flows.open(key(3), at(3), WhenFull::Refuse).is_none());
        assert_eq!(flows.deliver(&key(2), at(4), b"x"), Delivery::Done);
        let third = flows.open(key(3), at(5), WhenFull::EvictOldest).unwrap();
        assert!(first.packets.try_recv().is_err());
        drop(first);
        assert_eq!(flows.deliver(&key(3), at(6), b"x"), Delivery::Done);
        drop(third);
        assert_eq!(flows.deliver(&key(3), at(7), b"x"), Delivery::NoSuchFlow);
    }

    #[test]
    fn a_late_lease_leaves_its_successor_alone() {
        let flows = Flows::new(1);
        let open = |port| flows.open(key(port), Duration::ZERO, WhenFull::EvictOldest).unwrap();
        let first = open(1);
        drop(open(2));
        let second = open(1);
        drop(first);
        assert_eq!(flows.deliver(&key(1), Duration::ZERO, b"x"), Delivery::Done);
        drop(second);
    }

    #[test]
    fn all_queues_together_hold_a_bounded_number_of_bytes() {
        let flows = Flows::new(1000);
        let packet = vec![0; 65_536];
        let mut seats: Vec<_> =
            (1..=3).map(|port| flows.open(key(port), Duration::ZERO, WhenFull::Refuse).unwrap()).collect();
        let send = |port| flows.deliver(&key(port), Duration::ZERO, &packet);
        let sent = (0..1000).filter(|n| send(1 + n % 3) == Delivery::Done).count();
        assert_eq!(sent, QUEUED_BYTES_MAX / packet.len());
        drop(seats.remove(0));
        assert_eq!(send(2), Delivery::Done);
    }

    #[test]
    fn a_full_queue_drops() {
        let flows = Flows::new(1);
        let _seat = flows.open(key(1), Duration::ZERO, WhenFull::Refuse).unwrap();
        for _ in 0..QUEUE_PACKETS {
            assert_eq!(flows.deliver(&key(1), Duration::ZERO, b"x"), Delivery::Done);
        }
        assert_eq!(flows.deliver(&key(1), Duration::ZERO, b"x"), Delivery::QueueFull);
    }
}
