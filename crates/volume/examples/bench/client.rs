//! An NBD client with a number of requests in flight, on one connection and one thread.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use model::{Clock, SystemClock};
use serde_json::{Value, json};

use super::Result;

const BLOCK: usize = 4096;
const BLOCK_BYTES: u64 = BLOCK as u64;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
const REPLY_BYTES: usize = 16;
const READ: u16 = 0;
const WRITE: u16 = 1;
const FLUSH: u16 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Random blocks.
    Read,
    /// Every block of the span once, in an order that looks random.
    Write,
    /// Random blocks, again and again.
    Rewrite,
    /// A write of a random block and a flush count as one.
    Flush,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> std::result::Result<Self, String> {
        match word {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "rewrite" => Ok(Self::Rewrite),
            "flush" => Ok(Self::Flush),
            _ => Err(format!("{word} is neither read, write, rewrite nor flush")),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) kind: Kind,
    pub(crate) depth: usize,
    pub(crate) span_bytes: u64,
}

/// One request that was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

pub(crate) fn load(socket: &Path, load: &Load, seconds: u64) -> Result<Value> {
    let clock = SystemClock::new();
    let stream = connect(socket)?;
    let begin = clock.monotonic();
    let end = begin + Duration::from_secs(seconds);
    let served = drive(stream, load, &clock, |now| now < end)?;
    let nanos = clock.monotonic().saturating_sub(begin).as_nanos();
    let mut waits: Vec<u128> =
        served.iter().map(|served| served.to.saturating_sub(served.from).as_nanos()).collect();
    waits.sort_unstable();
    let percentile = |percent: usize| waits.get(waits.len() * percent / 100).copied();
    Ok(
        json!({ "requests": served.len(), "nanos": nanos, "p50_nanos": percentile(50), "p99_nanos": percentile(99) }),
    )
}

/// Shakes hands the way every server knows, without structured replies.
pub(crate) fn connect(socket: &Path) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.read_exact(&mut [0; 18])?;
    let mut hello = 3_u32.to_be_bytes().to_vec();
    hello.extend_from_slice(b"IHAVEOPT");
    hello.extend_from_slice(&1_u32.to_be_bytes());
    hello.extend_from_slice(&0_u32.to_be_bytes());
    stream.write_all(&hello)?;
    stream.read_exact(&mut [0; 10])?;
    Ok(stream)
}

/// Keeps `depth` requests in flight while `goes_on`, and fetches the answers of the last ones.
pub(crate) fn drive(
    stream: UnixStream,
    load: &Load,
    clock: &SystemClock,
    goes_on: impl Fn(Duration) -> bool,
) -> Result<Vec<Served>> {
    let mut driver = Driver::new(stream, load);
    let mut now = clock.monotonic();
    for slot in 0..load.depth {
        driver.ask(slot, now);
    }
    driver.send()?;
    let mut running = load.depth;
    while running > 0 {
        driver.receive()?;
        now = clock.monotonic();
        let ask = goes_on(now);
        let next = clock.monotonic();
        while let Some(slot) = driver.answer()? {
            if driver.is_half(slot) {
                driver.ask_flush(slot);
                continue;
            }
            driver.done(slot, now);
            if ask && driver.has_more() { driver.ask(slot, next) } else { running -= 1 }
        }
        driver.send()?;
    }
    Ok(driver.served)
}

struct Driver<'a> {
    stream: UnixStream,
    load: &'a Load,
    blocks: u64,
    asked: u64,
    state: u64,
    /// When the request of each slot was sent, and whether its flush is still to come.
    slots: Vec<(Duration, bool)>,
    to_send: Vec<u8>,
    received: Vec<u8>,
    used: usize,
    filled: usize,
    payload: Vec<u8>,
    served: Vec<Served>,
}

