//! The real binary, driven as a user and a shell script would.

mod account;
mod help;
mod instances;
mod push;
mod rig;
mod serve;
