//! `cargo xtask mutants`: breaks a copy of the source in one place after another, and looks whether the tests notice.
//!
//! The list is crates/proof/mutants.json. For hours with nothing else to do: not part of `make test`.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::repo::{Repo, command};

pub(crate) const LIST: &str = "crates/proof/mutants.json";
const COPY: &str = "target/mutants/source";
const BUILT: &str = "target/mutants/built";
/// Histories that each mutant must survive to count as one that simulation does not see.
const SEEDS: &str = "40";

/// A mutant that proves nothing.
const NOT_BUILT: &str = "the compiler only";

#[derive(Debug, Deserialize)]
struct Mutant {
    name: String,
    file: String,
    /// Stands in the file exactly once.
    from: String,
    to: String,
}

/// All of them, or those whose name has one of these words in it.
pub(crate) fn run(repo: &Repo, words: &[&str]) -> Result<()> {
    let text = repo.text(LIST).context("no list")?;
    let mutants: Vec<Mutant> = serde_json::from_str(text).context(LIST)?;
    let is_wanted =
        |mutant: &&Mutant| words.is_empty() || words.iter().any(|word| mutant.name.contains(word));
    let stale = stale(repo, text)?;
    ensure!(stale.is_empty(), "not in its file exactly once, bring {LIST} up to date: {}", stale.join("; "));
    copy(repo)?;
    let root = repo.root.join(COPY);
    ensure!(notices(&root, "nothing")?.is_none(), "the tests fail without any mutation");
    let mut survivors = Vec::new();
    for mutant in mutants.iter().filter(is_wanted) {
        let path = root.join(&mutant.file);
        let text = fs::read_to_string(&path).with_context(|| mutant.file.clone())?;
        write(&path, &text.replace(&mutant.from, &mutant.to))?;
        let seen = notices(&root, &mutant.file);
        write(&path, &text)?;
        if let Some(by) = seen?.filter(|by| *by != NOT_BUILT) {
            println!("{:<70} noticed by {by}", mutant.name);
        } else {
            println!("{:<70} SURVIVED, or does not compile", mutant.name);
            survivors.push(mutant.name.as_str());
        }
    }
    ensure!(survivors.is_empty(), "not noticed: {}", survivors.join("; "));
    Ok(())
}

/// The names of those that are not in their file exactly once.
pub(crate) fn stale(repo: &Repo, list: &str) -> Result<Vec<String>> {
    let mutants: Vec<Mutant> = serde_json::from_str(list)?;
    let is_stale =
        |mutant: &Mutant| repo.text(&mutant.file).is_none_or(|text| text.matches(&mutant.from).count() != 1);
    Ok(mutants.into_iter().filter(is_stale).map(|mutant| mutant.name).collect())
}

fn copy(repo: &Repo) -> Result<()> {
    for file in repo.files.keys() {
        let (from, to) = (repo.root.join(file), repo.root.join(COPY).join(file));
        let bytes = fs::read(&from).with_context(|| file.clone())?;
        // What is the same keeps its time, and need not be built again.
        if fs::read(&to).is_ok_and(|old| old == bytes) {
            continue;
        }
        fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
        fs::write(&to, bytes)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// Which step noticed that something is wrong, fastest first.
fn notices(root: &Path, file: &str) -> Result<Option<&'static str>> {
    let is_store = file.starts_with("crates/blockstore");
    let of_the_room: &[&str] =
        if is_store { &["test", "-q", "-p", "blockstore"] } else { &["test", "-q", "-p", "volume"] };
    let steps: [(&str, &[&str]); 3] = [
        (NOT_BUILT, &["build", "-q", "-p", "proof"]),
        ("simulation", &["run", "-q", "-p", "proof", "--", "--seeds", SEEDS, "--seconds", "120"]),
        ("the tests of its room", of_the_room),
    ];
    for (by, args) in steps {
        let mut cargo = command(root, "cargo", args);
        cargo.env("CARGO_TARGET_DIR", root.join("../../..").join(BUILT));
        let status = cargo.stdout(Stdio::null()).stderr(Stdio::null()).status().context("start cargo")?;
        if !status.success() {
            return Ok(Some(by));
        }
    }
    Ok(None)
}
