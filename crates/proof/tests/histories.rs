//! A few histories on every run of the tests; `cargo xtask prove` plays as many as there is time for.

use proof::{OPERATIONS, play};

/// Seeds that once broke a promise, or that go where others do not.
const KEPT: &[(u64, &str)] =
    &[(2, "a damaged copy of a frame table kept readers from blocks that were whole")];

const FRESH: u64 = 6;

#[test]
fn no_history_loses_a_write_or_reads_a_wrong_byte() {
    let kept = KEPT.iter().map(|(seed, _)| *seed);
    for seed in kept.chain(1000..1000 + FRESH) {
        let played = play(seed, OPERATIONS).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(played.counts.operations > 300 && played.counts.reads > 20, "{:?}", played.counts);
    }
}

#[test]
fn a_seed_repeats_its_history_to_the_last_event() {
    for seed in 1..4 {
        let (first, again) = (play(seed, 150), play(seed, 150));
        assert_eq!(first, again);
        assert!(first.is_ok());
    }
}

#[test]
fn every_kind_of_trouble_comes_up() {
    let mut counts = proof::Counts::default();
    // What a seed plays changes with every effect that is added; a few of them have something of everything.
    for seed in 1..40 {
        counts.add(&play(seed, 300).unwrap_or_else(|failure| panic!("{failure}")).counts);
        if seed >= 6 && counts.rows().into_iter().all(|(_, count)| count > 0) {
            break;
        }
    }
    for (what, count) in counts.rows() {
        assert!(count > 0, "no {what} in {counts:?}");
    }
}
