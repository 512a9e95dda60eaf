//! The closed table of API error codes: wire string and HTTP status. Messages live with the operations.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $wire:literal, $status:literal;)*) => {
        /// An error code of the EC2-compatible APIs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text that clients match on.
            pub const fn wire(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)*
                }
            }

            pub const fn http_status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                }
            }
        }
    };
}

codes! {
    AddressLimitExceeded = "AddressLimitExceeded", 400;
    AuthFailure = "AuthFailure", 400;
    CannotDelete = "CannotDelete", 400;
    DependencyViolation = "DependencyViolation", 400;
    DryRunOperation = "DryRunOperation", 412;
    FilterLimitExceeded = "FilterLimitExceeded", 400;
    IdempotentInstanceTerminated = "IdempotentInstanceTerminated", 400;
    IdempotentParameterMismatch = "IdempotentParameterMismatch", 400;
    IncompleteSignature = "IncompleteSignature", 400;
    IncorrectInstanceState = "IncorrectInstanceState", 400;
    IncorrectState = "IncorrectState", 400;
    InstanceLimitExceeded = "InstanceLimitExceeded", 400;
    InsufficientInstanceCapacity = "InsufficientInstanceCapacity", 500;
    InternalError = "InternalError", 500;
    InvalidAction = "InvalidAction", 400;
    InvalidAmiAttributeItemValue = "InvalidAMIAttributeItemValue", 400;
    InvalidAmiIdMalformed = "InvalidAMIID.Malformed", 400;
    InvalidAmiIdNotFound = "InvalidAMIID.NotFound", 400;
    InvalidAmiIdUnavailable = "InvalidAMIID.Unavailable", 400;
    InvalidAmiNameDuplicate = "InvalidAMIName.Duplicate", 400;
    InvalidAmiNameMalformed = "InvalidAMIName.Malformed", 400;
    InvalidAttachmentNotFound = "InvalidAttachment.NotFound", 400;
    InvalidBlockDeviceMapping = "InvalidBlockDeviceMapping", 400;
    InvalidClientTokenId = "InvalidClientTokenId", 403;
    InvalidGroupDuplicate = "InvalidGroup.Duplicate", 400;
    InvalidGroupInUse = "InvalidGroup.InUse", 400;
    InvalidGroupNotFound = "InvalidGroup.NotFound", 400;
    InvalidGroupReserved = "InvalidGroup.Reserved", 400;
    InvalidGroupIdMalformed = "InvalidGroupId.Malformed", 400;
    InvalidId = "InvalidID", 400;
    InvalidInstanceIdMalformed = "InvalidInstanceID.Malformed", 400;
    InvalidInstanceIdNotFound = "InvalidInstanceID.NotFound", 400;
    InvalidInstanceType = "InvalidInstanceType", 400;
    InvalidKeyFormat = "InvalidKey.Format", 400;
    InvalidKeyPairDuplicate = "InvalidKeyPair.Duplicate", 400;
    InvalidKeyPairFormat = "InvalidKeyPair.Format", 400;
    InvalidKeyPairNotFound = "InvalidKeyPair.NotFound", 400;
    InvalidMaxResults = "InvalidMaxResults", 400;
    InvalidNetworkInterfaceIdMalformed = "InvalidNetworkInterfaceId.Malformed", 400;
    InvalidNextToken = "InvalidNextToken", 400;
    InvalidParameter = "InvalidParameter", 400;
    InvalidParameterCombination = "InvalidParameterCombination", 400;
    InvalidParameterDependency = "InvalidParameterDependency", 400;
    InvalidParameterValue = "InvalidParameterValue", 400;
    InvalidPermissionDuplicate = "InvalidPermission.Duplicate", 400;
    InvalidPermissionMalformed = "InvalidPermission.Malformed", 400;
    InvalidPermissionNotFound = "InvalidPermission.NotFound", 400;
    InvalidRegion = "InvalidRegion", 400;
    InvalidRequest = "InvalidRequest", 400;
    InvalidReservationIdMalformed = "InvalidReservationID.Malformed", 400;
    InvalidSecurityGroupRuleIdMalformed = "InvalidSecurityGroupRuleId.Malformed", 400;
    InvalidSecurityGroupRuleIdNotFound = "InvalidSecurityGroupRuleId.NotFound", 400;
    InvalidSnapshotIdMalformed = "InvalidSnapshotID.Malformed", 400;
    InvalidSnapshotInUse = "InvalidSnapshot.InUse", 400;
    InvalidSnapshotNotFound = "InvalidSnapshot.NotFound", 400;
    InvalidSubnetIdMalformed = "InvalidSubnetID.Malformed", 400;
    InvalidSubnetIdNotFound = "InvalidSubnetID.NotFound", 400;
    InvalidTagKeyMalformed = "InvalidTagKey.Malformed", 400;
    InvalidUserDataMalformed = "InvalidUserData.Malformed", 400;
    InvalidUserIdMalformed = "InvalidUserID.Malformed", 400;
    InvalidVolumeIdMalformed = "InvalidVolumeID.Malformed", 400;
    InvalidVolumeNotFound = "InvalidVolume.NotFound", 400;
    InvalidVpcIdMalformed = "InvalidVpcID.Malformed", 400;
    InvalidVpcIdNotFound = "InvalidVpcID.NotFound", 400;
    InvalidZoneNotFound = "InvalidZone.NotFound", 400;
    KeyPairLimitExceeded = "KeyPairLimitExceeded", 400;
    MalformedQueryString = "MalformedQueryString", 400;
    MissingAction = "MissingAction", 400;
    MissingAuthenticationToken = "MissingAuthenticationToken", 403;
    MissingParameter = "MissingParameter", 400;
    NoSuchVersion = "NoSuchVersion", 400;
    OperationNotPermitted = "OperationNotPermitted", 400;
    PrivateIpAddressLimitExceeded = "PrivateIpAddressLimitExceeded", 400;
    RequestEntityTooLarge = "RequestEntityTooLarge", 413;
    RequestExpired = "RequestExpired", 400;
    RequestLimitExceeded = "RequestLimitExceeded", 503;
    ResourceLimitExceeded = "ResourceLimitExceeded", 400;
    RulesPerSecurityGroupLimitExceeded = "RulesPerSecurityGroupLimitExceeded", 400;
    SecurityGroupLimitExceeded = "SecurityGroupLimitExceeded", 400;
    SignatureDoesNotMatch = "SignatureDoesNotMatch", 403;
    TagLimitExceeded = "TagLimitExceeded", 400;
    UnauthorizedOperation = "UnauthorizedOperation", 403;
    Unavailable = "Unavailable", 503;
    UnknownParameter = "UnknownParameter", 400;
    UnknownVolumeType = "UnknownVolumeType", 400;
    UnsupportedOperation = "UnsupportedOperation", 400;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.wire())
    }
}

/// What is wrong with one value of a request, found before any state is looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Fault {
    pub code: Code,
    /// Shown to the caller as it is: names the value and what was expected.
    pub message: String,
}

impl Fault {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A value outside what its parameter takes.
    pub fn value(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterValue, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_strings_are_unique_and_statuses_are_errors() {
        let mut wires: Vec<_> = Code::ALL.iter().map(|c| c.wire()).collect();
        wires.sort_unstable();
        wires.dedup();
        assert_eq!(wires.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|c| (400..=599).contains(&c.http_status())));
    }
}
