//! The one error of this room: what the caller should do, what was being done, and why it failed.

use std::error::Error as StdError;

use serde::{Deserialize, Serialize};

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// There is no such machine, volume or layer.
    NotFound,
    /// A machine already runs here, or it is in a state that does not allow this.
    Conflict,
    /// Retry later.
    Unavailable,
    /// Stored or received bytes make no sense: stop and alarm.
    Corrupt,
    /// The request itself is wrong.
    Invalid,
}

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

    pub(crate) fn io(context: &str, source: std::io::Error) -> Self {
        let is_missing = source.kind() == std::io::ErrorKind::NotFound;
        let kind = if is_missing { Kind::NotFound } else { Kind::Unavailable };
        Self::caused(kind, context, source)
    }

    /// The context and every cause below it, for a state reason or a response.
    pub fn chain(&self) -> String {
        let mut text = self.context.clone();
        let mut next = StdError::source(self);
        while let Some(cause) = next {
            text = format!("{text}: {cause}");
            next = cause.source();
        }
        text
    }
}

impl From<hypervisor::Error> for Error {
    fn from(error: hypervisor::Error) -> Self {
        let kind = match error.kind {
            hypervisor::Kind::NotFound => Kind::NotFound,
            hypervisor::Kind::Conflict => Kind::Conflict,
            hypervisor::Kind::Unavailable => Kind::Unavailable,
            hypervisor::Kind::Corrupt => Kind::Corrupt,
            hypervisor::Kind::Invalid => Kind::Invalid,
        };
        Self { kind, context: error.context, source: error.source }
    }
}

impl From<volume::Error> for Error {
    fn from(error: volume::Error) -> Self {
        let kind = match error.kind() {
            volume::ErrorKind::NotFound => Kind::NotFound,
            volume::ErrorKind::Conflict => Kind::Conflict,
            volume::ErrorKind::Unavailable => Kind::Unavailable,
            volume::ErrorKind::Corrupt => Kind::Corrupt,
            volume::ErrorKind::Invalid => Kind::Invalid,
        };
        Self::caused(kind, "volume", error)
    }
}
