//! What holds for every action of the registry, written once: a new operation is covered by adding
//! its line to `samples.rs` and its refusals to `refusals.rs`.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "these are tests: a broken expectation ends them"
)]

mod authentication;
mod block_golden;
mod failed_images;
mod golden;
mod interruptions;
mod members;
mod outsiders;
mod paging;
mod parameters;
mod refusals;
mod samples;
mod scene;
mod tokens;
mod torture;
mod twice;
mod writes;
