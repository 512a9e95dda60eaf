//! Requests as form parameters: `BlockDeviceMapping.1.Ebs.SnapshotId=snap-…`.
//!
//! [`Params`] is the flat list as received; [`Node`] is the same as a tree over the dots;
//! [`FromQuery`], mostly derived, turns the tree into a request.

mod node;
mod params;
mod value;

pub use node::{Lists, Node};
pub use params::Params;
pub use value::{Blob, LeafError, Presence, QueryValue};

use model::{Code, Fault};

use crate::member::{Kind, Member, find};

/// Parameters of the protocol itself, which no operation declares.
pub const COMMON: &[&str] = &[
    "Action",
    "AWSAccessKeyId",
    "DryRun",
    "SecurityToken",
    "Signature",
    "SignatureMethod",
    "SignatureVersion",
    "Timestamp",
    "Version",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
];

/// A structure of a request. Derived: `#[derive(FromQuery)]`.
pub trait FromQuery: Sized {
    const MEMBERS: &'static [Member];

    fn from_query(node: &Node) -> Result<Self, Fault>;
}

/// Anything that can stand at one name: a leaf or a structure.
///
/// Leaves get this from [`QueryValue`], structures from the derive.
pub trait QueryContent: Sized {
    const KIND: Kind;
    /// Whether "present but empty" says something here. Where it does not, empty means absent:
    /// clients send `VpcId=` for an option that their user left out.
    const EMPTY_SPEAKS: bool;

    /// The value at `node`.
    fn from_node(node: &Node) -> Result<Self, Fault>;

    /// The value of a list element that is present but empty; None drops it from the list.
    fn from_empty_element(node: &Node) -> Result<Option<Self>, Fault> {
        Self::from_node(node).map(Some)
    }
}

impl<T: QueryValue> QueryContent for T {
    const KIND: Kind = Kind::Scalar(T::SCALAR);
    const EMPTY_SPEAKS: bool = T::EMPTY_SPEAKS;

    fn from_node(node: &Node) -> Result<Self, Fault> {
        T::parse(node.path(), node.text().unwrap_or_default())
    }

    fn from_empty_element(node: &Node) -> Result<Option<Self>, Fault> {
        T::parse_empty_element(node.path())
    }
}

/// The request of an EC2 operation. `consumed` names what the dispatcher has used up itself,
/// usually [`COMMON`].
///
/// An unknown parameter is found before a missing one, as EC2 does.
pub fn decode<T: FromQuery>(params: &Params, consumed: &[&str]) -> Result<T, Fault> {
    decode_lists(params, consumed, Lists::Numbered)
}

/// As [`decode`], for the AWS query services (STS, IAM), whose lists are `Name.member.N`.
pub fn decode_aws_query<T: FromQuery>(params: &Params, consumed: &[&str]) -> Result<T, Fault> {
    decode_lists(params, consumed, Lists::Member)
}

fn decode_lists<T: FromQuery>(params: &Params, consumed: &[&str], lists: Lists) -> Result<T, Fault> {
    let root = Node::tree(params, consumed, lists)?;
    refuse_unknown(&root, T::MEMBERS)?;
    T::from_query(&root)
}

fn refuse_unknown(node: &Node, members: &'static [Member]) -> Result<(), Fault> {
    for (name, child) in node.children() {
        let member = find(members, name).ok_or_else(|| unknown(child))?;
        refuse_unknown_kind(child, member.kind)?;
    }
    Ok(())
}

fn refuse_unknown_kind(node: &Node, kind: Kind) -> Result<(), Fault> {
    match kind {
        Kind::Scalar(_) => node.children().next().map_or(Ok(()), |(_, child)| Err(unknown(child))),
        Kind::Structure(members) | Kind::Flattened(members) => {
            // A structure has no text of its own; an empty one says nothing and is let through.
            if node.text().is_some_and(|text| !text.is_empty()) {
                return Err(unknown(node));
            }
            refuse_unknown(node, members)
        }
        Kind::List { of, .. } => {
            if node.text().is_some_and(|text| !text.is_empty()) {
                return Err(unknown(node));
            }
            node.children().try_for_each(|(index, child)| match node::list_index(index) {
                Some(_) => refuse_unknown_kind(child, *of),
                None => Err(unknown(child)),
            })
        }
    }
}

fn unknown(node: &Node) -> Fault {
    let message = format!("The parameter {} is not recognized", node.first_leaf().path());
    Fault::new(Code::UnknownParameter, message)
}

fn missing(path: &str) -> Fault {
    Fault::new(Code::MissingParameter, format!("The request must contain the parameter {path}"))
}

#[cfg(test)]
mod tests;
