//! How long reads take, and from when on one is late.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Reads that are remembered; the slowest hundredth of them is late.
const SAMPLES: usize = 512;
/// Reads that must be known before anything is called late early.
const SAMPLES_MIN: usize = 64;
const LATE_UNKNOWN: Duration = Duration::from_secs(2);
const LATE_MIN: Duration = Duration::from_millis(10);
const LATE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Latency {
    samples: Mutex<Samples>,
}

#[derive(Debug)]
struct Samples {
    ring: Vec<Duration>,
    next: usize,
    late: Duration,
}

impl Default for Latency {
    fn default() -> Self {
        let samples = Samples { ring: Vec::new(), next: 0, late: LATE_UNKNOWN };
        Self { samples: Mutex::new(samples) }
    }
}

impl Latency {
    /// A read that is not answered after this time is late.
    pub(super) fn late(&self) -> Duration {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).late
    }

    pub(super) fn note(&self, took: Duration) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let at = samples.next;
        match samples.ring.get_mut(at) {
            Some(sample) => *sample = took,
            None => samples.ring.push(took),
        }
        samples.next = (at + 1) % SAMPLES;
        // Sorting is the dear part, so it is done now and then.
        if samples.next.is_multiple_of(SAMPLES_MIN) {
            let mut sorted = samples.ring.clone();
            sorted.sort_unstable();
            let p99 = sorted.get(sorted.len() * 99 / 100).or(sorted.last()).copied();
            samples.late = p99.unwrap_or(LATE_UNKNOWN).clamp(LATE_MIN, LATE_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_what_one_in_a_hundred_is() {
        let latency = Latency::default();
        assert_eq!(latency.late(), LATE_UNKNOWN);
        for n in 0..u64::try_from(SAMPLES).unwrap() {
            latency.note(Duration::from_millis(20 + n % 100));
        }
        let late = latency.late();
        assert!((Duration::from_millis(115)..=Duration::from_millis(120)).contains(&late), "{late:?}");
        for _ in 0..SAMPLES {
            latency.note(Duration::from_micros(3));
        }
        assert_eq!(latency.late(), LATE_MIN);
    }
}
