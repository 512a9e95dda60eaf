//! Errors of the REST-JSON services: a type in a header, a message and a reason in the body.

use model::{Code, Fault};
use serde::Serialize;

use super::reply::RestReply;

/// The type of an error, by its name in the `x-amzn-ErrorType` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    AccessDenied,
    ConcurrentLimitExceeded,
    Conflict,
    IncompleteSignature,
    InternalServer,
    InvalidSignature,
    MissingAuthenticationToken,
    RequestThrottled,
    ResourceNotFound,
    ServiceQuotaExceeded,
    UnknownOperation,
    UnrecognizedClient,
    Validation,
}

impl ErrorType {
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDeniedException",
            Self::ConcurrentLimitExceeded => "ConcurrentLimitExceededException",
            Self::Conflict => "ConflictException",
            Self::IncompleteSignature => "IncompleteSignatureException",
            Self::InternalServer => "InternalServerException",
            Self::InvalidSignature => "InvalidSignatureException",
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::RequestThrottled => "RequestThrottledException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::ServiceQuotaExceeded => "ServiceQuotaExceededException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::Validation => "ValidationException",
        }
    }

    pub const fn http_status(self) -> u16 {
        match self {
            Self::ConcurrentLimitExceeded
            | Self::IncompleteSignature
            | Self::RequestThrottled
            | Self::Validation => 400,
            Self::ServiceQuotaExceeded => 402,
            Self::AccessDenied
            | Self::InvalidSignature
            | Self::MissingAuthenticationToken
            | Self::UnrecognizedClient => 403,
            Self::ResourceNotFound | Self::UnknownOperation => 404,
            Self::Conflict => 409,
            Self::InternalServer => 500,
        }
    }
}

/// The reasons that the EBS direct API gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    AccountThrottled,
    ConflictingBlockUpdate,
    DependencyServiceQuotaExceeded,
    InvalidBlock,
    InvalidBlockToken,
    InvalidContentEncoding,
    InvalidCustomerKey,
    InvalidDependencyRequest,
    InvalidPageToken,
    InvalidParameterValue,
    InvalidSnapshotId,
    InvalidTag,
    InvalidVolumeSize,
    SnapshotNotFound,
    UnauthorizedAccount,
    UnrelatedSnapshots,
    WriteRequestTimeout,
}

/// An error, as the caller will see it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", kind.name())]
pub struct RestFault {
    pub kind: ErrorType,
    pub reason: Option<Reason>,
    pub message: String,
}

impl RestFault {
    pub fn new(kind: ErrorType, reason: Option<Reason>, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into() }
    }

    pub fn validation(reason: Reason, message: impl Into<String>) -> Self {
        Self::new(ErrorType::Validation, Some(reason), message)
    }

    pub(super) fn value(message: impl Into<String>) -> Self {
        Self::validation(Reason::InvalidParameterValue, message)
    }

    pub(super) fn unknown_operation() -> Self {
        Self::new(ErrorType::UnknownOperation, None, "There is no operation at this path")
    }

    /// The same error in EC2's words, said in the words of this API.
    pub fn from_code(code: Code, message: impl Into<String>) -> Self {
        let (kind, reason) = translate(code);
        Self::new(kind, reason, message)
    }

    pub fn reply(&self) -> RestReply {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body<'a> {
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<Reason>,
        }
        let mut reply =
            RestReply::json(self.kind.http_status(), &Body { message: &self.message, reason: self.reason });
        reply.headers.push(("x-amzn-ErrorType", self.kind.name().to_owned()));
        reply
    }
}

impl From<Fault> for RestFault {
    fn from(fault: Fault) -> Self {
        Self::from_code(fault.code, fault.message)
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "codes that no block operation gives have no better word here"
)]
fn translate(code: Code) -> (ErrorType, Option<Reason>) {
    use ErrorType as E;
    match code {
        Code::AuthFailure | Code::OperationNotPermitted | Code::UnauthorizedOperation => {
            (E::AccessDenied, Some(Reason::UnauthorizedAccount))
        }
        Code::IdempotentParameterMismatch => (E::Conflict, None),
        Code::IncompleteSignature => (E::IncompleteSignature, None),
        Code::InvalidClientTokenId => (E::UnrecognizedClient, None),
        Code::InvalidNextToken => (E::Validation, Some(Reason::InvalidPageToken)),
        Code::InvalidSnapshotIdMalformed => (E::Validation, Some(Reason::InvalidSnapshotId)),
        Code::InvalidSnapshotNotFound => (E::ResourceNotFound, Some(Reason::SnapshotNotFound)),
        Code::MissingAuthenticationToken => (E::MissingAuthenticationToken, None),
        Code::RequestExpired | Code::SignatureDoesNotMatch => (E::InvalidSignature, None),
        Code::RequestLimitExceeded => (E::RequestThrottled, Some(Reason::AccountThrottled)),
        Code::ResourceLimitExceeded => {
            (E::ServiceQuotaExceeded, Some(Reason::DependencyServiceQuotaExceeded))
        }
        Code::TagLimitExceeded => (E::Validation, Some(Reason::InvalidTag)),
        _ if code.http_status() >= 500 => (E::InternalServer, None),
        _ => (E::Validation, Some(Reason::InvalidParameterValue)),
    }
}
