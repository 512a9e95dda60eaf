//! The simulation that looks for lost writes and wrong reads: one model of disks and snapshots against the
//! real volumes and the real store, on a disk that forgets, a store that fails, and with a process that
//! may die at any await.
//!
//! One seed is one history, to the last event. docs/decisions/0018-proof.md says why it is built so,
//! README.md how it is run. Never part of the product.

#![expect(clippy::indexing_slicing, reason = "a broken expectation ends the run, and that is its purpose")]

mod chance;
mod damage;
mod disk;
mod life;
mod model;
mod report;
mod run;
mod sim;
mod store;
mod world;

pub use report::{Counts, Failure, Report};
pub use run::{Played, play, shrink};

/// Operations in a history: enough for a few lives, and few enough that a bad one can be read.
pub const OPERATIONS: usize = 400;
