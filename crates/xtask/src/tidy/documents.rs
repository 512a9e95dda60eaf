//! What documents say about the code: links, promised tests, log lines.

use std::collections::BTreeSet;

use super::{Breach, Rule};
use crate::mutants;
use crate::repo::{Repo, has_extension};

pub(super) const RULES: &[Rule] =
    &[("links", links), ("promises", promises), ("runbook", runbook), ("mutants", mutants)];

const SPECIFICATION: &str = "SPECIFICATION.md";
const RUNBOOK: &str = "docs/operations/runbook.md";

/// Links between documents lead somewhere.
fn links(repo: &Repo) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (path, text) in repo.texts().filter(|(path, _)| has_extension(path, "md")) {
        for (index, line) in text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let file = target.split('#').next().unwrap_or_default();
                let is_ours = !file.is_empty() && !file.contains("://");
                if is_ours && !exists(repo, &resolved(path, file)) {
                    breaches.push(Breach::on(path, index + 1, format!("the link to {target} leads nowhere")));
                }
            }
        }
    }
    breaches
}

/// The path from the root that a link in `from` means.
fn resolved(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn exists(repo: &Repo, path: &str) -> bool {
    let folder = format!("{path}/");
    repo.files.contains_key(path) || repo.files.keys().any(|file| file.starts_with(&folder))
}

/// Every promise names tests that exist.
fn promises(repo: &Repo) -> Vec<Breach> {
    let Some(text) = repo.text(SPECIFICATION) else { return Vec::new() };
    let code = repo.texts().filter(|(path, _)| has_extension(path, "rs") || has_extension(path, "py"));
    let code: Vec<&str> = code.map(|(_, text)| text).collect();
    let is_test = |name: &str| {
        let starts = [format!("fn {name}("), format!("def {name}(")];
        code.iter().any(|text| starts.iter().any(|start| text.contains(start)))
    };
    let mut breaches = Vec::new();
    for (index, row) in rows(text) {
        let names: Vec<&str> = quoted(row.last().copied().unwrap_or_default()).collect();
        if names.is_empty() {
            breaches.push(Breach::on(SPECIFICATION, index, "a promise without a test"));
        }
        let missing = names.into_iter().filter(|name| !is_test(name));
        breaches
            .extend(missing.map(|name| Breach::on(SPECIFICATION, index, format!("no test is named {name}"))));
    }
    breaches
}

/// The rows of all tables below their heads: line number and cells.
fn rows(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let mut in_table = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let was_in_table = in_table && !line.starts_with("|--");
        in_table = line.starts_with("|--") || (in_table && line.starts_with('|'));
        let cells = line.strip_prefix('|')?.strip_suffix('|')?;
        was_in_table.then(|| (index + 1, cells.split('|').collect()))
    })
}

/// What stands between backticks.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Warnings and errors are told to operators, and nothing else is.
fn runbook(repo: &Repo) -> Vec<Breach> {
    let Some(text) = repo.text(RUNBOOK) else { return Vec::new() };
    let told: BTreeSet<&str> = rows(text)
        .flat_map(|(_, row)| quoted(row.first().copied().unwrap_or_default()).collect::<Vec<_>>())
        .collect();
    let mut breaches = Vec::new();
    let mut said = BTreeSet::new();
    for source in repo.product().filter(|source| !source.is_in("xtask")) {
        for line in log_lines(repo.text(&source.path).unwrap_or_default()) {
            if !told.contains(line) {
                breaches.push(Breach::of(&source.path, format!("`{line}` is not in {RUNBOOK}")));
            }
            said.insert(line);
        }
    }
    breaches.extend(told.difference(&said).map(|line| Breach::of(RUNBOOK, format!("nothing logs `{line}`"))));
    breaches
}

/// Each mutant stands in its file exactly once: one that nobody can make proves nothing.
fn mutants(repo: &Repo) -> Vec<Breach> {
    let Some(text) = repo.text(mutants::LIST) else { return Vec::new() };
    match mutants::stale(repo, text) {
        Ok(stale) => stale
            .into_iter()
            .map(|name| Breach::of(mutants::LIST, format!("`{name}` is not in its file exactly once")))
            .collect(),
        Err(error) => vec![Breach::of(mutants::LIST, error.to_string())],
    }
}

/// The texts of warnings and errors: each macro's last string.
fn log_lines(code: &str) -> impl Iterator<Item = &str> {
    let calls = ["tracing::warn!(", "tracing::error!("].into_iter().flat_map(|call| code.split(call).skip(1));
    calls.filter_map(last_string)
}

/// The last string literal before the parenthesis that is open closes.
fn last_string(arguments: &str) -> Option<&str> {
    let (mut depth, mut last, mut start) = (1, None, None);
    let mut is_escaped = false;
    for (at, letter) in arguments.char_indices() {
        match (letter, start) {
            (_, Some(_)) if is_escaped => is_escaped = false,
            ('\\', Some(_)) => is_escaped = true,
            ('"', Some(begin)) => {
                last = arguments.get(begin..at);
                start = None;
            }
            ('"', None) => start = Some(at + 1),
            ('(', None) => depth += 1,
            (')', None) => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::planted;

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let text = "[a](../b.md#x) [b](c/) [c](https://example.com/) [d](#here)\n";
        assert_eq!(links(&planted(&[("docs/a.md", text), ("b.md", ""), ("docs/c/d.md", "")])), []);
        let breaches = links(&planted(&[("docs/a.md", text), ("docs/b.md", "")]));
        assert_eq!(breaches.len(), 2, "{breaches:?}");
    }

    #[test]
    fn promises_need_their_tests() {
        let table = "| promise | test |\n|---|---|\n| `X` holds | a `one_thing`, `another` |\n";
        let rust = "#[test]\nfn one_thing() {}\n";
        let both = [(SPECIFICATION, table), ("a.rs", rust), ("tests/b.py", "def another(x):\n    pass\n")];
        assert_eq!(promises(&planted(&both)), []);
        assert_eq!(promises(&planted(&[(SPECIFICATION, table), ("a.rs", rust)])).len(), 1);
        let without = "| promise | test |\n|---|---|\n| `X` holds | none |\n";
        assert_eq!(promises(&planted(&[(SPECIFICATION, without)])).len(), 1);
    }

    #[test]
    fn a_mutant_is_in_its_file_once() {
        let check = |code: &str| {
            let list = r#"[{"name": "n", "file": "a.txt", "from": "f(x);", "to": ""}]"#;
            mutants(&planted(&[("a.txt", code), (mutants::LIST, list)])).len()
        };
        assert_eq!([check("f(x);"), check("g();"), check("f(x); f(x);")], [0, 1, 1]);
        assert_eq!(mutants(&planted(&[(mutants::LIST, "[{}]")])).len(), 1);
    }

    #[test]
    fn log_lines_and_runbook_are_the_same() {
        let code =
            r#"fn f() { tracing::warn!(n = g("x"), %error, "a line"); tracing::error!("it \"broke\""); }"#;
        let runbook_of = |lines: &str| format!("| line | do |\n|---|---|\n{lines}");
        let check = |lines: &str| {
            runbook(&planted(&[("crates/a/src/b.rs", code), (RUNBOOK, runbook_of(lines).as_str())])).len()
        };
        assert_eq!(check("| `a line` | `rm` |\n| `it \\\"broke\\\"` | |\n"), 0);
        assert_eq!(check("| `a line` | `rm` |\n"), 1);
        assert_eq!(check("| `a line`, `it \\\"broke\\\"` | |\n| `never` | |\n"), 1);
    }
}
