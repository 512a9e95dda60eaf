//! A seed's whole history, from an empty world to its end; and how to make a bad one short.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::damage;
use crate::life::{End, live};
use crate::report::{Counts, Failure};
use crate::sim::{Death, Sim};
use crate::world::World;

/// No history is longer; one that is does not get on.
const LIVES_MAX: usize = 10_000;

/// What a history leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// Of every event in its order: the same for the same seed.
    pub trace: u64,
    pub counts: Counts,
}

/// Plays the history of a seed, with so many operations.
pub fn play(seed: u64, operations: usize) -> Result<Played, Failure> {
    let sim = Sim::new(seed);
    let played = catch_unwind(AssertUnwindSafe(|| {
        let world = World::new(sim.clone(), operations);
        all_lives(&world)?;
        damage::inflict(&world)
    }));
    match played {
        Ok(Ok(())) => Ok(Played { trace: sim.hash(), counts: sim.counts() }),
        Ok(Err(what)) => Err(Failure { seed, operations, what, tail: sim.tail() }),
        Err(panic) => {
            let what = format!("panic: {}", message(&*panic));
            Err(Failure { seed, operations, what, tail: sim.tail() })
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of no words")
}

/// A runtime with one thread, on which time passes when all wait for it.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime of one thread needs nothing")
}

fn all_lives(world: &World) -> Result<(), String> {
    for _ in 0..LIVES_MAX {
        let runtime = runtime();
        let end = runtime.block_on(async {
            let end = Box::pin(live(world)).await;
            world.sim.end();
            end
        });
        // Here dies everything that the process had under way.
        drop(runtime);
        match end? {
            End::Finished => {
                world.objects.deliver_all();
                return Ok(());
            }
            End::Died(death) => {
                world.sim.count(|counts| match death {
                    Death::Kill => counts.kills += 1,
                    Death::PowerCut => counts.power_cuts += 1,
                });
                world.revive(death);
                world.rest();
            }
        }
    }
    Err(format!("no end after {LIVES_MAX} lives"))
}

/// The shortest history of the seed that still fails, found by halving.
pub fn shrink(failure: Failure) -> Failure {
    let (mut passes, mut fails) = (0, failure);
    while fails.operations - passes > 1 {
        let middle = passes + (fails.operations - passes) / 2;
        match play(fails.seed, middle) {
            Ok(_) => passes = middle,
            Err(shorter) => fails = shorter,
        }
    }
    fails
}
