//! A guest's driver that keeps one ring of a vhost-user disk busy, and looks for answers without sleeping.

use std::path::Path;
use std::time::Duration;

use model::{Clock as _, SystemClock};
use serde_json::{Value, json};

use super::Result;
use crate::vhost_client::{Client, Data, EVENT_IDX, FLUSH, SLOTS};

const READ: u32 = 0;
const WRITE: u32 = 1;
const SECTOR_BYTES: u64 = 512;

#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) is_write: bool,
    pub(crate) is_sequential: bool,
    pub(crate) depth: u16,
    pub(crate) span_bytes: u64,
    pub(crate) block_bytes: u32,
}

/// Where the next request goes.
struct Places<'a> {
    load: &'a Load,
    state: u64,
    count: u64,
}

impl Places<'_> {
    fn next(&mut self) -> u64 {
        let block = u64::from(self.load.block_bytes);
        let blocks = self.load.span_bytes / block;
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.count += 1;
        let number = if self.load.is_sequential { self.count } else { self.state >> 33 };
        number % blocks * block / SECTOR_BYTES
    }
}

pub(crate) fn load(socket: &Path, load: &Load, seconds: u64) -> Result<Value> {
    let clock = SystemClock::new();
    let depth = load.depth.clamp(1, SLOTS);
    let mut client = Client::connect(socket, 1, load.block_bytes, FLUSH | EVENT_IDX);
    let ring = client.rings.first_mut().ok_or("no ring")?;
    let mut places = Places { load, state: 99, count: 0 };
    let (kind, data) = if load.is_write {
        (WRITE, Data::FromGuest(load.block_bytes))
    } else {
        (READ, Data::ToGuest(load.block_bytes))
    };
    let begin = clock.monotonic();
    let end = begin + Duration::from_secs(seconds);
    let mut sent = vec![begin; usize::from(depth)];
    for slot in 0..depth {
        ring.submit(slot, kind, places.next(), data);
    }
    ring.kick();
    let (mut waits, mut running, mut now) = (Vec::new(), depth, begin);
    while running > 0 {
        let Some(slot) = ring.answered() else {
            std::hint::spin_loop();
            continue;
        };
        if ring.status(slot) != 0 {
            return Err("a request failed".into());
        }
        now = clock.monotonic();
        let began = sent.get_mut(usize::from(slot)).ok_or("an answer to no request")?;
        waits.push(now.saturating_sub(*began));
        *began = now;
        if now < end {
            ring.submit(slot, kind, places.next(), data);
            ring.kick();
        } else {
            running -= 1;
        }
    }
    waits.sort_unstable();
    let p50 = waits.get(waits.len() / 2).map(Duration::as_nanos);
    let nanos = now.saturating_sub(begin).as_nanos();
    Ok(json!({ "requests": waits.len(), "nanos": nanos, "p50_nanos": p50 }))
}
