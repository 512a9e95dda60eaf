//! Who may depend on whom, on what, and how much of it.

use super::{Breach, Rule};
use crate::repo::{Package, Repo};

pub(super) const RULES: &[Rule] = &[
    ("arrows", arrows),
    ("licences", licences),
    ("banned-packages", banned_packages),
    ("package-count", package_count),
    ("workspace-lints", workspace_lints),
    ("clippy-bans", clippy_bans),
];

/// The arrows of ARCHITECTURE.md: each room, and the rooms that it may know.
const ARROWS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("wire-derive", &[]),
    ("wire", &["model", "wire-derive"]),
    ("policy", &["model"]),
    ("metastore", &["model"]),
    ("blockstore", &["model"]),
    ("volume", &["blockstore", "model"]),
    ("network", &["model"]),
    ("hypervisor", &["model"]),
    ("machine", &["blockstore", "hypervisor", "model", "network", "volume"]),
    ("bundle", &["model"]),
    ("disk", &["model"]),
    ("control", &["blockstore", "bundle", "disk", "metastore", "model", "policy", "wire"]),
    ("server", &["blockstore", "control", "hypervisor", "machine", "metastore", "model", "volume", "wire"]),
    ("cli", &["model", "wire"]),
    ("katagami", &["cli", "machine", "model", "server"]),
    ("proof", &["blockstore", "model", "volume"]),
    ("xtask", &[]),
];

/// Depends on everything and is depended on only by tests.
const TESTKIT: &str = "testkit";

fn members(repo: &Repo) -> impl Iterator<Item = &Package> {
    repo.packages.iter().filter(|package| package.is_member)
}

fn arrows(repo: &Repo) -> Vec<Breach> {
    let rooms: Vec<&str> = members(repo).map(|package| package.name.as_str()).collect();
    let mut breaches = Vec::new();
    for package in members(repo).filter(|package| package.name != TESTKIT) {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            breaches.push(Breach::of(&package.name, "a room without arrows: decide what it may know"));
            continue;
        };
        let known = package.dependencies.iter().map(String::as_str).filter(|name| rooms.contains(name));
        let forbidden = known.filter(|name| !allowed.contains(name));
        breaches.extend(forbidden.map(|name| Breach::of(&package.name, format!("must not know {name}"))));
    }
    breaches
}

const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "Unlicense",
    "CC0-1.0",
    "BSL-1.0",
    "Apache-2.0 WITH LLVM-exception",
    "CDLA-Permissive-2.0",
];

fn licences(repo: &Repo) -> Vec<Breach> {
    let strange = repo.packages.iter().filter(|package| !is_permissive(&package.license));
    strange.map(|p| Breach::of(&p.name, format!("licence `{}` is not on the list", p.license))).collect()
}

/// Reads an SPDX expression: some alternative must consist of listed licences only.
fn is_permissive(expression: &str) -> bool {
    let tokens = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = tokens.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    alternatives(&mut rest) == Some(true) && rest.is_empty()
}

/// Whether an alternative holds; None where the text is no expression.
fn alternatives(rest: &mut &[&str]) -> Option<bool> {
    let mut holds = conjunction(rest)?;
    while take(rest, "OR") {
        holds |= conjunction(rest)?;
    }
    Some(holds)
}

fn conjunction(rest: &mut &[&str]) -> Option<bool> {
    let mut holds = term(rest)?;
    while take(rest, "AND") {
        holds &= term(rest)?;
    }
    Some(holds)
}

fn term(rest: &mut &[&str]) -> Option<bool> {
    if take(rest, "(") {
        let holds = alternatives(rest)?;
        return take(rest, ")").then_some(holds);
    }
    let name = next(rest)?;
    if take(rest, "WITH") {
        return Some(LICENCES.contains(&format!("{name} WITH {}", next(rest)?).as_str()));
    }
    Some(LICENCES.contains(&name))
}

fn next<'a>(rest: &mut &[&'a str]) -> Option<&'a str> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(first)
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    let found = rest.first() == Some(&word);
    if found {
        next(rest);
    }
    found
}

/// One TLS and crypto stack, and it is not C.
const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls", "libssh2-sys", "aws-sdk-ec2"];

fn banned_packages(repo: &Repo) -> Vec<Breach> {
    let found = repo.packages.iter().filter(|package| BANNED.contains(&package.name.as_str()));
    found.map(|package| Breach::of(&package.name, "this package is not to be used")).collect()
}

