//! Why a request's claim was refused.

use model::{Code, Fault};

/// A refusal, before any account is known. Texts name what is wrong with the form of the request
/// and never anything about keys or the expected signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthFault {
    /// Neither an `Authorization` header nor a signed query.
    #[error("Request is missing Authentication Token")]
    Missing,
    /// A signature that is not complete, not well formed, or does not cover what it must.
    #[error("The request signature does not conform to AWS standards: {0}")]
    Incomplete(&'static str),
    /// The access key id does not exist, is not active, or does not fit its session token.
    #[error("The security token included in the request is invalid")]
    UnknownKey,
    /// The signature is not the one that the secret gives.
    #[error(
        "The request signature we calculated does not match the signature you provided. \
         Check your secret access key and signing method."
    )]
    Mismatch,
    /// The time of the signature is too far from now, or a presigned request is too old.
    #[error("Request has expired.")]
    Expired,
}

impl AuthFault {
    pub const fn code(self) -> Code {
        match self {
            Self::Missing => Code::MissingAuthenticationToken,
            Self::Incomplete(_) => Code::IncompleteSignature,
            Self::UnknownKey => Code::InvalidClientTokenId,
            Self::Mismatch => Code::SignatureDoesNotMatch,
            Self::Expired => Code::RequestExpired,
        }
    }
}

impl From<AuthFault> for Fault {
    fn from(fault: AuthFault) -> Self {
        Self::new(fault.code(), fault.to_string())
    }
}
