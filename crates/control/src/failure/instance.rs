//! Texts about instances.

use model::{Code, InstanceId, InstanceState};

use super::Failure;

impl Failure {
    pub(crate) fn instances_not_found(ids: &[InstanceId]) -> Self {
        match ids {
            [one] => Self::new(
                Code::InvalidInstanceIdNotFound,
                format!("The instance ID '{one}' does not exist"),
            ),
            _ => {
                let list = ids.iter().map(InstanceId::as_str).collect::<Vec<_>>().join(", ");
                Self::new(Code::InvalidInstanceIdNotFound, format!("The instance IDs '{list}' do not exist"))
            }
        }
    }

    pub(crate) fn instance_state(id: &InstanceId, state: InstanceState, wanted: &str) -> Self {
        Self::new(
            Code::IncorrectInstanceState,
            format!("The instance '{id}' is in the state '{state}' and must be {wanted} for this operation."),
        )
    }
}
