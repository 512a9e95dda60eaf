//! Filters of the describe operations: names AND together, values of one name OR.
//!
//! An operation writes a table of the names it knows and how to read each from an item:
//!
//! ```
//! use wire::filter::{Filters, Table, many, one, opt};
//! use wire::shapes::Filter;
//!
//! struct Disk {
//!     id: String,
//!     size_gib: u32,
//!     zone: Option<String>,
//!     tags: Vec<(String, String)>,
//! }
//!
//! const TABLE: Table<Disk> = Table {
//!     names: &[
//!         ("availability-zone", |disk| opt(disk.zone.as_ref())),
//!         ("size", |disk| one(disk.size_gib)),
//!         ("volume-id", |disk| one(&disk.id)),
//!     ],
//!     tags: Some(|disk| disk.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()),
//! };
//!
//! # fn main() -> Result<(), model::Fault> {
//! let asked = [Filter { name: "volume-id".into(), values: vec!["vol-1*".into()] }];
//! let filters = Filters::parse(&asked, &TABLE)?;
//! let mut disks = vec![Disk { id: "vol-12".into(), size_gib: 8, zone: None, tags: Vec::new() }];
//! disks.retain(|disk| filters.matches(disk));
//! assert_eq!(disks.len(), 1);
//! # Ok(())
//! # }
//! ```

mod pattern;

pub use pattern::Pattern;

use std::fmt::{self, Display};

use model::{Code, Fault};

use crate::shapes::Filter;

/// EC2's limit on the values of all filters of a request.
const VALUES_MAX: usize = 200;

/// The texts of one item that a filter looks at; the filter matches when any of them does.
pub type Values<T> = fn(&T) -> Vec<String>;

/// The tags of an item, key and value.
pub type Tags<T> = for<'a> fn(&'a T) -> Vec<(&'a str, &'a str)>;

/// The filters that an operation supports.
pub struct Table<T: 'static> {
    pub names: &'static [(&'static str, Values<T>)],
    /// For resources with tags: makes `tag:<key>`, `tag-key` and `tag-value` work.
    pub tags: Option<Tags<T>>,
}

/// The filters of one request, checked.
pub struct Filters<T> {
    filters: Vec<(Selector<T>, Vec<Pattern>)>,
}

enum Selector<T> {
    Values(&'static str, Values<T>),
    Tag(Tags<T>, String),
    TagKey(Tags<T>),
    TagValue(Tags<T>),
}

impl<T> Filters<T> {
    /// Refuses names that the table does not have, and more values than EC2 takes.
    pub fn parse(asked: &[Filter], table: &Table<T>) -> Result<Self, Fault> {
        let count: usize = asked.iter().map(|filter| filter.values.len()).sum();
        if count > VALUES_MAX {
            let message = format!("The request has {count} filter values (the maximum is {VALUES_MAX})");
            return Err(Fault::new(Code::FilterLimitExceeded, message));
        }
        let filters = asked.iter().map(|filter| {
            let selector = Selector::find(&filter.name, table).ok_or_else(|| invalid(&filter.name))?;
            if filter.values.is_empty() {
                let message = format!("The filter '{}' needs at least one value", shown(&filter.name));
                return Err(Fault::value(message));
            }
            let patterns = filter.values.iter().map(|value| Pattern::parse(value));
            Ok((selector, patterns.collect::<Result<_, _>>()?))
        });
        Ok(Self { filters: filters.collect::<Result<_, _>>()? })
    }

    /// Whether the item passes every filter.
    pub fn matches(&self, item: &T) -> bool {
        self.filters.iter().all(|(selector, patterns)| {
            let matches = |text: &str| patterns.iter().any(|pattern| pattern.matches(text));
            selector.any(item, &matches)
        })
    }

    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// The filters whose values have no wildcards, by name (`tag:<key>` included), for a search that brings
    /// fewer items to match.
    pub fn exact(&self) -> impl Iterator<Item = (Name<'_>, Vec<&str>)> {
        self.filters.iter().filter_map(|(selector, patterns)| {
            let values: Option<Vec<&str>> = patterns.iter().map(Pattern::exact).collect();
            Some((selector.name()?, values?))
        })
    }

    /// Whether matching looks at the tags of an item.
    pub fn read_tags(&self) -> bool {
        self.filters.iter().any(|(selector, _)| !matches!(selector, Selector::Values(..)))
    }
}

/// What a filter looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// A name of the operation's table.
    Listed(&'static str),
    /// The value of the tag with this key.
    Tag(&'a str),
}

impl<T> Selector<T> {
    fn find(name: &str, table: &Table<T>) -> Option<Self> {
        if let Some((known, values)) = table.names.iter().find(|(known, _)| *known == name) {
            return Some(Self::Values(known, *values));
        }
        let tags = table.tags?;
        match name {
            "tag-key" => Some(Self::TagKey(tags)),
            "tag-value" => Some(Self::TagValue(tags)),
            _ => name.strip_prefix("tag:").map(|key| Self::Tag(tags, key.to_owned())),
        }
    }

    fn name(&self) -> Option<Name<'_>> {
        match self {
            Self::Values(name, _) => Some(Name::Listed(name)),
            Self::Tag(_, key) => Some(Name::Tag(key)),
            Self::TagKey(_) | Self::TagValue(_) => None,
        }
    }

    fn any(&self, item: &T, matches: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Values(_, values) => values(item).iter().any(|text| matches(text)),
            Self::Tag(tags, key) => tags(item).iter().any(|(k, value)| k == key && matches(value)),
            Self::TagKey(tags) => tags(item).iter().any(|(key, _)| matches(key)),
            Self::TagValue(tags) => tags(item).iter().any(|(_, value)| matches(value)),
        }
    }
}

impl<T> fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names.iter().map(|(name, _)| name)).finish()
    }
}

impl<T> fmt::Debug for Filters<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.filters.iter().map(|(_, patterns)| patterns)).finish()
    }
}

/// One value: what `Display` says, which is how the value looks in replies.
pub fn one(value: impl Display) -> Vec<String> {
    vec![value.to_string()]
}

/// One value or none.
pub fn opt(value: Option<impl Display>) -> Vec<String> {
    many(value)
}

/// Any number of values.
pub fn many(values: impl IntoIterator<Item: Display>) -> Vec<String> {
    values.into_iter().map(|value| value.to_string()).collect()
}

fn invalid(name: &str) -> Fault {
    Fault::value(format!("The filter '{}' is invalid", shown(name)))
}

fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

#[cfg(test)]
mod tests;
