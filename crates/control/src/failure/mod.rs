//! What an operation says when it cannot: code, public message, and a cause for the log alone.
//!
//! Built only by the named constructors of this folder, one file a noun, so that one search finds a text.

use std::fmt;

use model::{Code, Fault};

mod block;
mod image;
mod instance;
mod key_pair;
mod network;
mod place;
mod request;
mod security_group;
mod snapshot;
mod tag;
mod volume;

pub(crate) use block::BlockFailure;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A refused or failed call. `message` goes to the caller; `cause` only to the log.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
    cause: Option<Cause>,
}

/// Messages tell what was sent; a huge value does not come back whole.
const MESSAGE_CHARS_MAX: usize = 4096;

impl Failure {
    fn new(code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
            message.truncate(end);
        }
        Self { code, message, cause: None }
    }

    fn caused(code: Code, message: &str, cause: impl Into<Cause>) -> Self {
        Self { code, message: message.to_owned(), cause: Some(cause.into()) }
    }

    /// For the log: the chain of causes that the caller does not see.
    pub fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }

    /// Whether the whole call should be run again at once: another transaction got in between.
    pub(crate) fn is_conflict(&self) -> bool {
        let cause = self.cause.as_ref().and_then(|cause| cause.downcast_ref::<metastore::Error>());
        cause.is_some_and(|error| error.kind == metastore::ErrorKind::Conflict)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::new(fault.code, fault.message)
    }
}

const INTERNAL: &str = "An internal error has occurred. The server's log tells more under this request id.";
const UNAVAILABLE: &str = "The service cannot answer at the moment. Try again.";

/// The one place where a mechanism's error becomes a code: what may pass is `Unavailable`, all else is internal.
impl From<metastore::Error> for Failure {
    fn from(error: metastore::Error) -> Self {
        match error.kind {
            metastore::ErrorKind::Unavailable => Self::caused(Code::Unavailable, UNAVAILABLE, error),
            metastore::ErrorKind::NotFound
            | metastore::ErrorKind::Conflict
            | metastore::ErrorKind::Corrupt
            | metastore::ErrorKind::Invalid => Self::caused(Code::InternalError, INTERNAL, error),
        }
    }
}

impl From<blockstore::Error> for Failure {
    fn from(error: blockstore::Error) -> Self {
        match error.kind() {
            blockstore::ErrorKind::Unavailable => Self::caused(Code::Unavailable, UNAVAILABLE, error),
            blockstore::ErrorKind::NotFound
            | blockstore::ErrorKind::Conflict
            | blockstore::ErrorKind::Corrupt
            | blockstore::ErrorKind::Invalid => Self::caused(Code::InternalError, INTERNAL, error),
        }
    }
}

impl From<crate::ports::HostError> for Failure {
    fn from(error: crate::ports::HostError) -> Self {
        match error.kind {
            crate::ports::HostErrorKind::Unavailable => Self::caused(Code::Unavailable, UNAVAILABLE, error),
            crate::ports::HostErrorKind::NotFound | crate::ports::HostErrorKind::Failed => {
                Self::caused(Code::InternalError, INTERNAL, error)
            }
        }
    }
}

impl Failure {
    /// A bug of ours, caught: the caller learns nothing but that.
    pub(crate) fn internal(cause: impl Into<Cause>) -> Self {
        Self::caused(Code::InternalError, INTERNAL, cause)
    }
}
