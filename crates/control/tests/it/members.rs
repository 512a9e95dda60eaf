//! Names and types of every action's members, held against the public service model.
//! `fixtures/generate.py` takes them out of it; it is a referee, and nothing is made from it.

use std::collections::BTreeMap;

use wire::member::leaves;

use crate::scene::samples;

const MODEL: &str = include_str!("../fixtures/service-members.txt");

/// Members of requests that are never what the model says, one a line with its reason.
const EXCEPTIONS: &str = include_str!("../fixtures/member-exceptions.txt");

struct Leaf {
    path: String,
    scalar: &'static str,
}

/// The model's leaves of one shape, and which top-level members it requires.
#[derive(Default)]
struct Shape {
    leaves: Vec<Leaf>,
    required: Vec<&'static str>,
}

fn shape(action: &str, direction: &str) -> Shape {
    let head = format!("{action} {direction}");
    let mut lines = MODEL.lines().skip_while(|line| *line != head);
    let missing = "is not in service-members.txt: run fixtures/generate.py";
    assert!(lines.next().is_some(), "{head} {missing}");
    let mut shape = Shape::default();
    let mut above: Vec<&str> = Vec::new();
    for line in lines.take_while(|line| line.starts_with(' ')) {
        let depth = line.len() - line.trim_start().len();
        let mut words = line.trim_start().split(' ');
        let name = words.next().unwrap_or_default();
        above.truncate(depth - 1);
        above.push(name);
        let mut scalar = words.next();
        let is_required = line.ends_with(" required");
        scalar = scalar.filter(|word| *word != "required");
        if let Some(scalar) = scalar {
            shape.leaves.push(Leaf { path: above.join("."), scalar });
        }
        if depth == 1 && is_required {
            shape.required.push(name.split('.').next().unwrap_or(name));
        }
    }
    shape
}

/// Names of the parameters that the model requires.
pub(crate) fn required(action: &str) -> Vec<&'static str> {
    shape(action, "request").required
}

fn ours(members: &'static [wire::member::Member]) -> BTreeMap<String, String> {
    leaves(members).into_iter().map(|(path, scalar)| (path, format!("{scalar:?}"))).collect()
}

fn model_leaves(action: &str, direction: &str) -> BTreeMap<String, String> {
    let leaves = shape(action, direction).leaves.into_iter();
    leaves.map(|leaf| (leaf.path, leaf.scalar.to_owned())).collect()
}

#[test]
fn every_member_is_one_of_the_service_model_with_its_type() {
    let mut wrong = Vec::new();
    for (listed, _) in samples() {
        for (direction, members) in [("request", listed.request), ("response", listed.response)] {
            let model = model_leaves(listed.action, direction);
            for (path, scalar) in ours(members) {
                let line = format!("{} {direction} {path} {scalar}", listed.action);
                let is_known = model.get(&path) == Some(&scalar);
                if !is_known && EXCEPTIONS.lines().all(|exception| exception != line) {
                    wrong.push(format!("{line} (the model: {:?})", model.get(&path)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a path without list numbers is one of these names or lies below one.
fn is_below(path: &str, names: &[&str]) -> bool {
    let plain: Vec<&str> = path.split('.').filter(|part| *part != "N").collect();
    names.iter().any(|name| plain.starts_with(&name.split('.').collect::<Vec<_>>()))
}

#[test]
fn no_parameter_of_the_service_model_is_unknown_here() {
    let mut unknown = Vec::new();
    for (listed, _) in samples() {
        let known = ours(listed.request);
        for path in model_leaves(listed.action, "request").into_keys() {
            let is_protocol = wire::query::COMMON.contains(&path.as_str());
            if !is_protocol && !known.contains_key(&path) && !is_below(&path, listed.unsupported) {
                unknown.push(format!("{} {path}", listed.action));
            }
        }
    }
    assert!(unknown.is_empty(), "neither read nor in UNSUPPORTED:\n{}", unknown.join("\n"));
}

#[test]
fn an_exception_that_nothing_needs_is_removed() {
    for exception in EXCEPTIONS.lines() {
        let needed = samples().into_iter().any(|(listed, _)| {
            [("request", listed.request), ("response", listed.response)].iter().any(|(direction, members)| {
                let model = model_leaves(listed.action, direction);
                let is_wrong = |(path, scalar): &(String, String)| model.get(path) != Some(scalar);
                let line = |(path, scalar): (String, String)| {
                    format!("{} {direction} {path} {scalar}", listed.action)
                };
                ours(members).into_iter().filter(is_wrong).map(line).any(|line| line == exception)
            })
        });
        assert!(needed, "{exception}");
    }
}
