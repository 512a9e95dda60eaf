//! QEMU as a mechanism: which binary, which accelerator, which arguments, and the conversation with a
//! running one.
//!
//! Refuses to know: instances, volumes and networks as nouns of the service. It is told sockets, serial
//! numbers and addresses, and it starts one process that uses them.

pub mod accelerator;
mod arguments;
mod error;
mod process;
mod qemu;
mod qmp;
mod spec;
pub mod tiny_guest;

pub use accelerator::Accelerator;
pub use arguments::arguments;
pub use error::{Error, Kind, Result};
pub use process::{Exit, Process, Started};
pub use qemu::{Qemu, Version, uefi_files};
pub use qmp::{Event, OnPowerOff, Qmp, RunState};
pub use spec::{Disk, DiskModel, Firmware, Identity, Nic, NicModel, Platform, Spec, Transport, ec2_uuid};
