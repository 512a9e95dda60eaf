//! What every operation shares, written once: dispatch, authentication, transactions, proofs.

pub(crate) mod access;
pub(crate) mod accounts;
pub(crate) mod authenticate;
pub(crate) mod block;
pub(crate) mod collection;
pub(crate) mod cx;
pub(crate) mod dispatcher;
pub(crate) mod env;
pub(crate) mod granted;
pub(crate) mod idempotency;
pub(crate) mod job;
pub(crate) mod local;
pub(crate) mod operation;
pub(crate) mod registry;
pub(crate) mod resources;
pub(crate) mod runner;
pub(crate) mod write;
