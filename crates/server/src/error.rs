//! Why the server cannot start or go on: what was being done, the cause, and what to try.

use std::error::Error as StdError;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
#[error("{context}")]
pub struct Error {
    context: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
    hint: Option<String>,
    exit_code: u8,
}

impl Error {
    pub(crate) fn new(context: impl Into<String>) -> Self {
        Self { context: context.into(), source: None, hint: None, exit_code: 1 }
    }

    pub(crate) fn caused(
        context: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self { source: Some(source.into()), ..Self::new(context) }
    }

    /// A mistake in flags or the configuration file.
    pub(crate) fn usage(context: impl Into<String>) -> Self {
        Self { exit_code: 2, ..Self::new(context) }
    }

    /// Something is there already or in use.
    pub(crate) fn conflict(context: impl Into<String>) -> Self {
        Self { exit_code: 5, ..Self::new(context) }
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub const fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// The context and every cause below it.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

impl From<metastore::Error> for Error {
    fn from(error: metastore::Error) -> Self {
        Self::caused("metastore", error)
    }
}

impl From<blockstore::Error> for Error {
    fn from(error: blockstore::Error) -> Self {
        Self::caused("snapshot store", error)
    }
}

impl From<control::Failure> for Error {
    fn from(failure: control::Failure) -> Self {
        let cause = failure.cause().map(|cause| chain(cause)).unwrap_or_default();
        Self::new(format!("{failure}: {cause}"))
    }
}
