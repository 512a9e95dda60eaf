//! `cargo xtask coverage`: docs/api-coverage.md, from the registry that control prints.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::repo::{Repo, output};

const PATH: &str = "docs/api-coverage.md";
const HEAD: &str = "# API coverage

Written by `cargo xtask coverage` from the registry of operations. Every action takes exactly the
members listed here; any other is refused with `UnknownParameter`.
";

pub(crate) fn write(repo: &Repo) -> Result<()> {
    let wanted = table(repo)?;
    if repo.text(PATH) != Some(wanted.as_str()) {
        std::fs::write(repo.root.join(PATH), wanted).with_context(|| format!("write {PATH}"))?;
        println!("wrote {PATH}");
    }
    Ok(())
}

pub(crate) fn check(repo: &Repo) -> Result<()> {
    ensure!(repo.text(PATH) == Some(table(repo)?.as_str()), "stale, run `cargo xtask coverage`: {PATH}");
    Ok(())
}

fn table(repo: &Repo) -> Result<String> {
    let printed = output(&repo.root, "cargo", &["run", "-q", "-p", "control", "--example", "registry"])?;
    let actions: Vec<Value> = serde_json::from_str(&printed).context("read the registry")?;
    Ok(render(&actions))
}

fn render(actions: &[Value]) -> String {
    let mut lines = vec![HEAD.to_owned()];
    let mut service = "";
    for action in actions {
        let word = |key: &str| action.get(key).and_then(Value::as_str);
        if word("service").unwrap_or_default() != service {
            service = word("service").unwrap_or_default();
            lines.push(format!("## {service}\n"));
        }
        let access = if action.get("is_write") == Some(&Value::Bool(true)) { "writes" } else { "reads" };
        let permission =
            word("permission").map_or_else(|| "no permission needed".to_owned(), |p| format!("`{p}`"));
        lines.push(format!("### {}\n\n{access}, {permission}", word("action").unwrap_or_default()));
        for (title, key) in [("Request", "request"), ("Response", "response"), ("Errors", "errors")] {
            let names: Vec<String> =
                action.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(name).collect();
            if !names.is_empty() {
                lines.push(format!("- {title}: {}", names.join(", ")));
            }
        }
        lines.push(String::new());
    }
    lines.join("\n").trim_end().to_owned() + "\n"
}

fn name(value: &Value) -> Option<String> {
    value.as_str().map(|name| format!("`{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_shown_with_its_members() {
        let actions: Vec<Value> = serde_json::from_str(
            r#"[{"service":"ec2","action":"CopyImage","is_write":true,"permission":"ec2:CopyImage",
                 "request":["Name","SourceRegion"],"response":["imageId"],"errors":[]},
                {"service":"sts","action":"GetCallerIdentity","is_write":false,"permission":null,
                 "request":[],"response":["Arn"],"errors":[]}]"#,
        )
        .unwrap();
        let expected = format!(
            "{HEAD}\n## ec2\n\n### CopyImage\n\nwrites, `ec2:CopyImage`\n- Request: `Name`, `SourceRegion`\n\
             - Response: `imageId`\n\n## sts\n\n### GetCallerIdentity\n\nreads, no permission needed\n- Response: `Arn`\n"
        );
        assert_eq!(render(&actions), expected);
    }
}
