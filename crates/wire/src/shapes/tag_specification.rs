//! `TagSpecification.N`: tags for resources that the operation is about to make.

use model::ResourceType;

use super::Tag;
use crate::FromQuery;

#[derive(Debug, Clone, PartialEq, Eq, FromQuery)]
pub struct TagSpecification {
    pub resource_type: ResourceType,
    #[query("Tag")]
    pub tags: Vec<Tag>,
}
