//! What every operation, every job and the repository itself must have.

use super::{Breach, Rule};
use crate::codegen::{camel_case, listed, stale};
use crate::repo::{Repo, has_extension};

pub(super) const RULES: &[Rule] = &[
    ("registries-fresh", registries_fresh),
    ("golden", golden),
    ("torture", torture),
    ("documents", documents),
];

fn registries_fresh(repo: &Repo) -> Vec<Breach> {
    match stale(repo) {
        Ok(stale) => {
            stale.iter().map(|(path, _)| Breach::of(path, "stale: run `cargo xtask codegen`")).collect()
        }
        Err(error) => vec![Breach::of("crates/control/src", format!("{error:#}"))],
    }
}

/// Requests and their answers are shown, one file a case, for every operation.
fn golden(repo: &Repo) -> Vec<Breach> {
    let actions = ["Operation", "BlockOperation"].iter().flat_map(|shape| listed(repo, shape));
    let without = actions.filter(|action| {
        let prefix = format!("tests/golden/{action}/");
        !repo.files.keys().any(|path| path.starts_with(&prefix) && has_extension(path, "txt"))
    });
    without
        .map(|action| Breach::of(&format!("tests/golden/{action}/"), "the operation has no golden case"))
        .collect()
}

/// Every job is killed at every step by some test: one in its own folder, or one whose line names it.
fn torture(repo: &Repo) -> Vec<Breach> {
    let jobs = listed(repo, "Job").into_iter();
    let without = jobs.filter(|job| {
        let own = [format!("crates/control/src/jobs/{job}.rs"), format!("crates/control/src/jobs/{job}/")];
        let mut rust = repo.texts().filter(|(path, _)| has_extension(path, "rs"));
        !rust.any(|(path, text)| {
            let is_own = own.iter().any(|place| path.starts_with(place));
            let names_it =
                |line: &str| is_own || line.contains(&camel_case(job)) || line.contains(job.as_str());
            text.lines().any(|line| line.contains("torture") && names_it(line))
        })
    });
    without.map(|job| Breach::of(&job, "no torture line in any test of this job")).collect()
}

const DOCUMENTS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "STYLE.md",
    "SPECIFICATION.md",
    "CHANGELOG.md",
    "LICENSE",
    "docs/glossary.md",
    "docs/api-coverage.md",
    "bench/README.md",
    ".ci/run",
];
const ARCHITECTURE_LINES_MAX: usize = 250;

fn documents(repo: &Repo) -> Vec<Breach> {
    let missing = DOCUMENTS.iter().filter(|path| !repo.files.contains_key(**path));
    let mut breaches: Vec<Breach> = missing.map(|path| Breach::of(path, "is missing")).collect();
    let line_count = repo.text("ARCHITECTURE.md").unwrap_or_default().lines().count();
    if line_count > ARCHITECTURE_LINES_MAX {
        breaches.push(Breach::of(
            "ARCHITECTURE.md",
            format!("{line_count} lines, at most {ARCHITECTURE_LINES_MAX}"),
        ));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::planted;

    const MOD: &str = "pub(crate) const ALL: &[Entry] = &[];\n";
    const OPERATION: (&str, &str) =
        ("crates/control/src/operations/copy_image.rs", "impl Operation for CopyImage {\n}\n");
    const JOB: (&str, &str) =
        ("crates/control/src/jobs/copy_snapshot.rs", "impl Job for CopySnapshot {\n}\n");

    #[test]
    fn a_stale_registry_is_found() {
        let repo = planted(&[("crates/control/src/operations/mod.rs", MOD), OPERATION]);
        assert_eq!(registries_fresh(&repo).len(), 1);
        assert_eq!(registries_fresh(&planted(&[("crates/control/src/operations/mod.rs", MOD)])), []);
    }

    #[test]
    fn an_operation_without_a_golden_case_is_found() {
        assert_eq!(golden(&planted(&[OPERATION])).len(), 1);
        assert_eq!(golden(&planted(&[OPERATION, ("tests/golden/copy_image/plain.txt", "")])), []);
    }

    #[test]
    fn a_job_without_torture_is_found() {
        assert_eq!(torture(&planted(&[JOB])).len(), 1);
        let (named, unnamed) = ("fn f() { torture(copy_snapshot); }", "fn f() { torture(scene); }");
        assert_eq!(torture(&planted(&[JOB, ("crates/control/tests/jobs.rs", named)])), []);
        assert_eq!(torture(&planted(&[JOB, ("crates/control/tests/jobs.rs", unnamed)])).len(), 1);
        assert_eq!(
            torture(&planted(&[JOB, ("crates/control/src/jobs/copy_snapshot/tests.rs", unnamed)])),
            []
        );
    }

    #[test]
    fn missing_and_overlong_documents_are_found() {
        assert_eq!(documents(&planted(&[])).len(), DOCUMENTS.len());
        let long = "line\n".repeat(ARCHITECTURE_LINES_MAX + 1);
        let mut files: Vec<(&str, &str)> = DOCUMENTS.iter().map(|path| (*path, "")).collect();
        assert_eq!(documents(&planted(&files)), []);
        files.push(("ARCHITECTURE.md", long.as_str()));
        assert_eq!(documents(&planted(&files)).len(), 1);
    }
}