impl<'a> Driver<'a> {
    fn new(stream: UnixStream, load: &'a Load) -> Self {
        Self {
            stream,
            load,
            blocks: load.span_bytes / BLOCK_BYTES,
            asked: 0,
            state: 88_172_645_463_325_252,
            slots: vec![(Duration::ZERO, false); load.depth],
            to_send: Vec::new(),
            received: vec![0; 512 << 10],
            used: 0,
            filled: 0,
            payload: (0..BLOCK).map(|at| (at * 7 + 3).to_le_bytes()[0] | 1).collect(),
            served: Vec::with_capacity(2 << 20),
        }
    }

    /// A write asks for each block once: no second touch.
    fn has_more(&self) -> bool {
        self.load.kind != Kind::Write || self.asked < self.blocks
    }

    fn next_block(&mut self) -> u64 {
        if self.load.kind == Kind::Write {
            // Full period for a power of two.
            let block = self.asked.wrapping_mul(0x9e37_79b1).wrapping_add(12_345)
                & (self.blocks.next_power_of_two() - 1);
            return block % self.blocks;
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % self.blocks
    }

    fn ask(&mut self, slot: usize, now: Duration) {
        let block = self.next_block();
        self.asked += 1;
        if let Some(state) = self.slots.get_mut(slot) {
            *state = (now, self.load.kind == Kind::Flush);
        }
        let command = if self.load.kind == Kind::Read { READ } else { WRITE };
        self.request(command, slot, block * BLOCK_BYTES, u32::try_from(BLOCK).unwrap_or_default());
        if command == WRITE {
            self.to_send.extend_from_slice(&self.payload);
        }
    }

    fn ask_flush(&mut self, slot: usize) {
        if let Some(state) = self.slots.get_mut(slot) {
            state.1 = false;
        }
        self.request(FLUSH, slot, 0, 0);
    }

    fn request(&mut self, command: u16, slot: usize, offset_bytes: u64, len_bytes: u32) {
        self.to_send.extend_from_slice(&REQUEST_MAGIC.to_be_bytes());
        self.to_send.extend_from_slice(&0_u16.to_be_bytes());
        self.to_send.extend_from_slice(&command.to_be_bytes());
        self.to_send.extend_from_slice(&(slot as u64).to_be_bytes());
        self.to_send.extend_from_slice(&offset_bytes.to_be_bytes());
        self.to_send.extend_from_slice(&len_bytes.to_be_bytes());
    }

    fn send(&mut self) -> Result<()> {
        if !self.to_send.is_empty() {
            self.stream.write_all(&self.to_send)?;
            self.to_send.clear();
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        self.received.copy_within(self.used..self.filled, 0);
        self.filled -= self.used;
        self.used = 0;
        let read = self.stream.read(self.received.get_mut(self.filled..).unwrap_or_default())?;
        if read == 0 {
            return Err("the server hung up".into());
        }
        self.filled += read;
        Ok(())
    }

    /// The slot of the next whole answer.
    fn answer(&mut self) -> Result<Option<usize>> {
        let data = if self.load.kind == Kind::Read { BLOCK } else { 0 };
        let Some(answer) = self.received.get(self.used..self.filled.min(self.used + REPLY_BYTES + data))
        else {
            return Ok(None);
        };
        let Some((head, _)) = answer.split_first_chunk::<REPLY_BYTES>() else { return Ok(None) };
        if answer.len() < REPLY_BYTES + data {
            return Ok(None);
        }
        let (magic, rest) = head.split_at(4);
        let (error, cookie) = rest.split_at(4);
        if magic != REPLY_MAGIC.to_be_bytes() || error != [0; 4] {
            return Err(format!("the server answered {head:?}").into());
        }
        self.used += REPLY_BYTES + data;
        Ok(Some(usize::try_from(u64::from_be_bytes(cookie.try_into()?))?))
    }

    fn is_half(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|state| state.1)
    }

    fn done(&mut self, slot: usize, now: Duration) {
        let from = self.slots.get(slot).map_or(now, |state| state.0);
        self.served.push(Served { from, to: now });
    }
}
