//! Texts about volumes and block device mappings.

use model::{Code, Volume, VolumeId};

use super::Failure;

impl Failure {
    pub(crate) fn volume_not_found(id: &VolumeId) -> Self {
        Self::new(Code::InvalidVolumeNotFound, format!("The volume '{id}' does not exist."))
    }

    pub(crate) fn volume_not_ready(volume: &Volume) -> Self {
        Self::new(Code::IncorrectState, format!("The volume '{}' is '{}'.", volume.volume_id, volume.state))
    }

    pub(crate) fn block_device_mapping(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidBlockDeviceMapping, message)
    }

    pub(crate) fn volume_parameter_dependency(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterDependency, message)
    }
}
