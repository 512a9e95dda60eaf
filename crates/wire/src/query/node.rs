//! Parameters as a tree over the dots of their names.

use std::collections::BTreeMap;

use model::{Code, Fault};

use super::{Params, QueryContent, missing};

/// EC2's deepest request member has eight segments.
const DEPTH_MAX: usize = 12;

/// How a protocol writes lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// EC2: `Name.1`.
    Numbered,
    /// AWS query: `Name.member.1`.
    Member,
}

/// One name of the tree: perhaps a text, perhaps further names below it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Node {
    path: String,
    text: Option<String>,
    children: BTreeMap<String, Node>,
}

impl Node {
    /// The tree of all parameters that are not in `consumed`.
    pub fn tree(params: &Params, consumed: &[&str], lists: Lists) -> Result<Self, Fault> {
        let mut root = Self::default();
        for (name, value) in params.iter().filter(|(name, _)| !consumed.contains(name)) {
            root.insert(name, value, lists)?;
        }
        Ok(root)
    }

    fn insert(&mut self, name: &str, value: &str, lists: Lists) -> Result<(), Fault> {
        let segments: Vec<&str> = name.split('.').collect();
        if segments.len() > DEPTH_MAX || segments.contains(&"") {
            let message = format!("The parameter {name} is not recognized");
            return Err(Fault::new(Code::UnknownParameter, message));
        }
        let mut at = self;
        let mut end = 0;
        for (i, segment) in segments.iter().enumerate() {
            end += segment.len() + usize::from(i > 0);
            let next_is_index = segments.get(i + 1).is_some_and(|next| list_index(next).is_some());
            if lists == Lists::Member && *segment == "member" && next_is_index {
                continue;
            }
            at = at.children.entry((*segment).to_owned()).or_default();
            name.get(..end).unwrap_or(name).clone_into(&mut at.path);
        }
        at.text = Some(value.to_owned());
        Ok(())
    }

    /// The full dotted name, empty for the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.get(name)
    }

    pub fn children(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.children.iter().map(|(name, child)| (name.as_str(), child))
    }

    /// Whether every text below here is empty.
    pub fn is_blank(&self) -> bool {
        self.text.as_deref().is_none_or(str::is_empty) && self.children.values().all(Self::is_blank)
    }

    /// The first node at or below here that has a text: the parameter that the caller really wrote.
    pub(super) fn first_leaf(&self) -> &Self {
        let mut at = self;
        while let (None, Some(first)) = (&at.text, at.children.values().next()) {
            at = first;
        }
        at
    }

    /// The member `name`, which must be there.
    pub fn required<T: QueryContent>(&self, name: &str) -> Result<T, Fault> {
        self.optional(name)?.ok_or_else(|| missing(&self.path_of(name)))
    }

    /// The member `name`, None when absent, or empty where empty says nothing.
    pub fn optional<T: QueryContent>(&self, name: &str) -> Result<Option<T>, Fault> {
        let present = self.child(name).filter(|node| T::EMPTY_SPEAKS || !node.is_blank());
        present.map(T::from_node).transpose()
    }

    /// The member `name`, which must be there but may be empty.
    pub fn required_even_empty<T: QueryContent>(&self, name: &str) -> Result<T, Fault> {
        self.optional_even_empty(name)?.ok_or_else(|| missing(&self.path_of(name)))
    }

    /// The member `name`, None only when absent.
    pub fn optional_even_empty<T: QueryContent>(&self, name: &str) -> Result<Option<T>, Fault> {
        self.child(name).map(T::from_node).transpose()
    }

    /// The elements of the list `name` in the order of their numbers, which may begin anywhere and
    /// have gaps. An empty list is the same as none.
    pub fn list<T: QueryContent>(&self, name: &str) -> Result<Vec<T>, Fault> {
        let mut values = Vec::new();
        for node in self.elements(name) {
            if T::EMPTY_SPEAKS || !node.is_blank() {
                values.push(T::from_node(node)?);
            } else {
                values.extend(T::from_empty_element(node)?);
            }
        }
        Ok(values)
    }

    /// As [`Self::list`], with elements that are present but empty.
    pub fn list_even_empty<T: QueryContent>(&self, name: &str) -> Result<Vec<T>, Fault> {
        self.elements(name).into_iter().map(T::from_node).collect()
    }

    fn elements(&self, name: &str) -> Vec<&Self> {
        let Some(list) = self.child(name) else { return Vec::new() };
        let mut numbered: Vec<_> =
            list.children().filter_map(|(index, node)| Some((list_index(index)?, node))).collect();
        numbered.sort_by_key(|(index, _)| *index);
        numbered.into_iter().map(|(_, node)| node).collect()
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// A list number: digits without padding, so that one element has one name.
pub(super) fn list_index(segment: &str) -> Option<u32> {
    let padded = segment.len() > 1 && segment.starts_with('0');
    let digits = !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_digit());
    (digits && !padded).then(|| segment.parse().ok())?
}
