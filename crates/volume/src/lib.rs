//! A block device: a base that never changes, and a log of everything written over it.
//!
//! Refuses to know: EC2, where the base's bytes come from, who mounts the device. Knows: the order of writes,
//! what a flush promises, how to freeze a moment while writes go on, and two protocols: NBD for everybody, and
//! vhost-user for the machine that has the device in its memory.

mod accept;
pub mod base;
mod clean;
mod disk;
mod error;
mod extent_map;
mod format;
mod freeze;
mod io;
mod log;
mod metadata;
pub mod nbd;
mod recovery;
mod segment;
#[doc(hidden)]
pub mod simulation;
#[cfg(test)]
mod tests;
pub mod vhost;
mod volume;

pub use base::{Base, MemoryBase, ZeroBase};
pub use error::{Error, ErrorKind, Result};
pub use freeze::{Extent, ExtentKind, Freeze, FrozenView};
pub use io::ZeroRun;
pub use volume::{Spec, Stats, Volume};
