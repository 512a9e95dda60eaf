//! Listeners, wiring, and the host port: everything between the operating system and the control plane.
//!
//! Refuses to know: what an API action means.

mod account;
mod admin;
mod administrator;
mod bucket;
mod data_dir;
mod domain_keys;
mod error;
mod host;
mod http;
mod limits;
mod logging;
mod low_ports;
mod machine_process;
mod options;
mod profiles;
mod rebuild;
mod reset;
mod serve;
mod store;
mod verify;

pub use account::AccountOptions;
pub use bucket::AwsEnvironment;
pub use error::{Error, Result};
pub use machine_process::machine;
pub use options::ServeOptions;
pub use rebuild::RebuildOptions;
pub use serve::serve;
pub use store::{GcOptions, StoreOptions};
pub use verify::{Verdict, VerifyOptions};
