//! Responses as XML: a streaming writer, the traits that the derive implements, and envelopes.
//!
//! The only reading is that of a response's single values, for clients.

mod element;
mod envelope;
mod reader;

pub use element::Element;
pub use envelope::{ErrorSide, aws_query_error, aws_query_response, ec2_error, ec2_response};
pub use reader::first_text;

use std::fmt::Display;

use crate::member::{Kind, Member, Scalar};

/// A structure of a response. Derived: `#[derive(ToXml)]`.
pub trait ToXml {
    const MEMBERS: &'static [Member];

    /// Writes the members, without an element around them.
    fn write(&self, into: &mut Element<'_>);
}

/// Anything that can be the content of one element: a leaf or a structure.
///
/// Leaves are everything that implements `Display` (booleans print as `true` and `false`,
/// timestamps as ISO 8601 with milliseconds, [`crate::Blob`] as base64); structures get this from
/// the derive.
pub trait XmlContent {
    const KIND: Kind;

    fn write_content(&self, into: &mut Element<'_>);
}

impl<T: Display> XmlContent for T {
    const KIND: Kind = Kind::Scalar(Scalar::String);

    fn write_content(&self, into: &mut Element<'_>) {
        into.text(self);
    }
}

#[cfg(test)]
mod tests;
