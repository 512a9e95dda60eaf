//! Texts about VPCs, subnets and security groups.

use model::{Code, SubnetId, VpcId};

use super::Failure;

impl Failure {
    pub(crate) fn vpc_not_found(id: &VpcId) -> Self {
        Self::new(Code::InvalidVpcIdNotFound, format!("The vpc ID '{id}' does not exist"))
    }

    pub(crate) fn subnet_not_found(id: &SubnetId) -> Self {
        Self::new(Code::InvalidSubnetIdNotFound, format!("The subnet ID '{id}' does not exist"))
    }

    pub(crate) fn group_not_found(name_or_id: &str) -> Self {
        Self::new(Code::InvalidGroupNotFound, format!("The security group '{name_or_id}' does not exist"))
    }

    pub(crate) fn subnet_full(id: &SubnetId) -> Self {
        Self::new(
            Code::PrivateIpAddressLimitExceeded,
            format!(
                "There are not enough free addresses in subnet '{id}' to satisfy the requested number of instances."
            ),
        )
    }

    pub(crate) fn no_public_address() -> Self {
        Self::new(Code::AddressLimitExceeded, "The host has no free loopback address for another instance.")
    }
}
