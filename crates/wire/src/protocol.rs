//! Which service a request is for, and which protocol that service speaks.
//!
//! All services share one address, so the path says nothing: `/snapshots` is EBS direct or a bucket.
//! The credential scope, which the signature covers, says who was meant.

/// How a service's requests and replies look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// EC2: form parameters in, XML with numbered lists and no result wrapper out.
    Ec2Query,
    /// STS, IAM: form parameters with `member` lists in, XML with a result wrapper out.
    AwsQuery,
    /// EBS direct: paths and headers, JSON and raw blocks.
    RestJson,
    /// S3: paths and headers, XML and raw objects.
    RestXml,
}

/// A service of ours, by the name that clients sign for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    Ec2,
    Ebs,
    Sts,
    Iam,
    S3,
}

impl Service {
    /// The service of a credential scope; None for those that are not here.
    pub fn of_scope(name: &str) -> Option<Self> {
        Some(match name {
            "ec2" => Self::Ec2,
            "ebs" => Self::Ebs,
            "sts" => Self::Sts,
            "iam" => Self::Iam,
            "s3" => Self::S3,
            _ => return None,
        })
    }

    /// As it stands in a credential scope.
    pub const fn scope_name(self) -> &'static str {
        match self {
            Self::Ec2 => "ec2",
            Self::Ebs => "ebs",
            Self::Sts => "sts",
            Self::Iam => "iam",
            Self::S3 => "s3",
        }
    }

    pub const fn protocol(self) -> Protocol {
        match self {
            Self::Ec2 => Protocol::Ec2Query,
            Self::Sts | Self::Iam => Protocol::AwsQuery,
            Self::Ebs => Protocol::RestJson,
            Self::S3 => Protocol::RestXml,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_names_go_both_ways() {
        for service in [Service::Ec2, Service::Ebs, Service::Sts, Service::Iam, Service::S3] {
            assert_eq!(Service::of_scope(service.scope_name()), Some(service));
        }
        assert_eq!(Service::of_scope("EC2"), None);
        assert_eq!(Service::Sts.protocol(), Protocol::AwsQuery);
    }
}
