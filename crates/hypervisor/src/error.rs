//! The one error of this room: what the caller should do, what was being done, and why it failed.

use std::error::Error as StdError;

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A program or file that must exist does not.
    NotFound,
    /// Someone else got there first: retry now.
    Conflict,
    /// A resource is away: retry later.
    Unavailable,
    /// The other side spoke nonsense: stop and alarm.
    Corrupt,
    /// The request itself is wrong.
    Invalid,
}

/// A failure to talk to, start or describe QEMU.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct Error {
    pub kind: Kind,
    pub context: String,
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: Kind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    pub(crate) fn caused(
        kind: Kind,
        context: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { kind, context: context.into(), source: Some(source.into()) }
    }
}
