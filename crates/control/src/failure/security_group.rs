//! Texts about security groups and their rules.

use model::{Code, SecurityGroupId, VpcId};

use super::Failure;

impl Failure {
    pub(crate) fn group_exists(name: &str, vpc: &VpcId) -> Self {
        Self::new(
            Code::InvalidGroupDuplicate,
            format!("The security group '{name}' already exists for VPC '{vpc}'"),
        )
    }

    pub(crate) fn group_name_reserved(name: &str) -> Self {
        Self::new(
            Code::InvalidGroupReserved,
            format!("The name '{name}' is reserved, and cannot be used to create a security group."),
        )
    }

    /// A name or description of a group or rule.
    pub(crate) fn group_text(what: &str, limit: usize) -> Self {
        Self::value(format!(
            "Invalid value for {what}. It must be 1 to {limit} characters long, may contain letters, digits, \
             spaces and ._-:/()#,@[]+=&;{{}}!$*, and a group name must not start with 'sg-'."
        ))
    }

    pub(crate) fn group_limit(limit: usize) -> Self {
        Self::new(
            Code::SecurityGroupLimitExceeded,
            format!("The VPC already has {limit} security groups, the most it may have."),
        )
    }

    pub(crate) fn group_rule_limit(limit: usize) -> Self {
        Self::new(
            Code::RulesPerSecurityGroupLimitExceeded,
            format!("The maximum number of rules per security group, {limit}, has been reached."),
        )
    }

    pub(crate) fn group_is_default(id: &SecurityGroupId, name: &str) -> Self {
        Self::new(
            Code::CannotDelete,
            format!("the specified group: \"{id}\" name: \"{name}\" cannot be deleted by a user"),
        )
    }

    /// An instance or another group's rule needs the group.
    pub(crate) fn group_in_use(id: &SecurityGroupId) -> Self {
        Self::new(Code::DependencyViolation, format!("resource {id} has a dependent object"))
    }

    pub(crate) fn permission_malformed(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidPermissionMalformed, message)
    }

    pub(crate) fn permission_exists(rule: impl std::fmt::Display) -> Self {
        Self::new(Code::InvalidPermissionDuplicate, format!("the specified rule \"{rule}\" already exists"))
    }

    pub(crate) fn permission_not_found() -> Self {
        Self::new(
            Code::InvalidPermissionNotFound,
            "The specified rule does not exist in this security group.",
        )
    }
}
