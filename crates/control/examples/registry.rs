//! Prints the registry of operations as JSON, from which docs/api-coverage.md is written.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use serde_json::{Value, json};
use wire::member::{Kind, Member};

fn main() {
    let all: Vec<Value> = control::registry().iter().map(listed).collect();
    println!("{:#}", Value::Array(all));
}

fn listed(listed: &control::Listed) -> Value {
    json!({
        "service": listed.service,
        "action": listed.action,
        "permission": listed.permission,
        "is_write": listed.is_write,
        "errors": listed.errors.iter().map(|code| code.wire()).collect::<Vec<_>>(),
        "request": names(listed.request),
        "unsupported": listed.unsupported,
        "response": names(listed.response),
    })
}

fn names(members: &[Member]) -> Vec<&'static str> {
    members
        .iter()
        .flat_map(|member| match member.kind {
            Kind::Flattened(inner) => names(inner),
            Kind::Scalar(_) | Kind::Structure(_) | Kind::List { .. } => vec![member.name],
        })
        .collect()
}
