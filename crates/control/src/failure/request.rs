//! What is wrong with a request before any resource is looked at.

use model::Code;

use super::Failure;

impl Failure {
    pub(crate) fn dry_run() -> Self {
        Self::new(Code::DryRunOperation, "Request would have succeeded, but DryRun flag is set.")
    }

    pub(crate) fn missing_action() -> Self {
        Self::new(Code::MissingAction, "The request must contain the parameter Action")
    }

    pub(crate) fn invalid_action(action: &str) -> Self {
        Self::new(Code::InvalidAction, format!("The action {action} is not valid for this web service."))
    }

    pub(crate) fn no_such_version(version: &str) -> Self {
        Self::new(
            Code::NoSuchVersion,
            format!("The version '{version}' is not one that this service speaks (use 2016-11-15)."),
        )
    }

    pub(crate) fn too_large(limit_bytes: usize) -> Self {
        Self::new(Code::RequestEntityTooLarge, format!("The request is larger than {limit_bytes} bytes."))
    }

    pub(crate) fn service_not_served(service: &str) -> Self {
        Self::new(
            Code::AuthFailure,
            format!(
                "The credential is scoped to the service '{service}', which this endpoint does not serve."
            ),
        )
    }

    /// EC2 has a code of its own for it.
    pub(crate) fn unknown_access_key(service: &str) -> Self {
        if service == "ec2" {
            Self::new(Code::AuthFailure, "AWS was not able to validate the provided access credentials")
        } else {
            Self::new(Code::InvalidClientTokenId, "The security token included in the request is invalid.")
        }
    }

    pub(crate) fn token_reused(token: &str) -> Self {
        Self::new(
            Code::IdempotentParameterMismatch,
            format!("The client token '{token}' was used before with other parameters."),
        )
    }

    pub(crate) fn token_too_long(limit: usize) -> Self {
        Self::value(format!("Invalid value for clientToken: it must be at most {limit} ASCII characters."))
    }

    /// A value outside what its parameter takes.
    pub(crate) fn value(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterValue, message)
    }

    /// Parameters that exclude each other.
    pub(crate) fn combination(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterCombination, message)
    }

    pub(crate) fn missing(parameter: &str) -> Self {
        Self::new(Code::MissingParameter, format!("The request must contain the parameter {parameter}"))
    }

    /// A parameter or value that the API has and this service cannot act on yet: named, never ignored.
    pub(crate) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::new(Code::UnsupportedOperation, format!("{what} is not supported by this service yet."))
    }

    /// A signature that is missing, malformed, wrong or too old. The text tells nothing about the key.
    pub(crate) fn signature(code: Code, why: impl std::fmt::Display) -> Self {
        Self::new(code, why.to_string())
    }

    pub(crate) fn tag_limit(limit: usize) -> Self {
        Self::new(Code::TagLimitExceeded, format!("A resource may have at most {limit} tags."))
    }

    pub(crate) fn tag_twice(key: &str) -> Self {
        Self::new(Code::InvalidParameterValue, format!("Duplicate tag key '{key}' specified."))
    }

    pub(crate) fn tag_resource_type(resource_type: model::ResourceType) -> Self {
        Self::value(format!("'{resource_type}' is not a valid taggable resource type for this operation."))
    }
}
