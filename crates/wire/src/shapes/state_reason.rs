//! Why a resource is in its state.

use crate::ToXml;

#[derive(Debug, Clone, PartialEq, Eq, ToXml)]
pub struct StateReason {
    pub code: String,
    pub message: String,
}

impl From<&model::StateReason> for StateReason {
    fn from(reason: &model::StateReason) -> Self {
        Self { code: reason.code.clone(), message: reason.message.clone() }
    }
}
