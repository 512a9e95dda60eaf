//! `cargo xtask codegen`: the registries of control, written from its folders.
//!
//! A person adds one file; the `mod` line and the entry in `ALL` follow from its name. The head of
//! each mod.rs (its documentation and imports) is a person's and is kept.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};

use crate::repo::{Repo, command};

/// A folder whose mod.rs is generated.
struct Registry {
    folder: &'static str,
    /// What a file implements to be listed in `ALL`; other files are modules only.
    shape: &'static str,
    visibility: &'static str,
}

const REGISTRIES: &[Registry] = &[
    Registry { folder: "crates/control/src/operations", shape: "Operation", visibility: "" },
    Registry { folder: "crates/control/src/block_operations", shape: "BlockOperation", visibility: "" },
    Registry { folder: "crates/control/src/jobs", shape: "Job", visibility: "pub(crate) " },
];

pub(crate) fn write(repo: &Repo) -> Result<()> {
    for (path, wanted) in stale(repo)? {
        std::fs::write(repo.root.join(&path), wanted).with_context(|| format!("write {path}"))?;
        println!("wrote {path}");
    }
    Ok(())
}

pub(crate) fn check(repo: &Repo) -> Result<()> {
    let stale: Vec<String> = stale(repo)?.into_iter().map(|(path, _)| path).collect();
    ensure!(stale.is_empty(), "stale, run `cargo xtask codegen`: {}", stale.join(", "));
    Ok(())
}

/// The generated files that are not as they should be, with what they should be.
pub(crate) fn stale(repo: &Repo) -> Result<Vec<(String, String)>> {
    let mut stale = Vec::new();
    for registry in REGISTRIES {
        let path = format!("{}/mod.rs", registry.folder);
        let Some(now) = repo.text(&path) else { continue };
        let wanted = format_rust(&repo.root, &generate(repo, registry, now)?)?;
        if wanted != now {
            stale.push((path, wanted));
        }
    }
    Ok(stale)
}

fn generate(repo: &Repo, registry: &Registry, now: &str) -> Result<String> {
    let entry = entry_type(now).with_context(|| format!("{}/mod.rs has no `ALL`", registry.folder))?;
    let mut modules = String::new();
    let mut entries = String::new();
    for stem in repo.modules(registry.folder) {
        writeln!(modules, "{}mod {stem};", registry.visibility)?;
        if implements(repo, registry, &stem) {
            writeln!(entries, "{entry}::of::<{stem}::{}>(),", camel_case(&stem))?;
        }
    }
    let tests = format!("{}/tests.rs", registry.folder);
    let tests = if repo.files.contains_key(&tests) { "\n#[cfg(test)]\nmod tests;\n" } else { "" };
    Ok(format!("{}{modules}\npub(crate) const ALL: &[{entry}] = &[{entries}];\n{tests}", head(now)))
}

/// The lines before the first module or constant.
fn head(now: &str) -> String {
    now.lines()
        .take_while(|line| !is_generated(line))
        .flat_map(|line| [line, "\n"])
        .collect::<String>()
        .trim_end()
        .to_owned()
        + "\n\n"
}

fn is_generated(line: &str) -> bool {
    ["mod ", "pub mod ", "pub(crate) mod ", "pub(super) mod ", "pub(crate) const ALL", "#[cfg(test)]"]
        .iter()
        .any(|start| line.starts_with(start))
}

/// `Entry` of `pub(crate) const ALL: &[Entry]`.
fn entry_type(now: &str) -> Option<&str> {
    let (_, rest) = now.split_once("const ALL: &[")?;
    Some(rest.split_once(']')?.0)
}

fn implements(repo: &Repo, registry: &Registry, stem: &str) -> bool {
    let wanted = format!("impl {} for {} {{", registry.shape, camel_case(stem));
    [format!("{}/{stem}.rs", registry.folder), format!("{}/{stem}/mod.rs", registry.folder)]
        .iter()
        .any(|path| repo.text(path).is_some_and(|text| text.contains(&wanted)))
}

/// The files of a registry that implement its shape: operations or jobs.
pub(crate) fn listed(repo: &Repo, shape: &str) -> Vec<String> {
    let registries = REGISTRIES.iter().filter(|registry| registry.shape == shape);
    registries
        .flat_map(|registry| {
            let stems = repo.modules(registry.folder).into_iter();
            stems.filter(|stem| implements(repo, registry, stem))
        })
        .collect()
}

pub(crate) fn camel_case(snake: &str) -> String {
    let mut camel = String::new();
    for word in snake.split('_') {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

/// An acronym is one word: `AMIId` is `amiid`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut after_small = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && after_small {
            snake.push('_');
        }
        after_small = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn format_rust(root: &Path, text: &str) -> Result<String> {
    let mut rustfmt = command(root, "rustfmt", &["--edition=2024", "--emit=stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("start rustfmt")?;
    rustfmt.stdin.take().context("rustfmt has no input")?.write_all(text.as_bytes())?;
    let done = rustfmt.wait_with_output().context("wait for rustfmt")?;
    if !done.status.success() {
        bail!("rustfmt refused generated code:\n{text}");
    }
    String::from_utf8(done.stdout).context("rustfmt's output")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::planted;

    const HEAD: &str = "//! Actions.\n\nuse crate::Entry;\n\n";
    const OPERATION: &str = "pub(super) struct CopyImage;\nimpl Operation for CopyImage {\n}\n";

    fn plant(mod_rs: &str) -> Repo {
        planted(&[
            ("crates/control/src/operations/mod.rs", mod_rs),
            ("crates/control/src/operations/copy_image.rs", OPERATION),
            ("crates/control/src/operations/answer.rs", "struct Answer;"),
        ])
    }

    #[test]
    fn a_folder_becomes_modules_and_entries() {
        let repo = plant(&format!("{HEAD}mod gone;\n\npub(crate) const ALL: &[Entry] = &[];\n"));
        let stale = stale(&repo).unwrap();
        let [(path, wanted)] = stale.as_slice() else { panic!("one stale file: {stale:?}") };
        assert_eq!(path, "crates/control/src/operations/mod.rs");
        assert_eq!(
            *wanted,
            format!(
                "{HEAD}mod answer;\nmod copy_image;\n\n\
                 pub(crate) const ALL: &[Entry] = &[Entry::of::<copy_image::CopyImage>()];\n"
            )
        );
        assert_eq!(stale_after(wanted), 0, "a second run changes nothing");
    }

    fn stale_after(mod_rs: &str) -> usize {
        stale(&plant(mod_rs)).unwrap().len()
    }

    #[test]
    fn a_registry_without_its_list_is_an_error() {
        assert!(stale(&plant("//! Actions.\n")).is_err());
    }

    #[test]
    fn names_follow_the_room_rule() {
        assert_eq!(camel_case("put_snapshot_block"), "PutSnapshotBlock");
        assert_eq!(snake_case("PutSnapshotBlock"), "put_snapshot_block");
    }
}
