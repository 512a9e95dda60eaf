//! Texts about images. Clients take ids out of them: `'[ami-…]'`.

use model::{Code, ImageId};

use super::Failure;

impl Failure {
    pub(crate) fn image_not_found(id: &ImageId) -> Self {
        Self::new(Code::InvalidAmiIdNotFound, format!("The image id '[{id}]' does not exist"))
    }

    pub(crate) fn images_not_found(ids: &[ImageId]) -> Self {
        if let [one] = ids {
            return Self::image_not_found(one);
        }
        let list = ids.iter().map(ImageId::as_str).collect::<Vec<_>>().join(", ");
        Self::new(Code::InvalidAmiIdNotFound, format!("The image ids '[{list}]' do not exist"))
    }

    pub(crate) fn image_gone(id: &ImageId) -> Self {
        Self::new(Code::InvalidAmiIdUnavailable, format!("The image ID '{id}' is no longer available"))
    }

    pub(crate) fn image_pending(id: &ImageId) -> Self {
        Self::new(
            Code::InvalidAmiIdUnavailable,
            format!("The image ID '{id}' is currently pending and may not be used for this operation"),
        )
    }

    /// The image is the caller's to launch, but not to change.
    pub(crate) fn image_not_owned(id: &ImageId) -> Self {
        Self::new(Code::AuthFailure, format!("Not authorized for image:{id}"))
    }

    pub(crate) fn image_name_taken(name: &str, by: &ImageId) -> Self {
        Self::new(Code::InvalidAmiNameDuplicate, format!("AMI name {name} is already in use by AMI {by}"))
    }

    pub(crate) fn image_name_malformed() -> Self {
        Self::new(
            Code::InvalidAmiNameMalformed,
            "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', \
             '[', ']', ' ', '.', '/', '-', ''', '@' and '_'",
        )
    }

    pub(crate) fn image_limit(limit: usize) -> Self {
        Self::new(
            Code::ResourceLimitExceeded,
            format!("The account already has {limit} images in this Region, the most it may have."),
        )
    }

    pub(crate) fn image_storage_denied() -> Self {
        Self::new(Code::InvalidRequest, "You do not have permission to access the storage of this ami")
    }

    pub(crate) fn launch_permission_item(text: &str) -> Self {
        Self::new(
            Code::InvalidAmiAttributeItemValue,
            format!("Invalid attribute item value \"{text}\" for userId or userGroup item type."),
        )
    }

    pub(crate) fn launch_permission_limit(limit: usize) -> Self {
        Self::new(
            Code::ResourceLimitExceeded,
            format!("An image may have at most {limit} launch permissions."),
        )
    }

    pub(crate) fn instance_not_imageable(id: &model::InstanceId, state: model::InstanceState) -> Self {
        // Packer waits and tries again while it reads "Instance is not in state".
        Self::value(format!("Instance is not in state 'running' or 'stopped': '{id}' is '{state}'."))
    }

    pub(crate) fn instance_being_imaged(id: &model::InstanceId, image: &ImageId) -> Self {
        Self::new(
            Code::IncorrectInstanceState,
            format!("The instance '{id}' is down for the image {image}; try again when that is done."),
        )
    }
}
