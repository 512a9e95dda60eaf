//! What an operation does to the account's resources, and the permission that allows it.

/// The permission is the IAM action name, such as `ec2:DescribeImages`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Changes nothing.
    Read(&'static str),
    Write(&'static str),
    /// Needs no permission: every authenticated caller may (`sts:GetCallerIdentity`).
    Everyone,
}

impl Access {
    pub(crate) const fn is_write(self) -> bool {
        matches!(self, Self::Write(_))
    }
}

/// The API that an action belongs to; decides envelopes and versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Service {
    Ec2,
    Sts,
}

impl Service {
    /// The service's name in credential scopes.
    pub(crate) const fn scope(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Sts => "sts",
        }
    }

    /// The name of the service model that public SDKs carry, and of its API version.
    pub(crate) const fn version(self) -> &'static str {
        match self {
            Self::Ec2 => "2016-11-15",
            Self::Sts => "2011-06-15",
        }
    }
}
