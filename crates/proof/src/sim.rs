//! The one fate of a run: chance, faults, the moment of the next crash, the trace that a replay must repeat.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Clock, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::disk::SimDisk;
use crate::report::Counts;

/// The clock goes so much faster than the runtime's time, in which requests take milliseconds: collection
/// waits for hours.
const HASTE: u32 = 60;
/// How much of the trace is kept to be shown.
const TAIL_LINES: usize = 40;

/// How often what goes wrong, drawn anew for each seed: rare and frequent faults find different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Of a request: refused without effect.
    pub(crate) refused: u64,
    /// Of a write: done, and the answer lost.
    pub(crate) lost_reply: u64,
    /// Of a read: the line breaks in the middle of the body.
    pub(crate) partial: u64,
    /// Of a write: it arrives once more, later.
    pub(crate) duplicate: u64,
    /// Of a write to the log: the disk is full.
    pub(crate) full_disk: u64,
    /// Of a sync: it fails, and what was not synced is gone.
    pub(crate) failed_sync: u64,
    /// Passages in a life, on average.
    pub(crate) life: u64,
}

impl Weather {
    fn draw(chance: &mut Chance) -> Self {
        let mut pick = |of: &[u64]| of[chance.index(of.len())];
        Self {
            refused: pick(&[0, 20, 60, 300]),
            lost_reply: pick(&[0, 10, 40]),
            partial: pick(&[0, 30, 100]),
            duplicate: pick(&[0, 5, 40]),
            full_disk: pick(&[0, 100, 400]),
            failed_sync: pick(&[0, 0, 200]),
            life: pick(&[120, 500, 2000]),
        }
    }
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// The process is gone; the kernel keeps what it was given.
    Kill,
    /// The host is gone; only what was synced is certain.
    PowerCut,
}

/// Shared by everything that has effects in a run.
#[derive(Debug)]
pub(crate) struct Sim {
    state: Mutex<State>,
    died: Notify,
}

#[derive(Debug)]
struct State {
    chance: Chance,
    weather: Weather,
    /// Faults pause while this is above zero, so that whoever tries again gets through.
    calm: u32,
    /// Passages until the process dies.
    left: u64,
    death: Option<Death>,
    ticks: u64,
    /// On the clock, when this life began; and when that was for the runtime.
    clock: Duration,
    born: Option<Instant>,
    hasher: DefaultHasher,
    tail: VecDeque<String>,
    counts: Counts,
    disks: Vec<Arc<SimDisk>>,
}

