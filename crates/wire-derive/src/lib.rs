//! `#[derive(FromQuery)]` and `#[derive(ToXml)]`: the wire names of the EC2 API from Rust field names.
//!
//! The traits, and what the generated code means, are described in the `wire` crate.

mod field;
mod from_query;
mod to_xml;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Reads a structure from request parameters.
///
/// The parameter of `image_id` is `ImageId`; `#[query("Owner")]` names another, as lists need, whose
/// wire name is singular. `T` is required, `Option<T>` is not, `Vec<T>` is a numbered list.
/// An empty text counts as absent unless the field is `#[query(keep_empty)]` or its type says that
/// empty means something. `#[query(flatten)]` takes the members of another structure into this one.
#[proc_macro_derive(FromQuery, attributes(query))]
pub fn from_query(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    from_query::expand(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}

/// Writes a structure as XML elements.
///
/// The element of `image_id` is `imageId`; `#[xml("imagesSet")]` names another. `Option` is left out
/// when None. `Vec<T>` is an element around one `<item>` each, there even when empty unless
/// `#[xml(skip_empty)]`; `#[xml(item = "groupId")]` names the items. `#[xml(flatten)]` writes the
/// members of another structure in place.
#[proc_macro_derive(ToXml, attributes(xml))]
pub fn to_xml(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    to_xml::expand(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}
