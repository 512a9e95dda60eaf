//! The error of this crate: its kind tells the caller what to do.

use std::error::Error as StdError;

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The row that had to be there is not.
    NotFound,
    /// Something else was first: a unique name is taken, or a newer generation holds the job.
    Conflict,
    /// The store cannot answer now (disk full, input or output error): retry later.
    Unavailable,
    /// Stored data is damaged: stop and raise an alarm.
    Corrupt,
    /// A bug of the caller or of this crate, or data of a newer program.
    Invalid,
}

pub(crate) type Source = Box<dyn StdError + Send + Sync>;

/// A failed metastore call. `Display` says what was being done; the source says why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct Error {
    pub kind: ErrorKind,
    pub context: String,
    #[source]
    source: Option<Source>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), source: None }
    }

    pub(crate) fn caused(kind: ErrorKind, context: impl Into<String>, source: impl Into<Source>) -> Self {
        Self { kind, context: context.into(), source: Some(source.into()) }
    }

    pub(crate) fn not_found(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, context)
    }

    pub(crate) fn corrupt(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, context)
    }

    /// The same error, said in the words of what the caller was doing.
    #[must_use]
    pub(crate) fn doing(self, context: impl Into<String>) -> Self {
        Self { kind: self.kind, context: context.into(), source: Some(Box::new(self)) }
    }
}