/// Raised by hand, with the reason in docs/decisions/0002-dependencies.md.
const PACKAGES_MAX: usize = 300;

fn package_count(repo: &Repo) -> Vec<Breach> {
    let count = repo.text("Cargo.lock").unwrap_or_default().matches("[[package]]").count();
    if count <= PACKAGES_MAX {
        return Vec::new();
    }
    vec![Breach::of(
        "Cargo.lock",
        format!("{count} packages, at most {PACKAGES_MAX}: leave one out, or raise the limit"),
    )]
}

fn workspace_lints(repo: &Repo) -> Vec<Breach> {
    let manifests =
        repo.texts().filter(|(path, _)| path.starts_with("crates/") && path.ends_with("/Cargo.toml"));
    manifests
        .filter(|(_, text)| !text.contains("[lints]\nworkspace = true"))
        .map(|(path, _)| Breach::of(path, "does not take the lints of the workspace"))
        .collect()
}

/// What clippy.toml must forbid: the effects that belong behind a port.
const CLIPPY_BANS: &[&str] = &[
    "std::time::SystemTime::now",
    "std::time::Instant::now",
    "tokio::time::Instant::now",
    "getrandom::fill",
    "std::env::var",
    "std::process::Command::new",
    "tokio::process::Command::new",
    "std::fs::rename",
];

fn clippy_bans(repo: &Repo) -> Vec<Breach> {
    let text = repo.text("clippy.toml").unwrap_or_default();
    let missing = CLIPPY_BANS.iter().filter(|ban| !text.contains(&format!("path = \"{ban}\"")));
    missing.map(|ban| Breach::of("clippy.toml", format!("does not forbid {ban}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::planted;

    fn package(name: &str, license: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(ToString::to_string).collect();
        Package { name: name.to_owned(), license: license.to_owned(), is_member: true, dependencies }
    }

    fn workspace(packages: Vec<Package>) -> Repo {
        Repo { packages, ..Repo::default() }
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_found() {
        let rooms = |from: &str, to: &str| {
            workspace(vec![package(from, "MIT", &[to, "serde"]), package(to, "MIT", &[])])
        };
        assert_eq!(arrows(&rooms("blockstore", "model")), []);
        assert_eq!(arrows(&rooms("testkit", "control")), []);
        for (from, to) in
            [("model", "wire"), ("control", "hypervisor"), ("cli", "metastore"), ("control", "testkit")]
        {
            assert_eq!(arrows(&rooms(from, to)).len(), 1, "{from} to {to}");
        }
    }

    #[test]
    fn a_new_room_needs_its_arrows() {
        assert_eq!(arrows(&workspace(vec![package("attic", "MIT", &[])])).len(), 1);
    }

    #[test]
    fn licences_are_read_as_expressions() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(is_permissive(good), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND MPL-2.0",
            "MPL-2.0 OR (MIT AND LGPL-3.0)",
            "MIT OR",
            "(MIT",
            "GPL-2.0 WITH LLVM-exception",
        ] {
            assert!(!is_permissive(bad), "{bad}");
        }
        assert_eq!(licences(&workspace(vec![package("a", "MPL-2.0", &[])])).len(), 1);
    }

    #[test]
    fn banned_and_too_many_packages_are_found() {
        assert_eq!(banned_packages(&workspace(vec![package("openssl-sys", "MIT", &[])])).len(), 1);
        let lock = |count: usize| "[[package]]\n".repeat(count);
        assert_eq!(package_count(&planted(&[("Cargo.lock", lock(PACKAGES_MAX).as_str())])), []);
        assert_eq!(package_count(&planted(&[("Cargo.lock", lock(PACKAGES_MAX + 1).as_str())])).len(), 1);
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let repo = planted(&[
            ("crates/a/Cargo.toml", "[package]\n"),
            ("crates/b/Cargo.toml", "[lints]\nworkspace = true\n"),
        ]);
        assert_eq!(workspace_lints(&repo).len(), 1);
    }

    #[test]
    fn a_ban_that_is_gone_is_found() {
        assert_eq!(clippy_bans(&planted(&[("clippy.toml", "")])).len(), CLIPPY_BANS.len());
        let all: Vec<String> = CLIPPY_BANS.iter().map(|ban| format!("{{ path = \"{ban}\" }}")).collect();
        assert_eq!(clippy_bans(&planted(&[("clippy.toml", all.join(",").as_str())])), []);
    }
}
