//! Look-ups that prove permission, and the writes that take the proof; one file a noun.
//!
//! Invariant: a resource of another account is answered exactly as one that does not exist, unless
//! its owner shared it.

pub(crate) mod domains;
pub(crate) mod images;
pub(crate) mod instances;
pub(crate) mod key_pairs;
pub(crate) mod network;
pub(crate) mod snapshots;
pub(crate) mod taggable;
pub(crate) mod tags;
pub(crate) mod uploads;
pub(crate) mod volumes;
