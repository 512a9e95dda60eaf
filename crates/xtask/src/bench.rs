//! `cargo xtask bench`: runs the programs of bench/, prints the table and writes it as JSON.
//!
//! A program is an executable bench/NAME.py that prints rows, one JSON object a line: `measure`, `unit`,
//! `ours`, `peer`, `peer_name` and `target`, such as `ratio <= 1.1` or `ours >= 500`. The ratio is ours
//! to the peer's.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value, json};

use crate::repo::{Repo, has_extension, output};

const FOLDER: &str = "bench";
const PYTHON: &str = "target/venv/bin/python";

pub(crate) fn run(repo: &Repo, names: &[&str]) -> Result<()> {
    let mut rows = Vec::new();
    for program in programs(repo, names)? {
        eprintln!("== {program}");
        let printed = output(&repo.root, PYTHON, &[&program])?;
        for line in printed.lines().filter(|line| line.starts_with('{')) {
            let row: Map<String, Value> =
                serde_json::from_str(line).with_context(|| format!("{program}: {line}"))?;
            rows.push(judged(row).with_context(|| format!("{program}: {line}"))?);
        }
    }
    report(&repo.root, &rows)?;
    let missed = rows.iter().filter(|row| row.get("met") == Some(&Value::Bool(false))).count();
    ensure!(missed == 0, "{missed} targets are not met");
    Ok(())
}

fn programs(repo: &Repo, names: &[&str]) -> Result<Vec<String>> {
    let stem =
        |path: &str| Some(path.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(".py")?.to_owned());
    let all: Vec<String> =
        repo.files.keys().filter_map(|path| stem(path)).filter(|stem| stem != "common").collect();
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|known| known == *name)) {
        bail!("no bench/{unknown}.py; there are: {}", all.join(", "));
    }
    let wanted = all.into_iter().filter(|stem| names.is_empty() || names.contains(&stem.as_str()));
    Ok(wanted.map(|stem| format!("{FOLDER}/{stem}.py")).filter(|path| has_extension(path, "py")).collect())
}

/// The row with its ratio, and whether its target is met.
#[expect(clippy::float_arithmetic, reason = "measurements are floats")]
fn judged(mut row: Map<String, Value>) -> Result<Value> {
    let number = |key: &str| row.get(key).and_then(Value::as_f64);
    let ours = number("ours").context("no number `ours`")?;
    let ratio = number("peer").map(|peer| ours / peer);
    let target = row.get("target").and_then(Value::as_str);
    let met = target.map(|target| holds(target, ours, ratio)).transpose()?;
    row.insert("ratio".to_owned(), json!(ratio));
    row.insert("met".to_owned(), json!(met));
    Ok(Value::Object(row))
}

fn holds(target: &str, ours: f64, ratio: Option<f64>) -> Result<bool> {
    let words: Vec<&str> = target.split_whitespace().collect();
    let [what, comparison, bound] = words.as_slice() else {
        bail!("target `{target}` is not `WHAT <= NUMBER`")
    };
    let bound: f64 = bound.parse().with_context(|| format!("bound of target `{target}`"))?;
    let value = match *what {
        "ours" => ours,
        "ratio" => ratio.with_context(|| format!("target `{target}` without a peer"))?,
        _ => bail!("target `{target}` is neither of `ours` nor of `ratio`"),
    };
    match *comparison {
        "<=" => Ok(value <= bound),
        ">=" => Ok(value >= bound),
        _ => bail!("target `{target}` compares by neither <= nor >="),
    }
}

fn report(root: &Path, rows: &[Value]) -> Result<()> {
    const COLUMNS: &[&str] = &["measure", "unit", "ours", "peer", "peer_name", "ratio", "target", "met"];
    let table: Vec<Vec<String>> =
        rows.iter().map(|row| COLUMNS.iter().map(|column| cell(row.get(*column))).collect()).collect();
    let widths: Vec<usize> = COLUMNS
        .iter()
        .enumerate()
        .map(|(index, head)| {
            table
                .iter()
                .filter_map(|row| row.get(index))
                .map(String::len)
                .chain([head.len()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let heads = COLUMNS.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&heads).chain(&table) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    }
    let folder = root.join("target/bench");
    fs::create_dir_all(&folder).context("make target/bench")?;
    fs::write(folder.join("results.json"), serde_json::to_string_pretty(rows)?).context("write results.json")
}

fn cell(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => {
            number.as_f64().map_or_else(|| number.to_string(), |n| format!("{n:.3}"))
        }
        Some(Value::Bool(met)) => if *met { "yes" } else { "NO" }.to_owned(),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::planted;

    fn row(text: &str) -> Result<Value> {
        judged(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_row_is_judged_by_its_target() {
        let met = |ours: u32, peer: &str, target: &str| {
            row(&format!(r#"{{"ours":{ours},"peer":{peer},"target":{target}}}"#))
                .map(|row| row.get("met").cloned())
        };
        assert_eq!(met(11, "10", r#""ratio <= 1.1""#).unwrap(), Some(json!(true)));
        assert_eq!(met(12, "10", r#""ratio <= 1.1""#).unwrap(), Some(json!(false)));
        assert_eq!(met(500, "null", r#""ours >= 501""#).unwrap(), Some(json!(false)));
        assert_eq!(met(500, "null", "null").unwrap(), Some(Value::Null));
        for bad in [r#""ratio <= 1""#, r#""ours < 1""#, r#""speed <= 1""#, r#""ours <= x""#] {
            assert!(met(1, "null", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn programs_are_the_python_files_but_their_rig() {
        let repo = planted(&[
            ("bench/push.py", ""),
            ("bench/common.py", ""),
            ("bench/README.md", ""),
            ("a/push.py", ""),
        ]);
        assert_eq!(programs(&repo, &[]).unwrap(), ["bench/push.py"]);
        assert!(programs(&repo, &["pull"]).is_err());
    }
}
