//! Parameters that are missing, unknown, refused by name, or of the wrong type.

use wire::member::{Kind, Member, Scalar, leaves};

use crate::scene::{Params, Scene, samples};

fn is_at(name: &str, parameter: &str) -> bool {
    name.strip_prefix(parameter).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn without(params: &[(String, String)], parameter: &str) -> Params {
    params.iter().filter(|(name, _)| !is_at(name, parameter)).cloned().collect()
}

fn with(mut params: Params, name: &str, value: &str) -> Params {
    params.retain(|(existing, _)| existing != name);
    params.push((name.to_owned(), value.to_owned()));
    params
}

#[tokio::test]
async fn every_required_parameter_is_missed_by_its_name() {
    let scene = Scene::new().await;
    for (listed, sample) in samples() {
        let params = scene.params(sample);
        for required in crate::members::required(listed.action) {
            let given = params.iter().any(|(name, _)| is_at(name, required));
            assert!(given, "the sample of {} lacks {required}", listed.action);
            for empty in [without(&params, required), with(without(&params, required), required, "")] {
                let reply = scene.call(&listed, &empty).await;
                assert_eq!(reply.error_code(), "MissingParameter", "{} {required}", listed.action);
                let message = reply.error_message();
                assert!(message.contains(required), "{} does not name {required}: {message}", listed.action);
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_parameter_is_refused_by_every_action() {
    let scene = Scene::new().await;
    for (listed, sample) in samples() {
        let params = scene.params(sample);
        let mut unknown = vec!["Bogus".to_owned(), "Bogus.1.Name".to_owned()];
        unknown.extend(listed.request.iter().filter_map(inside_unknown));
        for name in unknown {
            let reply = scene.call(&listed, &with(params.clone(), &name, "x")).await;
            assert_eq!(reply.error_code(), "UnknownParameter", "{} {name}", listed.action);
            assert!(reply.error_message().contains(&name), "{} {name}", listed.action);
        }
    }
}

/// An unknown name inside a structure or a list.
fn inside_unknown(member: &Member) -> Option<String> {
    match member.kind {
        Kind::Structure(_) => Some(format!("{}.Bogus", member.name)),
        Kind::List { of: Kind::Structure(_), .. } => Some(format!("{}.1.Bogus", member.name)),
        Kind::Scalar(_) | Kind::List { .. } | Kind::Flattened(_) => None,
    }
}

#[tokio::test]
async fn what_cannot_act_yet_is_refused_by_name() {
    let scene = Scene::new().await;
    for (listed, sample) in samples() {
        for name in listed.unsupported {
            let reply = scene.call(&listed, &with(scene.params(sample), name, "x")).await;
            assert_eq!(reply.error_code(), "UnsupportedOperation", "{} {name}", listed.action);
            assert!(reply.error_message().contains(name), "{} {name}", listed.action);
        }
    }
}

/// Texts that have broken parsers, one for every way to go wrong.
const ODD: &[&str] = &[
    "",
    " ",
    "x",
    "-1",
    "0",
    "99999999999999999999999",
    "NaN",
    "ami-",
    "snap-zzzzzzzz",
    "i-0dead0dead0dead00",
    "%00",
    "\u{0}",
    "型紙🦀",
    "a\r\nb",
    "<x>&amp;",
    "{}",
    "../../etc/passwd",
];

const INVALID_VALUE: &str = "<Code>InvalidParameterValue</Code>";

/// No refusal gives back a whole value that is this long.
const REFUSAL_BYTES_MAX: usize = 20_000;

#[tokio::test]
async fn no_text_in_any_parameter_breaks_an_action() {
    let scene = Scene::new().await;
    let long = "x".repeat(70_000);
    let before = scene.world.dump().await;
    let mut wrong = Vec::new();
    for (listed, sample) in samples() {
        let params = with(scene.params(sample), "DryRun", "true");
        for (path, scalar) in leaves(listed.request) {
            let parts: Vec<&str> = path.split('.').map(|part| if part == "N" { "1" } else { part }).collect();
            let name = parts.join(".");
            for odd in ODD.iter().chain([&long.as_str()]) {
                let reply = scene.call(&listed, &with(params.clone(), &name, odd)).await;
                let is_number = matches!(scalar, Scalar::Integer | Scalar::Long | Scalar::Boolean);
                let is_untyped = is_number && *odd == "x" && !reply.text().contains(INVALID_VALUE);
                if reply.status.is_server_error() || is_untyped {
                    wrong.push(format!("{} {name}={odd:.20}: {}", listed.action, reply.text()));
                }
                if reply.body.len() > REFUSAL_BYTES_MAX {
                    wrong.push(format!("{} {name} is echoed whole", listed.action));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(scene.world.dump().await, before);
}
