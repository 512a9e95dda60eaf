//! Breaks background work at every place where it can break, and looks whether it recovers.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use blockstore::{DomainSecret, Root};

use crate::gate::Fault;
use crate::world::World;

/// Longer than any lease: a killed worker's job is due again after it.
const AFTER_THE_LEASE: Duration = Duration::from_secs(31);

/// Of a time as rows hold it.
const MILLIS_DIGITS: usize = 13;

/// Of a line, around what is of interest.
const SHOWN_CHARS: usize = 60;

/// How much of a tree is compared; scenes write near the start.
const CONTENT_BYTES: usize = 256 * 1024;

/// Runs a scene's jobs once cleanly. Then again for each effect that they had: with the effect
/// failing, with the worker killed before it and after it, and with a worker that stands still there
/// until another has taken the job over and ended it. Each time the end must be the clean run's, as
/// `end` tells it: states and contents, no times and no random names.
///
/// # Panics
///
/// When an end differs.
pub async fn torture<S>(scene: impl AsyncFn() -> (World, S), end: impl AsyncFn(&World, &S) -> String) {
    let (world, subject) = scene().await;
    world.gate.plan(None);
    world.settle().await;
    let passages = world.gate.count();
    let expected = end(&world, &subject).await;
    assert!(passages > 0, "the scene leaves no work that has effects");
    for at in 0..passages {
        for fault in [Fault::Fail, Fault::Kill, Fault::Pause] {
            let (world, subject) = scene().await;
            world.gate.plan(Some((at, fault)));
            recover(&world, fault).await;
            let found = end(&world, &subject).await;
            let difference = difference(&expected, &found);
            assert!(found == expected, "after {fault:?} at passage {at} of {passages}:\n{difference}");
        }
    }
}

/// Runs all work, and where the plan stops the worker, once more as another process does. What a
/// failed sweep has not seen, the next one sees.
async fn recover(world: &World, fault: Fault) {
    let mut worker = Box::pin(world.settle());
    let is_stopped = tokio::select! {
        () = &mut worker => false,
        () = world.gate.killed() => true,
    };
    let other = world.other_runner().await;
    world.clock.advance(AFTER_THE_LEASE);
    if is_stopped && fault == Fault::Pause {
        world.settle_by(&other).await;
        world.gate.resume();
        worker.await;
    } else {
        drop(worker);
    }
    world.settle_by(&other).await;
}
/// How a world has ended up: every row but for times and counters, what the host holds, and for the
/// roots of trees what they hold.
pub async fn end_state(world: &World) -> String {
    let dump = world.dump().await;
    let (rows, _counters) = dump.split_once("== counters").unwrap_or((&dump, ""));
    let mut text = without_times(&with_contents(world, rows.to_owned()).await);
    for key in world.host.volume_keys() {
        writeln!(text, "{key} holds {:?}", world.host.held_freezes(&key)).expect("strings take everything");
    }
    for id in world.host.machine_ids() {
        writeln!(text, "{id} runs: {}", world.host.is_running(&id)).expect("strings take everything");
    }
    text
}

/// Packs are sealed anew each time and roots name them, so the content stands for the root.
async fn with_contents(world: &World, mut text: String) -> String {
    let mut roots: Vec<String> = text.split(['"', '\\']).filter(|w| is_root(w)).map(str::to_owned).collect();
    roots.sort();
    roots.dedup();
    for root in roots {
        let mut hasher = DefaultHasher::new();
        content(world, &root).await.hash(&mut hasher);
        text = text.replace(&root, &format!("{{content {:016x}}}", hasher.finish()));
    }
    text
}

fn is_root(word: &str) -> bool {
    word.parse::<Root>().is_ok()
}

async fn content(world: &World, root: &str) -> Vec<u8> {
    let root: Root = root.parse().expect("only roots come here");
    let mut tx = world.metastore.read().await.expect("the database in memory works");
    let row = tx.domain_get(root.domain()).await.expect("the database in memory works");
    let secret = DomainSecret::new(row.expect("a root's domain has a row").secret);
    let store = world.other_store().await;
    let reader = store.domain(root.domain(), &secret).reader(&root).await.expect("the tree is whole");
    let mut bytes = vec![0; CONTENT_BYTES];
    reader.read_at(0, &mut bytes).await.expect("the content is whole");
    bytes
}

/// Milliseconds since 1970, and times of day wherever they stand.
fn without_times(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut left = text;
    while let Some(first) = left.chars().next() {
        let digits = left.bytes().take_while(u8::is_ascii_digit).count();
        let len = match left.as_bytes() {
            [_, _, b':', _, _, b':', ..] if digits == 2 => "hh:mm:ss".len(),
            _ => digits,
        };
        let is_time = digits == MILLIS_DIGITS || len > digits;
        let (piece, next) = left.split_at(if len == 0 { first.len_utf8() } else { len });
        shown.push_str(if is_time { "{time}" } else { piece });
        left = next;
    }
    shown
}

/// The lines that only one of two texts has, from where they differ.
fn difference(expected: &str, found: &str) -> String {
    let only = |of: &'_ str, other: &str| -> Vec<String> {
        of.lines().filter(|line| other.lines().all(|o| o != *line)).map(str::to_owned).collect()
    };
    let (missing, new) = (only(expected, found), only(found, expected));
    let mut text = String::new();
    for at in 0..missing.len().max(new.len()) {
        let pair = [missing.get(at), new.get(at)].map(|line| line.map_or("", String::as_str));
        let same = pair[0].chars().zip(pair[1].chars()).take_while(|(a, b)| a == b).count();
        for (mark, line) in ["-", "+"].into_iter().zip(pair) {
            let start: String = line.chars().take(SHOWN_CHARS).collect();
            let from: String =
                line.chars().skip(same.saturating_sub(SHOWN_CHARS)).take(4 * SHOWN_CHARS).collect();
            writeln!(text, "{mark} {start} … {from}").expect("strings take everything");
        }
    }
    text
}
