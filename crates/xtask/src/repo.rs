//! The tracked files of the repository and what cargo says about its packages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::source::Source;

#[derive(Debug, Default)]
pub(crate) struct Repo {
    pub(crate) root: PathBuf,
    /// Path from the root, with its bytes. Symbolic links and deleted files are left out.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The Rust files that parse; tests' files are among them, tests inside files are not.
    pub(crate) sources: Vec<Source>,
    pub(crate) packages: Vec<Package>,
}

#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) license: String,
    pub(crate) is_member: bool,
    /// Names of the direct dependencies; those of tests are left out.
    pub(crate) dependencies: Vec<String>,
}

/// The product runs on Linux; what its dependencies need elsewhere is not fetched.
const PLATFORM: &str = "--filter-platform=x86_64-unknown-linux-gnu";

impl Repo {
    pub(crate) fn open() -> Result<Self> {
        let root = PathBuf::from(output(Path::new("."), "git", &["rev-parse", "--show-toplevel"])?.trim());
        let listed = output(&root, "git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"])?;
        let mut repo = Self { root, ..Self::default() };
        for path in listed.split_terminator('\0') {
            let full = repo.root.join(path);
            if full.symlink_metadata().is_ok_and(|m| m.is_file()) {
                repo.add(path, std::fs::read(&full).with_context(|| format!("read {path}"))?)?;
            }
        }
        repo.packages = packages(&output(
            &repo.root,
            "cargo",
            &["metadata", "--format-version=1", "--locked", PLATFORM],
        )?)?;
        Ok(repo)
    }

    pub(crate) fn add(&mut self, path: &str, bytes: Vec<u8>) -> Result<()> {
        if has_extension(path, "rs") {
            let text = std::str::from_utf8(&bytes).with_context(|| format!("{path} is not UTF-8"))?;
            self.sources.push(Source::parse(path, text).with_context(|| format!("parse {path}"))?);
        }
        self.files.insert(path.to_owned(), bytes);
        Ok(())
    }

    /// A tracked text file; None when it is missing or not text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, bytes)| Some((path.as_str(), std::str::from_utf8(bytes).ok()?)))
    }

    /// Sources of products: test files left out.
    pub(crate) fn product(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| !source.is_test())
    }

    /// Stems of a folder's Rust modules, files and folders alike, sorted; `mod` and `tests` left out.
    pub(crate) fn modules(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        let mut stems: Vec<String> = self
            .sources
            .iter()
            .filter_map(|source| source.path.strip_prefix(&prefix))
            .filter_map(|rest| rest.strip_suffix("/mod.rs").or_else(|| rest.strip_suffix(".rs")))
            .filter(|stem| !stem.contains('/') && !matches!(*stem, "mod" | "tests"))
            .map(str::to_owned)
            .collect();
        stems.sort();
        stems.dedup();
        stems
    }
}

pub(crate) fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == extension)
}

/// Runs a program in a folder; its standard output, or an error that holds what it said.
pub(crate) fn output(folder: &Path, program: &str, args: &[&str]) -> Result<String> {
    let done = command(folder, program, args)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {program}"))?;
    if !done.status.success() {
        bail!("{program} {} ended with {}", args.join(" "), done.status);
    }
    String::from_utf8(done.stdout).with_context(|| format!("output of {program}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a developer's tool drives cargo and git; no product code is here"
)]
pub(crate) fn command(folder: &Path, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).args(args);
    command
}

fn packages(metadata: &str) -> Result<Vec<Package>> {
    let metadata: Value = serde_json::from_str(metadata).context("read cargo metadata")?;
    let members = list(&metadata, "workspace_members");
    Ok(list(&metadata, "packages").iter().map(|package| read_package(package, members)).collect())
}

fn read_package(package: &Value, members: &[Value]) -> Package {
    let mut dependencies: Vec<String> = list(package, "dependencies")
        .iter()
        .filter(|dependency| word(dependency, "kind") != "dev")
        .map(|dependency| word(dependency, "name"))
        .collect();
    dependencies.sort();
    Package {
        name: word(package, "name"),
        license: word(package, "license"),
        is_member: package.get("id").is_some_and(|id| members.contains(id)),
        dependencies,
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn word(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
pub(crate) fn planted(files: &[(&str, &str)]) -> Repo {
    let mut repo = Repo { root: PathBuf::from("."), ..Repo::default() };
    for (path, text) in files {
        repo.add(path, text.as_bytes().to_vec()).expect("planted sources parse");
    }
    repo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_from_cargo_metadata() {
        let read = packages(
            r#"{"workspace_members":["a 1"],"packages":[
              {"id":"a 1","name":"a","license":"MIT","dependencies":[
                {"name":"testkit","kind":"dev"},{"name":"model","kind":null}]},
              {"id":"b 1","name":"b","license":null,"dependencies":[]}]}"#,
        )
        .unwrap();
        let [a, b] = read.as_slice() else { panic!("two packages: {read:?}") };
        assert!(a.is_member && !b.is_member);
        assert_eq!(a.dependencies, ["model"]);
        assert_eq!(b.license, "");
    }

    #[test]
    fn modules_are_files_and_folders() {
        let repo = planted(&[
            ("c/ops/mod.rs", ""),
            ("c/ops/b.rs", ""),
            ("c/ops/a/mod.rs", ""),
            ("c/ops/a/tests.rs", ""),
        ]);
        assert_eq!(repo.modules("c/ops"), ["a", "b"]);
    }
}
