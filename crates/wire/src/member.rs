//! What a request or response looks like from outside: names and kinds, as constants.
//!
//! The derives fill these in, so that a test can hold every operation against a public service
//! model, and the query reader can tell a known parameter from an unknown one.

/// One named member of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The name on the wire; empty for a flattened structure.
    pub name: &'static str,
    pub kind: Kind,
}

/// What a member holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Scalar(Scalar),
    Structure(&'static [Member]),
    List {
        /// The element name in XML; empty in requests, where lists are numbered.
        item: &'static str,
        of: &'static Kind,
    },
    /// The members belong to the structure that holds this one.
    Flattened(&'static [Member]),
}

/// The leaf types of the EC2 API. Ids and enumerations are strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    String,
    Boolean,
    /// 32 bits.
    Integer,
    /// 64 bits.
    Long,
    Double,
    Timestamp,
    Blob,
}

impl Kind {
    /// This kind, except that a leaf is of the more exact type that the field's own type names.
    #[must_use]
    pub const fn with_scalar(self, scalar: Scalar) -> Self {
        match self {
            Self::Scalar(_) => Self::Scalar(scalar),
            Self::Structure(_) | Self::List { .. } | Self::Flattened(_) => self,
        }
    }
}

/// The member called `name`, looking through flattened structures.
pub fn find(members: &'static [Member], name: &str) -> Option<Member> {
    members.iter().find_map(|member| match member.kind {
        Kind::Flattened(inner) => find(inner, name),
        Kind::Scalar(_) | Kind::Structure(_) | Kind::List { .. } => (member.name == name).then_some(*member),
    })
}

/// Every leaf as a dotted path with its type: `Filter.N.Value.N` in requests (lists have `N`),
/// `imagesSet.item.imageId` in responses.
pub fn leaves(members: &'static [Member]) -> Vec<(String, Scalar)> {
    let mut found = Vec::new();
    for member in members {
        collect(member.name.to_owned(), member.kind, &mut found);
    }
    found
}

fn collect(path: String, kind: Kind, found: &mut Vec<(String, Scalar)>) {
    match kind {
        Kind::Scalar(scalar) => found.push((path, scalar)),
        Kind::List { item, of } => {
            let item = if item.is_empty() { "N" } else { item };
            collect(format!("{path}.{item}"), *of, found);
        }
        Kind::Structure(members) | Kind::Flattened(members) => {
            for member in members {
                let dotted = match (path.as_str(), member.name) {
                    ("", name) => name.to_owned(),
                    (path, "") => path.to_owned(),
                    (path, name) => format!("{path}.{name}"),
                };
                collect(dotted, member.kind, found);
            }
        }
    }
}
