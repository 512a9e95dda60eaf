//! `cargo xtask tidy`: the rules of ARCHITECTURE.md and STYLE.md that neither compiler nor clippy knows.
//!
//! A rule is a function from the repository to what breaks it, with a test that plants a breach.

mod documents;
mod names;
mod packages;
mod registry;
mod rooms;
mod sizes;
mod words;

use std::fmt;

use anyhow::{Result, bail};

use crate::repo::Repo;
use crate::source::{Said, Source};

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Breach {
    /// A file's path from the root, or a package's name.
    place: String,
    /// Zero: the place as a whole.
    line: usize,
    what: String,
}

impl Breach {
    fn of(place: &str, what: impl Into<String>) -> Self {
        Self { place: place.to_owned(), line: 0, what: what.into() }
    }

    fn at(source: &Source, said: &Said, why: &str) -> Self {
        Self { place: source.path.clone(), line: said.line, what: format!("`{}`: {why}", short(&said.text)) }
    }

    fn on(place: &str, line: usize, what: impl Into<String>) -> Self {
        Self { place: place.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.place, self.what)
        } else {
            write!(f, "{}:{}: {}", self.place, self.line, self.what)
        }
    }
}

/// The first line, cut to what fits on one.
fn short(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    line.chars().take(60).collect()
}

type Rule = (&'static str, fn(&Repo) -> Vec<Breach>);

const RULES: &[&[Rule]] = &[
    rooms::RULES,
    names::RULES,
    words::RULES,
    sizes::RULES,
    packages::RULES,
    registry::RULES,
    documents::RULES,
];

pub(crate) fn run(repo: &Repo) -> Result<()> {
    let mut breach_count = 0;
    let mut rule_count = 0;
    for (name, rule) in RULES.iter().copied().flatten() {
        rule_count += 1;
        let mut breaches = rule(repo);
        breaches.sort();
        breaches.dedup();
        breach_count += breaches.len();
        for breach in breaches {
            println!("{breach} [{name}]");
        }
    }
    if breach_count > 0 {
        bail!("tidy: {breach_count} places break the rules");
    }
    println!("tidy: {rule_count} rules hold over {} files", repo.files.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breach_names_its_place_and_quotes_what_it_found() {
        let source = Source::parse("a.rs", "").unwrap();
        let said = Said { text: "first\nsecond".to_owned(), line: 7 };
        assert_eq!(Breach::at(&source, &said, "why").to_string(), "a.rs:7: `first`: why");
        assert_eq!(Breach::of("a.rs", "why").to_string(), "a.rs: why");
    }

    #[test]
    fn rules_have_distinct_names() {
        let mut names: Vec<&str> = RULES.iter().copied().flatten().map(|(name, _)| *name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
