//! The instance metadata service: what the guest learns about itself at 169.254.169.254.
//!
//! Refuses to know: which address a request comes from. A connection arrives through the machine's own
//! network port, and that alone says whose metadata it may read.

mod http;
mod spec;
mod token;
mod tree;

pub(crate) use http::Service;
pub use spec::{MetadataSpec, NamedGroup};
