//! The real binary, driven as a user and a shell script would.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken expectation ends the test")]

mod account;
mod help;
mod instances;
mod kills;
mod push;
mod rig;
mod serve;
