//! Breaks background work at every place where it can break, and looks whether it recovers.

use std::time::Duration;

use crate::gate::Fault;
use crate::world::World;

/// Longer than any lease: a killed worker's job is due again after it.
const AFTER_THE_LEASE: Duration = Duration::from_secs(31);

/// Runs a scene's jobs once cleanly. Then again for each effect that they had: with the effect
/// failing, with the worker killed before it, and killed after it. Each time the end must be the
/// clean run's, as `end` tells it: states and contents, no times and no random names.
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
        for fault in [Fault::Fail, Fault::Kill] {
            let (world, subject) = scene().await;
            world.gate.plan(Some((at, fault)));
            recover(&world).await;
            let found = end(&world, &subject).await;
            assert_eq!(found, expected, "after {fault:?} at passage {at} of {passages}");
        }
    }
}

/// Runs all work, and where the plan kills the worker, once more as the next process does.
async fn recover(world: &World) {
    tokio::select! {
        () = world.settle() => return,
        () = world.gate.killed() => {}
    }
    world.clock.advance(AFTER_THE_LEASE);
    world.settle().await;
}
