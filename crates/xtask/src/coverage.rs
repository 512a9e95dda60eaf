//! `cargo xtask coverage`: docs/api-coverage.md, from the registry that control prints.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::codegen::snake_case;
use crate::repo::{Repo, output};

const PATH: &str = "docs/api-coverage.md";
const HEAD: &str = "# API coverage

Written by `cargo xtask coverage` from the registry of operations. Every action takes exactly the
members listed here. Those that cannot act yet are refused by name with `UnsupportedOperation`, any
other with `UnknownParameter`. Where answers differ from those of EC2: [departures.md](departures.md).

All six actions of the EBS direct API are there: `StartSnapshot`, `PutSnapshotBlock`,
`CompleteSnapshot`, `ListSnapshotBlocks`, `ListChangedBlocks`, `GetSnapshotBlock`.
";

/// What is listed of an action: its title, and its key in the registry.
const LISTS: &[(&str, &str)] = &[
    ("Request", "request"),
    ("Refused by name", "unsupported"),
    ("Response", "response"),
    ("Errors", "errors"),
];

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
    Ok(render(repo, &actions))
}

fn render(repo: &Repo, actions: &[Value]) -> String {
    let mut lines = vec![HEAD.to_owned(), format!("There are {} actions.\n", actions.len())];
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
        let action_name = word("action").unwrap_or_default();
        lines.push(format!(
            "### {action_name}\n\n{}\n\n- Access: {access}, {permission}",
            said(repo, action_name)
        ));
        for (title, key) in LISTS {
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

/// The documentation at the head of the operation's file: what it does, and how it differs from EC2's.
fn said(repo: &Repo, action: &str) -> String {
    let stem = format!("crates/control/src/operations/{}", snake_case(action));
    let text = repo.text(&format!("{stem}.rs")).or_else(|| repo.text(&format!("{stem}/mod.rs")));
    let lines = text.unwrap_or_default().lines();
    let said: Vec<&str> = lines.map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let said = said.join("\n");
    said.trim_start_matches(&format!("`{action}`: ")).to_owned()
}

fn name(value: &Value) -> Option<String> {
    value.as_str().map(|name| format!("`{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::planted;

    #[test]
    fn an_action_is_shown_with_its_members() {
        let actions: Vec<Value> = serde_json::from_str(
            r#"[{"service":"ec2","action":"CopyImage","is_write":true,"permission":"ec2:CopyImage",
                 "request":["Name","SourceRegion"],"unsupported":["KmsKeyId"],"response":["imageId"],"errors":[]},
                {"service":"sts","action":"GetCallerIdentity","is_write":false,"permission":null,
                 "request":[],"response":["Arn"],"errors":[]}]"#,
        )
        .unwrap();
        let repo = planted(&[(
            "crates/control/src/operations/copy_image.rs",
            "//! `CopyImage`: another image with the same bytes.\n//!\n//! Never slow.\n\nfn f() {}\n",
        )]);
        let expected = format!(
            "{HEAD}\nThere are 2 actions.\n\n## ec2\n\n### CopyImage\n\nanother image with the same bytes.\n\nNever slow.\n\n\
             - Access: writes, `ec2:CopyImage`\n- Request: `Name`, `SourceRegion`\n- Refused by name: `KmsKeyId`\n- Response: `imageId`\n\n\
             ## sts\n\n### GetCallerIdentity\n\n\n\n- Access: reads, no permission needed\n- Response: `Arn`\n"
        );
        assert_eq!(render(&repo, &actions), expected);
    }
}