impl Sim {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let mut chance = Chance::new(seed);
        let weather = Weather::draw(&mut chance);
        let state = State {
            chance,
            weather,
            calm: 0,
            left: u64::MAX,
            death: None,
            ticks: 0,
            clock: Duration::ZERO,
            born: None,
            hasher: DefaultHasher::new(),
            tail: VecDeque::new(),
            counts: Counts::default(),
            disks: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), died: Notify::new() })
    }

    /// Nothing goes wrong, and nobody dies.
    pub(crate) fn quiet() -> Arc<Self> {
        let sim = Self::new(0);
        sim.calm(true);
        sim
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn weather(&self) -> Weather {
        self.state().weather
    }

    pub(crate) fn below(&self, limit: u64) -> u64 {
        self.state().chance.below(limit)
    }

    pub(crate) fn index(&self, len: usize) -> usize {
        self.state().chance.index(len)
    }

    pub(crate) fn one_in(&self, times: u64) -> bool {
        self.state().chance.one_in(times)
    }

    /// A stream of choices of its own, for whoever makes many at once.
    pub(crate) fn fork(&self) -> Chance {
        Chance::new(self.state().chance.next())
    }

    /// Whether a fault of this rarity strikes now. Counts it.
    pub(crate) fn strikes(&self, times: u64) -> bool {
        let mut state = self.state();
        let strikes = state.calm == 0 && state.death.is_none() && state.chance.one_in(times);
        state.counts.faults += u64::from(strikes);
        strikes
    }

    pub(crate) fn calm(&self, is_calm: bool) {
        let mut state = self.state();
        state.calm = if is_calm { state.calm + 1 } else { state.calm.saturating_sub(1) };
    }

    pub(crate) fn count(&self, with: impl FnOnce(&mut Counts)) {
        with(&mut self.state().counts);
    }

    /// A line of the trace. It must say nothing that differs between replays: no path, no time of day.
    pub(crate) fn note(&self, line: fmt::Arguments<'_>) {
        let mut state = self.state();
        let line = line.to_string();
        state.hasher.write(line.as_bytes());
        if state.tail.len() == TAIL_LINES {
            state.tail.pop_front();
        }
        state.tail.push_back(line);
    }

    /// A counter that only grows, for times of modification.
    pub(crate) fn tick(&self) -> u64 {
        let mut state = self.state();
        state.ticks += 1;
        state.ticks
    }

    /// A place where the process may die. False once it is dead: what happens then has no effect any more.
    pub(crate) fn passage(&self) -> bool {
        let dies = {
            let mut state = self.state();
            if state.death.is_some() {
                return false;
            }
            state.counts.passages += 1;
            state.left = state.left.saturating_sub(1);
            state.left == 0
        };
        if dies {
            let death = if self.one_in(3) { Death::Kill } else { Death::PowerCut };
            self.die(death);
        }
        !dies
    }

    /// The same, for whoever can wait: the dead wait for ever.
    pub(crate) async fn pass(&self) {
        if !self.passage() {
            std::future::pending::<()>().await;
        }
    }

    /// Before anything is told to the model: what a dead process hears, nobody hears.
    pub(crate) async fn alive(&self) {
        if self.state().death.is_some() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends the process here and now. The disks keep what they hold at this moment.
    pub(crate) fn die(&self, death: Death) {
        let disks = {
            let mut state = self.state();
            if state.death.is_some() {
                return;
            }
            state.death = Some(death);
            state.disks.clone()
        };
        for disk in disks {
            disk.remember();
        }
        self.note(format_args!("{death:?}"));
        self.died.notify_one();
    }

    /// Resolves when the process dies.
    pub(crate) async fn death(&self) -> Death {
        loop {
            if let Some(death) = self.state().death {
                return death;
            }
            self.died.notified().await;
        }
    }

    /// Begins a life, on these disks.
    pub(crate) fn be_born(&self, disks: Vec<Arc<SimDisk>>) {
        let mut state = self.state();
        let limit = 2 * state.weather.life;
        state.left = 1 + state.chance.below(limit);
        state.death = None;
        state.disks = disks;
        state.born = Some(instant());
    }

    /// The end of a life, while its runtime is there still.
    pub(crate) fn end(&self) {
        let now = self.monotonic();
        let mut state = self.state();
        (state.clock, state.born) = (now, None);
    }

    /// Time goes by in which nothing happens.
    pub(crate) fn rest(&self, time: Duration) {
        self.state().clock += time;
    }

    /// From here on nobody dies: the run comes to its end.
    pub(crate) fn be_immortal(&self) {
        self.state().left = u64::MAX;
    }

    pub(crate) fn add_disk(&self, disk: &Arc<SimDisk>) {
        self.state().disks.push(Arc::clone(disk));
    }

    pub(crate) fn hash(&self) -> u64 {
        self.state().hasher.finish()
    }

    pub(crate) fn tail(&self) -> Vec<String> {
        self.state().tail.iter().cloned().collect()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts.clone()
    }
}

impl Clock for Sim {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0).plus(self.monotonic())
    }

    fn monotonic(&self) -> Duration {
        let (clock, born) = {
            let state = self.state();
            (state.clock, state.born)
        };
        clock + born.map_or(Duration::ZERO, |born| HASTE * instant().duration_since(born))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock of the simulation: the runtime's, which is paused"
)]
fn instant() -> Instant {
    Instant::now()
}
