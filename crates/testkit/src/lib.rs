//! Rigs for tests: a world in memory, faults, torture. Never part of the product.

#![expect(clippy::panic, reason = "this crate is test code: a broken expectation ends the test")]

pub mod gate;
mod golden;
pub mod host;
mod reply;
pub mod s3;
mod seed;
mod store;
mod torture;
mod world;

pub use gate::{Fault, Gate};
pub use golden::{golden, pretty, stable};
pub use host::FakeHost;
pub use reply::Reply;
pub use torture::{end_state, torture};
pub use world::{Account, REGION, World, form};
