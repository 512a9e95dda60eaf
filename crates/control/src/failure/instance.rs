//! Texts about instances.

use model::{Code, InstanceId, InstanceState};

use super::Failure;

impl Failure {
    pub(crate) fn instances_not_found(ids: &[InstanceId]) -> Self {
        let list = ids.iter().map(InstanceId::as_str).collect::<Vec<_>>().join(", ");
        let (noun, verb) = if ids.len() == 1 { ("ID", "does") } else { ("IDs", "do") };
        Self::new(Code::InvalidInstanceIdNotFound, format!("The instance {noun} '{list}' {verb} not exist"))
    }

    pub(crate) fn instance_state(id: &InstanceId, state: InstanceState, wanted: &str) -> Self {
        Self::new(
            Code::IncorrectInstanceState,
            format!("The instance '{id}' is in the state '{state}' and must be {wanted} for this operation."),
        )
    }

    pub(crate) fn instance_limit(limit: u32) -> Self {
        Self::new(
            Code::InstanceLimitExceeded,
            format!("You have requested more instances than your current limit of {limit} allows."),
        )
    }

    pub(crate) fn user_data(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidUserDataMalformed, message)
    }

    pub(crate) fn stop_protected(id: &InstanceId) -> Self {
        Self::new(
            Code::OperationNotPermitted,
            format!(
                "The instance '{id}' may not be stopped. Modify its 'disableApiStop' instance attribute and try again."
            ),
        )
    }

    pub(crate) fn termination_protected(id: &InstanceId) -> Self {
        Self::new(
            Code::OperationNotPermitted,
            format!(
                "The instance '{id}' may not be terminated. Modify its 'disableApiTermination' instance attribute \
                 and try again."
            ),
        )
    }
}
