//! Texts about tags and what carries them.

use model::{Code, SecurityGroupRuleId};

use super::Failure;

impl Failure {
    /// An id of no kind of resource that has tags.
    pub(crate) fn not_taggable(id: &str) -> Self {
        let shown: String = id.chars().take(100).collect();
        Self::new(Code::InvalidId, format!("The ID '{shown}' is not valid"))
    }

    pub(crate) fn tag_reserved() -> Self {
        Self::value("Tag keys starting with 'aws:' are reserved for internal use")
    }

    pub(crate) fn too_many_to_tag(limit: usize) -> Self {
        Self::value(format!("The request names more than {limit} resources."))
    }

    pub(crate) fn security_group_rule_not_found(id: &SecurityGroupRuleId) -> Self {
        Self::new(
            Code::InvalidSecurityGroupRuleIdNotFound,
            format!("The security group rule ID '{id}' does not exist"),
        )
    }
}
