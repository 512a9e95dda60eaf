//! The process of one instance: its volumes, its network port, its metadata service and its QEMU, behind a
//! control socket.
//!
//! It outlives the server that started it and is found again by the lock on its directory. Refuses to know:
//! accounts, images, permissions; it is told everything once, in `machine.json`.

pub mod client;
pub mod console;
mod control;
mod directory;
mod error;
mod exit;
mod launch;
mod metadata;
mod port;
mod process;
mod spec;
mod transport;
mod volumes;

#[cfg(test)]
mod tests;

pub use client::Client;
pub use control::{Forward, State, Status, VolumeFreeze};
pub use error::{Error, Kind, Result};
pub use exit::{ExitReason, ExitRecord};
pub use launch::{Found, await_end, find, spawn_detached};
pub use metadata::{MetadataSpec, NamedGroup};
pub use process::run;
pub use spec::{
    BaseSpec, DiskTransport, Firmware, HostServiceSpec, MachineSpec, NetworkSpec, Platform, RuleProtocol,
    RuleSpec, SPEC_VERSION, VolumeSpec,
};
