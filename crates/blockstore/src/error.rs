//! The one error of the crate: what the caller can do about it, where it happened, and why.

use std::borrow::Cow;
use std::fmt;

/// A boxed cause.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Result of every call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named thing does not exist.
    NotFound,
    /// Somebody else was first; look again and decide.
    Conflict,
    /// The object store did not answer as it should; retry later.
    Unavailable,
    /// Stored bytes are damaged or missing; stop and raise an alarm.
    Corrupt,
    /// The call itself was wrong.
    Invalid,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::Invalid => "invalid",
        })
    }
}

/// An error: kind, context (a verb phrase) and source. Display does not repeat the source.
#[derive(Debug, thiserror::Error)]
#[error("{context} ({kind})")]
pub struct Error {
    kind: ErrorKind,
    context: Cow<'static, str>,
    #[source]
    source: Option<Source>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    pub(crate) fn corrupt(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Corrupt, context)
    }

    pub(crate) fn invalid(context: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Invalid, context)
    }

    pub(crate) fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error, where `NotFound` means that bytes are gone which something still names.
    pub(crate) fn missing_is_corrupt(mut self) -> Self {
        if self.kind == ErrorKind::NotFound {
            self.kind = ErrorKind::Corrupt;
        }
        self
    }

    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn context(&self) -> &str {
        &self.context
    }
}
