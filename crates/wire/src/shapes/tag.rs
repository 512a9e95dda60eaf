//! A tag, in both directions.

use crate::{FromQuery, ToXml};

#[derive(Debug, Clone, PartialEq, Eq, FromQuery, ToXml)]
pub struct Tag {
    pub key: String,
    /// Absent and empty are the same tag: one whose value is the empty string.
    #[query(keep_empty)]
    value: Option<String>,
}

impl Tag {
    pub fn value(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }
}

impl From<&model::Tag> for Tag {
    fn from(tag: &model::Tag) -> Self {
        Self { key: tag.key.clone(), value: Some(tag.value.clone()) }
    }
}

impl From<Tag> for model::Tag {
    fn from(tag: Tag) -> Self {
        Self { key: tag.key, value: tag.value.unwrap_or_default() }
    }
}

/// A tag as DeleteTags names it: without a value, any value goes; with one, even empty, only that.
#[derive(Debug, Clone, PartialEq, Eq, FromQuery)]
pub struct TagKey {
    pub key: String,
    #[query(keep_empty)]
    pub value: Option<String>,
}
