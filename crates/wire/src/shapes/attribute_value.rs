//! `{ "Value": … }`: one attribute, in both directions.

use crate::{FromQuery, ToXml};

/// In requests, present but empty sets the empty text. In replies, a value that is not set leaves
/// the element empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromQuery, ToXml)]
pub struct AttributeValue {
    #[query(keep_empty)]
    pub value: Option<String>,
}

impl AttributeValue {
    pub fn of(value: Option<impl ToString>) -> Self {
        Self { value: value.map(|value| value.to_string()) }
    }
}
