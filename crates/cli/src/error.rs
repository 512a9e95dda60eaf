//! What ends a command without success: a kind that is the exit code, a message, and what to try.

use std::fmt;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// The exit codes that scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ErrorKind {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Denied = 4,
    Conflict = 5,
    TimedOut = 7,
}

#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl Error {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An error answer of the service.
    pub(crate) fn of_service(doing: &str, code: &str, message: &str) -> Self {
        let error = Self::new(kind_of_code(code), format!("{doing}: {message} ({code})"));
        match code {
            "AuthFailure"
            | "InvalidClientTokenId"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException" => {
                error.with_hint("the access key comes from AWS_SHARED_CREDENTIALS_FILE, AWS_PROFILE or AWS_ACCESS_KEY_ID; the server wrote its own into DIR/credentials")
            }
            "RequestExpired" => error.with_hint("the clocks of this host and of the server differ too much"),
            "InvalidAMIName.Duplicate" => {
                error.with_hint("choose another --name, or deregister the image that has this one")
            }
            _ => error,
        }
    }

    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

fn kind_of_code(code: &str) -> ErrorKind {
    match code {
        "AuthFailure"
        | "UnauthorizedOperation"
        | "AccessDenied"
        | "AccessDeniedException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "RequestExpired"
        | "OptInRequired" => ErrorKind::Denied,
        "ResourceNotFoundException" => ErrorKind::NotFound,
        "ConflictException" | "IncorrectState" | "IncorrectInstanceState" => ErrorKind::Conflict,
        _ if code.ends_with(".NotFound") => ErrorKind::NotFound,
        _ if [".Duplicate", ".InUse"].iter().any(|end| code.ends_with(end)) => ErrorKind::Conflict,
        _ => ErrorKind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_exit_codes() {
        for (code, kind) in [
            ("InvalidSnapshot.NotFound", ErrorKind::NotFound),
            ("InvalidAMIName.Duplicate", ErrorKind::Conflict),
            ("InvalidSnapshot.InUse", ErrorKind::Conflict),
            ("UnauthorizedOperation", ErrorKind::Denied),
            ("InvalidSignatureException", ErrorKind::Denied),
            ("ValidationException", ErrorKind::Failed),
        ] {
            assert_eq!(Error::of_service("test", code, "m").kind(), kind, "{code}");
        }
    }
}
