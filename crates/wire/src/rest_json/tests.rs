use model::limits::EBS_BLOCK_BYTES;
use model::{SnapshotId, Timestamp};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;

const ID: &str = "snap-0123456789abcdef0";
const CHECKSUM: &str = "6q+6Ou8bDzBi/Oi9rjkNlz8ePLSYlPqIn5Kd93i2Kxs=";

#[derive(Deserialize)]
struct Sent {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Calls as botocore sends them; fixtures/ebs/generate.py makes them.
fn sent() -> Vec<Sent> {
    serde_json::from_str(include_str!("../../fixtures/ebs/botocore.json")).unwrap()
}

fn parse(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Call, RestFault> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Call::parse(&RequestParts { method, path, query, headers }, body)
}

fn reason(result: Result<Call, RestFault>) -> Option<Reason> {
    result.unwrap_err().reason
}

#[test]
fn botocore_calls_are_understood() {
    let block = vec![1; EBS_BLOCK_BYTES];
    let calls = sent().into_iter().map(|sent| {
        let headers: Vec<_> = sent.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let body = if sent.body == "BLOCK" { &block } else { sent.body.as_bytes() };
        let parts =
            RequestParts { method: &sent.method, path: &sent.path, query: &sent.query, headers: &headers };
        Call::parse(&parts, body).unwrap()
    });
    let calls: Vec<Call> = calls.collect();
    assert_eq!(calls, [expected_writes(), expected_reads()].concat());
}

fn snapshot_id() -> SnapshotId {
    ID.parse().unwrap()
}

fn parent() -> SnapshotId {
    "snap-1a2b3c4d".parse().unwrap()
}

fn expected_writes() -> Vec<Call> {
    let checksum = put_checksum();
    let tag = |key: &str, value: &str| model::Tag { key: key.into(), value: value.into() };
    vec![
        Call::StartSnapshot(StartSnapshotRequest {
            volume_size_gib: 8,
            parent_snapshot_id: Some(parent()),
            tags: vec![tag("Name", "x"), tag("empty", "")],
            description: Some("dé".into()),
            client_token: Some("token".into()),
            encrypted: None,
            kms_key_arn: None,
            timeout_minutes: Some(10),
        }),
        Call::StartSnapshot(StartSnapshotRequest {
            volume_size_gib: 65_536,
            parent_snapshot_id: None,
            tags: Vec::new(),
            description: None,
            client_token: Some("t".into()),
            encrypted: Some(true),
            kms_key_arn: Some("arn:aws:kms:us-east-1:111122223333:key/k".into()),
            timeout_minutes: None,
        }),
        Call::PutSnapshotBlock(PutSnapshotBlockRequest {
            snapshot_id: snapshot_id(),
            block_index: 7,
            checksum,
            progress: Some(50),
        }),
        Call::CompleteSnapshot(CompleteSnapshotRequest {
            snapshot_id: snapshot_id(),
            changed_blocks_count: 3,
            checksum: None,
        }),
        Call::CompleteSnapshot(CompleteSnapshotRequest {
            snapshot_id: snapshot_id(),
            changed_blocks_count: 3,
            checksum: Some(checksum),
        }),
    ]
}

fn expected_reads() -> Vec<Call> {
    vec![
        Call::ListSnapshotBlocks(ListSnapshotBlocksRequest {
            snapshot_id: snapshot_id(),
            page_token: None,
            max_results: None,
            starting_block_index: None,
        }),
        Call::ListSnapshotBlocks(ListSnapshotBlocksRequest {
            snapshot_id: snapshot_id(),
            page_token: Some("a+b/c==".into()),
            max_results: Some(100),
            starting_block_index: Some(5),
        }),
        Call::ListChangedBlocks(ListChangedBlocksRequest {
            first_snapshot_id: None,
            second_snapshot_id: snapshot_id(),
            page_token: None,
            max_results: None,
            starting_block_index: None,
        }),
        Call::ListChangedBlocks(ListChangedBlocksRequest {
            first_snapshot_id: Some(parent()),
            second_snapshot_id: snapshot_id(),
            page_token: Some("t".into()),
            max_results: Some(10_000),
            starting_block_index: Some(0),
        }),
        Call::GetSnapshotBlock(GetSnapshotBlockRequest {
            snapshot_id: snapshot_id(),
            block_index: 0,
            block_token: "AAAB/+c=".into(),
        }),
    ]
}

fn put_checksum() -> [u8; 32] {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(CHECKSUM).unwrap().try_into().unwrap()
}

#[test]
fn every_operation_has_its_name() {
    let first_three: Vec<_> = [
        parse("POST", "/snapshots", &[], b"{\"VolumeSize\":1}"),
        parse("GET", &format!("/snapshots/{ID}/blocks"), &[], b""),
        parse("GET", &format!("/snapshots/{ID}/changedblocks"), &[], b""),
    ]
    .into_iter()
    .map(|call| call.unwrap().action())
    .collect();
    assert_eq!(first_three, ["StartSnapshot", "ListSnapshotBlocks", "ListChangedBlocks"]);
    assert_eq!(signature_rules("PUT"), Rules::UNSIGNED_BODY);
    assert_eq!(signature_rules("POST"), Rules::SIGNED_BODY);
}

#[test]
fn other_paths_are_unknown_operations() {
    let paths = [
        "/",
        "",
        "/snapshots/",
        "/snapshots//blocks",
        "/snapshots/../snapshots",
        "/snapshots/x/blocks/1/2",
        "/snapshots/a%2Fblocks",
        "/snapshots/%",
        "/volumes",
        "/Snapshots",
    ];
    for path in paths {
        for method in ["POST", "GET", "PUT", "DELETE"] {
            let fault = parse(method, path, &[], b"{}").unwrap_err();
            assert_eq!(fault.kind, ErrorType::UnknownOperation, "{method} {path}");
        }
    }
}

#[test]
fn bad_values_have_the_documented_reasons() {
    let start = |body: &str| reason(parse("POST", "/snapshots", &[], body.as_bytes()));
    assert_eq!(start("{}"), Some(Reason::InvalidVolumeSize));
    assert_eq!(start(r#"{"VolumeSize":0}"#), Some(Reason::InvalidVolumeSize));
    assert_eq!(start(r#"{"VolumeSize":65537}"#), Some(Reason::InvalidVolumeSize));
    assert_eq!(start(r#"{"VolumeSize":-1}"#), Some(Reason::InvalidVolumeSize));
    assert_eq!(start(r#"{"VolumeSize":1,"VolumeSize":2}"#), Some(Reason::InvalidParameterValue));
    assert_eq!(start(r#"{"VolumeSize":1,"Timeout":9}"#), Some(Reason::InvalidParameterValue));
    assert_eq!(start(r#"{"VolumeSize":1,"ParentSnapshotId":"snap-x"}"#), Some(Reason::InvalidSnapshotId));
    assert_eq!(start(r#"{"VolumeSize":1,"Tags":[{"Key":"aws:x"}]}"#), Some(Reason::InvalidTag));
    let both = r#"{"VolumeSize":1,"Encrypted":true,"ParentSnapshotId":"snap-1a2b3c4d"}"#;
    assert_eq!(start(both), Some(Reason::InvalidParameterValue));
    let long = json!({"VolumeSize": 1, "Description": "é".repeat(256)}).to_string();
    assert_eq!(start(&long), Some(Reason::InvalidParameterValue));
    for body in ["", "[]", "{", "\u{feff}{}", &"[".repeat(100_000)] {
        assert_eq!(start(body), Some(Reason::InvalidParameterValue));
    }
    assert_eq!(start(&" ".repeat(128 * 1024 + 1)), Some(Reason::InvalidParameterValue));

    let list = |query: &str| reason(parse("GET", &format!("/snapshots/{ID}/blocks?{query}"), &[], b""));
    assert_eq!(list("maxResults=99"), Some(Reason::InvalidParameterValue));
    assert_eq!(list("maxResults=10001"), Some(Reason::InvalidParameterValue));
    assert_eq!(list("pageToken=%20"), Some(Reason::InvalidPageToken));
    assert_eq!(list("startingBlockIndex=-1"), Some(Reason::InvalidParameterValue));
    assert_eq!(list("startingBlockIndex=2147483648"), Some(Reason::InvalidParameterValue));
    let get = |rest: &str| reason(parse("GET", &format!("/snapshots/{rest}"), &[], b""));
    assert_eq!(get(&format!("{ID}/blocks/0")), Some(Reason::InvalidBlockToken));
    assert_eq!(get(&format!("{ID}/blocks/x?blockToken=a")), Some(Reason::InvalidBlock));
    assert_eq!(get("snap-x/blocks/0?blockToken=a"), Some(Reason::InvalidSnapshotId));
}

#[test]
fn blocks_and_completions_need_their_headers() {
    let block = vec![0; EBS_BLOCK_BYTES];
    let whole = [
        ("x-amz-data-length", "524288"),
        ("X-Amz-Checksum", CHECKSUM),
        ("x-amz-checksum-algorithm", "SHA256"),
    ];
    let path = format!("/snapshots/{ID}/blocks/1");
    assert!(parse("PUT", &path, &whole, &block).is_ok());
    for missing in 0..whole.len() {
        let mut headers = whole.to_vec();
        headers.remove(missing);
        assert!(parse("PUT", &path, &headers, &block).is_err(), "{missing}");
        headers.extend([whole[missing], whole[missing]]);
        assert!(parse("PUT", &path, &headers, &block).is_err(), "{missing} twice");
    }
    assert_eq!(reason(parse("PUT", &path, &whole, &block[1..])), Some(Reason::InvalidBlock));
    for (name, value) in [("X-Amz-Checksum", "AAAA"), ("x-amz-progress", "101"), ("x-amz-progress", "x")] {
        let mut headers: Vec<_> = whole.into_iter().filter(|(n, _)| *n != name).collect();
        headers.push((name, value));
        assert!(parse("PUT", &path, &headers, &block).is_err(), "{name}");
    }
    let complete =
        |headers: &[(&str, &str)]| parse("POST", &format!("/snapshots/completion/{ID}"), headers, b"");
    assert!(complete(&[]).is_err());
    let count = ("x-amz-ChangedBlocksCount", "1");
    assert!(complete(&[count]).is_ok());
    assert!(complete(&[count, whole[1], whole[2]]).is_err(), "no aggregation method");
}

#[test]
fn replies_have_the_names_that_clients_read() {
    let start = StartSnapshotResponse {
        snapshot_id: ID.parse().unwrap(),
        owner_id: "111122223333".into(),
        status: "pending".into(),
        start_time: EpochSeconds(Timestamp(1_795_000_000_999)),
        volume_size_gib: 8,
        block_size_bytes: 524_288,
        description: None,
        tags: vec![RestTag { key: "k".into(), value: String::new() }],
        parent_snapshot_id: None,
        kms_key_arn: None,
        sse_type: Some("none".into()),
    }
    .reply();
    let body: Value = serde_json::from_slice(&start.body).unwrap();
    let expected = json!({
        "SnapshotId": ID, "OwnerId": "111122223333", "Status": "pending", "StartTime": 1_795_000_000,
        "VolumeSize": 8, "BlockSize": 524_288, "Tags": [{"Key": "k", "Value": ""}], "SseType": "none",
    });
    assert_eq!((start.status, body), (201, expected));

    let listed = ListChangedBlocksResponse {
        changed_blocks: vec![ChangedBlock {
            block_index: 3,
            first_block_token: None,
            second_block_token: Some("t".into()),
        }],
        expiry_time: EpochSeconds(Timestamp(0)),
        volume_size_gib: 1,
        block_size_bytes: 524_288,
        next_token: Some("n".into()),
    }
    .reply();
    let expected = json!({
        "ChangedBlocks": [{"BlockIndex": 3, "SecondBlockToken": "t"}], "ExpiryTime": 0, "VolumeSize": 1,
        "BlockSize": 524_288, "NextToken": "n",
    });
    assert_eq!(serde_json::from_slice::<Value>(&listed.body).unwrap(), expected);

    let got = GetSnapshotBlockRequest::reply(vec![0; 4], &put_checksum());
    let header = |name: &str| got.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str());
    assert_eq!(header("x-amz-Data-Length"), Some("4"));
    assert_eq!(header("x-amz-Checksum"), Some(CHECKSUM));
    assert_eq!(header("x-amz-Checksum-Algorithm"), Some("SHA256"));
    assert_eq!(CompleteSnapshotResponse { status: "pending".into() }.reply().status, 202);
}

#[test]
fn errors_say_type_message_and_reason() {
    let reply = RestFault::from_code(model::Code::InvalidSnapshotNotFound, "gone").reply();
    assert_eq!(reply.status, 404);
    assert!(reply.headers.contains(&("x-amzn-ErrorType", "ResourceNotFoundException".into())));
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body, json!({"Message": "gone", "Reason": "SNAPSHOT_NOT_FOUND"}));
    let conflict = RestFault::from_code(model::Code::IdempotentParameterMismatch, "m").reply();
    assert_eq!((conflict.status, conflict.body), (409, br#"{"Message":"m"}"#.to_vec()));
    let internal = |code: &&model::Code| RestFault::from_code(**code, "m").kind == ErrorType::InternalServer;
    let internal: Vec<_> = model::Code::ALL.iter().filter(internal).collect();
    assert!(internal.contains(&&model::Code::InternalError));
    assert!(internal.iter().all(|code| code.http_status() >= 500), "{internal:?}");
}

proptest! {
    #[test]
    fn any_call_is_read_or_refused(
        method in "(GET|PUT|POST)",
        path in "/snapshots(/(completion|blocks|changedblocks|snap-1a2b3c4d|[0-9]{1,11}|%[0-9a-f]{2}|\\PC{0,3})){0,4}",
        query in "((maxResults|pageToken|blockToken|startingBlockIndex|firstSnapshotId)=[%0-9a-f]{0,8}&){0,4}",
        length in "\\PC{0,8}",
        body in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let headers = [("x-amz-data-length", length.as_str()), ("x-amz-changedblockscount", &length)];
        let _unused = parse(&method, &format!("{path}?{query}"), &headers, &body);
    }

    #[test]
    fn any_json_body_is_read_or_refused(body in "(\\{|\\}|\\[|\\]|:|,|\"VolumeSize\"|\"Tags\"|\"Key\"|[0-9]{1,20}|null|true|\"x\"){0,20}") {
        let _unused = parse("POST", "/snapshots", &[], body.as_bytes());
    }
}
