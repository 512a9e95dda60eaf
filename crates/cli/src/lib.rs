//! The command line: client commands that speak only HTTP to a server, this one or any other.
//!
//! Refuses to know: the data directory's inside, the metastore, machines. Configuration is that of the AWS
//! command line: the same environment variables and files, with the same precedence.

mod client;
pub mod commands;
pub mod config;
mod environment;
mod error;
mod push;
mod ui;

pub use commands::Command;
pub use environment::Environment;
pub use error::{Error, ErrorKind};
pub use ui::{print, report};
