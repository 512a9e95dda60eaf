//! How a start, stop or terminate changed an instance's state.

use model::InstanceId;

use super::InstanceState;
use crate::ToXml;

#[derive(Debug, Clone, ToXml)]
pub struct InstanceStateChange {
    pub instance_id: InstanceId,
    pub current_state: InstanceState,
    pub previous_state: InstanceState,
}

impl InstanceStateChange {
    pub fn new(
        instance_id: InstanceId,
        previous: model::InstanceState,
        current: model::InstanceState,
    ) -> Self {
        Self { instance_id, current_state: current.into(), previous_state: previous.into() }
    }
}
