//! One exchange of every operation of the EBS direct API, in tests/golden.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};
use testkit::{Reply, World, form, golden, stable};

const BLOCK_BYTES: usize = 512 * 1024;

/// Members that are new each time.
const VOLATILE: &[(&str, &str)] = &[
    ("BlockToken", "{token}"),
    ("ExpiryTime", "{time}"),
    ("FirstBlockToken", "{token}"),
    ("SecondBlockToken", "{token}"),
    ("StartTime", "{time}"),
];

struct Exchange<'a> {
    case: &'a str,
    method: Method,
    target: String,
    headers: Vec<(&'a str, &'a str)>,
    body: Vec<u8>,
}

impl Exchange<'_> {
    async fn check(self, world: &World) -> Reply {
        let Self { case, method, target, headers, body } = self;
        let mut text = format!("{method} {}\n{}", without_token(&target), lines(&headers));
        text.push_str(&shown(&body));
        let reply = world.ebs(&world.owner, method, &target, &headers, body).await.ok();
        let about = |name: &String| name.starts_with("x-amz-") || name == "content-type";
        let answered: Vec<(&str, &str)> = reply.headers.iter().filter(|(n, _)| about(n)).map(pair).collect();
        let (status, headers) = (reply.status.as_u16(), lines(&answered));
        text = format!("{text}\n{status}\n{headers}{}", shown(&reply.body));
        golden(case, "sample", &stable(&text));
        reply
    }
}

fn pair((name, value): &(String, String)) -> (&str, &str) {
    (name, value)
}

fn lines(headers: &[(&str, &str)]) -> String {
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    lines.concat()
}

fn without_token(target: &str) -> String {
    match target.split_once("blockToken=") {
        Some((before, _)) => format!("{before}blockToken={{token}}"),
        None => target.to_owned(),
    }
}

/// JSON in lines, anything else as its length.
fn shown(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(mut json) => {
            hide(&mut json);
            format!("\n{json:#}\n")
        }
        Err(_) if body.is_empty() => String::new(),
        Err(_) => format!("\n({} bytes)\n", body.len()),
    }
}

fn hide(json: &mut Value) {
    match json {
        Value::Object(members) => {
            for (name, value) in members {
                match VOLATILE.iter().find(|(volatile, _)| volatile == name) {
                    Some((_, shown)) => *value = Value::from(*shown),
                    None => hide(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn get(case: &str, target: String) -> Exchange<'_> {
    Exchange { case, method: Method::GET, target, headers: Vec::new(), body: Vec::new() }
}

/// Uploads one block and leaves the snapshot completed.
async fn upload(world: &World) -> String {
    let body = br#"{"VolumeSize":1,"Description":"an upload","Tags":[{"Key":"team","Value":"images"}]}"#;
    let start = Exchange {
        case: "start_snapshot",
        method: Method::POST,
        target: "/snapshots".to_owned(),
        headers: vec![("content-type", "application/json")],
        body: body.to_vec(),
    };
    let id = start.check(world).await.json()["SnapshotId"].as_str().expect("an id").to_owned();
    let block = vec![7; BLOCK_BYTES];
    let checksum = STANDARD.encode(Sha256::digest(&block));
    let put = Exchange {
        case: "put_snapshot_block",
        method: Method::PUT,
        target: format!("/snapshots/{id}/blocks/3"),
        headers: vec![
            ("x-amz-data-length", "524288"),
            ("x-amz-checksum", &checksum),
            ("x-amz-checksum-algorithm", "SHA256"),
        ],
        body: block,
    };
    put.check(world).await;
    let complete = Exchange {
        case: "complete_snapshot",
        method: Method::POST,
        target: format!("/snapshots/completion/{id}"),
        headers: vec![("x-amz-changedblockscount", "1")],
        body: Vec::new(),
    };
    complete.check(world).await;
    world.settle().await;
    id
}

#[tokio::test]
async fn every_block_operation_is_answered_as_its_file_shows() {
    let world = World::new().await;
    let id = upload(&world).await;
    let listed = get("list_snapshot_blocks", format!("/snapshots/{id}/blocks")).check(&world).await.json();
    get("list_changed_blocks", format!("/snapshots/{id}/changedblocks")).check(&world).await;
    let token = form(&[("blockToken", listed["Blocks"][0]["BlockToken"].as_str().expect("a token"))]);
    let block = get("get_snapshot_block", format!("/snapshots/{id}/blocks/3?{token}")).check(&world).await;
    assert_eq!(block.body, vec![7; BLOCK_BYTES]);
}
