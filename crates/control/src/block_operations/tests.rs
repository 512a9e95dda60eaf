//! The EBS direct API as clients use it, over the real dispatcher.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testkit::{Account, Fault, Reply, World};

const BLOCK: usize = 512 * 1024;

/// A block whose bytes are all the same but for the first, so that blocks share no 4 KiB by accident.
fn block(fill: u8) -> Vec<u8> {
    let mut block = vec![fill; BLOCK];
    block[0] = !fill;
    block
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// One account's EBS client.
struct Client<'w> {
    world: &'w World,
    account: &'w Account,
}

fn client(world: &World) -> Client<'_> {
    Client { world, account: &world.owner }
}

impl Client<'_> {
    async fn send(&self, method: Method, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
        self.world.ebs(self.account, method, target, headers, body).await
    }

    async fn try_start(&self, body: Value) -> Reply {
        self.send(Method::POST, "/snapshots", &[], body.to_string().into_bytes()).await
    }

    async fn start(&self, body: Value) -> String {
        let reply = self.try_start(body).await.ok();
        assert_eq!(reply.status, 201);
        reply.json()["SnapshotId"].as_str().unwrap().to_owned()
    }

    async fn put_claiming(&self, id: &str, index: u32, block: Vec<u8>, checksum: [u8; 32]) -> Reply {
        let (len, checksum) = (block.len().to_string(), STANDARD.encode(checksum));
        let headers = [
            ("x-amz-Data-Length", len.as_str()),
            ("x-amz-Checksum", &checksum),
            ("x-amz-Checksum-Algorithm", "SHA256"),
        ];
        self.send(Method::PUT, &format!("/snapshots/{id}/blocks/{index}"), &headers, block).await
    }

    async fn put(&self, id: &str, index: u32, block: Vec<u8>) -> Reply {
        let checksum = sha256(&block);
        self.put_claiming(id, index, block, checksum).await
    }

    async fn try_complete(&self, id: &str, count: usize, checksum: Option<&str>) -> Reply {
        let count = count.to_string();
        let mut headers = vec![("x-amz-ChangedBlocksCount", count.as_str())];
        if let Some(checksum) = checksum {
            headers.extend([
                ("x-amz-Checksum", checksum),
                ("x-amz-Checksum-Algorithm", "SHA256"),
                ("x-amz-Checksum-Aggregation-Method", "LINEAR"),
            ]);
        }
        self.send(Method::POST, &format!("/snapshots/completion/{id}"), &headers, Vec::new()).await
    }

    /// A completed snapshot with these blocks.
    async fn snapshot(&self, start: Value, blocks: &[(u32, Vec<u8>)]) -> String {
        let id = self.start(start).await;
        for (index, block) in blocks {
            self.put(&id, *index, block.clone()).await.ok();
        }
        self.try_complete(&id, blocks.len(), None).await.ok();
        self.world.settle().await;
        assert_eq!(self.state(&id).await, "completed");
        id
    }

    async fn get(&self, id: &str, index: u64, token: &str) -> Reply {
        let token = testkit::form(&[("blockToken", token)]);
        self.send(Method::GET, &format!("/snapshots/{id}/blocks/{index}?{token}"), &[], Vec::new()).await
    }

    async fn list(&self, id: &str, query: &[(&str, &str)]) -> Reply {
        let query = testkit::form(query);
        self.send(Method::GET, &format!("/snapshots/{id}/blocks?{query}"), &[], Vec::new()).await
    }

    async fn changed(&self, second: &str, query: &[(&str, &str)]) -> Reply {
        let query = testkit::form(query);
        self.send(Method::GET, &format!("/snapshots/{second}/changedblocks?{query}"), &[], Vec::new()).await
    }

    /// Index and content of every block, as a downloading client sees it.
    async fn download(&self, id: &str) -> Vec<(u64, Vec<u8>)> {
        let listed = self.list(id, &[]).await.ok().json();
        let mut blocks = Vec::new();
        for block in listed["Blocks"].as_array().unwrap() {
            let index = block["BlockIndex"].as_u64().unwrap();
            let reply = self.get(id, index, block["BlockToken"].as_str().unwrap()).await.ok();
            let checksum = STANDARD.encode(sha256(&reply.body));
            assert_eq!(reply.header("x-amz-Checksum"), Some(checksum.as_str()));
            assert_eq!(reply.header("x-amz-Data-Length"), Some("524288"));
            blocks.push((index, reply.body));
        }
        blocks
    }

    async fn describe(&self, id: &str) -> Reply {
        self.world.call_as(self.account, testkit::REGION, "DescribeSnapshots", &[("SnapshotId.1", id)]).await
    }

    async fn state(&self, id: &str) -> String {
        self.describe(id).await.ok().value("status")
    }
}

#[tokio::test]
async fn what_is_uploaded_can_be_downloaded() {
    let world = World::new().await;
    let client = client(&world);
    let start = json!({"VolumeSize": 1, "Description": "disk", "Tags": [{"Key": "Name", "Value": "x"}]});
    let reply = client.try_start(start).await.ok().json();
    let id = reply["SnapshotId"].as_str().unwrap().to_owned();
    assert_eq!(
        reply,
        json!({
            "SnapshotId": id, "OwnerId": world.owner.id.as_str(), "Status": "pending", "VolumeSize": 1,
            "BlockSize": BLOCK, "StartTime": 1_795_248_000, "Description": "disk",
            "Tags": [{"Key": "Name", "Value": "x"}], "SseType": "none",
        })
    );
    let put = client.put(&id, 2047, block(2)).await.ok();
    assert_eq!((put.status.as_u16(), put.body.len()), (201, 0));
    assert_eq!(put.header("x-amz-Checksum"), Some(STANDARD.encode(sha256(&block(2))).as_str()));
    client.put(&id, 0, block(1)).await.ok();
    assert_eq!(client.state(&id).await, "pending");

    let digests = [sha256(&block(1)), sha256(&block(2))].concat();
    let completed = client.try_complete(&id, 2, Some(&STANDARD.encode(sha256(&digests)))).await.ok();
    assert_eq!((completed.status.as_u16(), completed.json()), (202, json!({"Status": "pending"})));
    world.settle().await;

    let described = client.describe(&id).await.ok();
    assert_eq!(described.value("status"), "completed");
    assert_eq!(described.value("volumeId"), "vol-ffffffff");
    assert_eq!(described.value("fullSnapshotSizeInBytes"), (2 * BLOCK).to_string());
    assert_eq!(client.download(&id).await, [(0, block(1)), (2047, block(2))]);
    assert_eq!(world.host.volume_keys(), Vec::<String>::new(), "the staged blocks are gone");
    assert!(!world.dump().await.contains("block_index="), "and so are their rows");
}

#[tokio::test]
async fn errors_come_in_the_form_of_this_api() {
    let world = World::new().await;
    let client = client(&world);
    let stranger = world.account("other").await;
    let missing = client.list("snap-0123456789abcdef0", &[]).await;
    assert_eq!(
        (missing.status.as_u16(), missing.rest_error()),
        (404, "ResourceNotFoundException SNAPSHOT_NOT_FOUND".into())
    );
    assert!(missing.header("x-amzn-requestid").is_some());
    let unknown = client.send(Method::DELETE, "/snapshots/x", &[], Vec::new()).await;
    assert_eq!(unknown.rest_error(), "UnknownOperationException");
    let wrong_region =
        world.send(&stranger, "mars-1", "ebs", Method::POST, "/snapshots", &[], Vec::new()).await;
    assert_eq!(wrong_region.rest_error(), "ValidationException INVALID_PARAMETER_VALUE");
    let wrong_scope =
        world.send(&stranger, testkit::REGION, "s3", Method::POST, "/snapshots", &[], Vec::new()).await;
    assert_eq!(wrong_scope.rest_error(), "AccessDeniedException UNAUTHORIZED_ACCOUNT");
}

#[tokio::test]
async fn only_a_block_may_leave_its_body_unsigned() {
    let world = World::new().await;
    let client = client(&world);
    let unsigned = [("x-amz-content-sha256", "UNSIGNED-PAYLOAD")];
    let start = client.send(Method::POST, "/snapshots", &unsigned, b"{\"VolumeSize\":1}".to_vec()).await;
    assert_eq!(start.rest_error(), "IncompleteSignatureException");
    let id = client.start(json!({"VolumeSize": 1})).await;
    let checksum = STANDARD.encode(sha256(&block(1)));
    let headers = [
        unsigned[0],
        ("x-amz-Data-Length", "524288"),
        ("x-amz-Checksum", checksum.as_str()),
        ("x-amz-Checksum-Algorithm", "SHA256"),
    ];
    client.send(Method::PUT, &format!("/snapshots/{id}/blocks/0"), &headers, block(1)).await.ok();
    // The body is not signed, but its checksum is.
    let swapped = client.send(Method::PUT, &format!("/snapshots/{id}/blocks/0"), &headers, block(2)).await;
    assert_eq!(swapped.rest_error(), "ValidationException INVALID_BLOCK");
}

#[tokio::test]
async fn a_repeated_start_with_the_same_token_is_the_same_snapshot() {
    let world = World::new().await;
    let client = client(&world);
    let body = json!({"VolumeSize": 1, "ClientToken": "t"});
    let first = client.try_start(body.clone()).await.ok();
    let again = client.try_start(body).await.ok();
    assert_eq!((again.status.as_u16(), again.json()), (201, first.json()));
    let other = client.try_start(json!({"VolumeSize": 2, "ClientToken": "t"})).await;
    assert_eq!((other.status.as_u16(), other.rest_error()), (409, "ConflictException".into()));
    assert_ne!(client.start(json!({"VolumeSize": 1, "ClientToken": "u"})).await, first.json()["SnapshotId"]);
}

#[tokio::test]
async fn a_start_that_was_cut_short_is_made_up_for_by_its_repetition() {
    let world = World::new().await;
    let client = client(&world);
    let body = json!({"VolumeSize": 1, "ClientToken": "t"});
    for fault in [Fault::Fail, Fault::Kill] {
        world.gate.plan(Some((0, fault)));
        tokio::select! {
            reply = client.try_start(body.clone()) => assert_eq!(reply.rest_error(), "InternalServerException"),
            () = world.gate.killed() => {}
        }
    }
    assert_eq!(world.host.volume_keys(), Vec::<String>::new());
    let id = client.start(body).await;
    assert_eq!(world.host.volume_keys(), [id.as_str()]);
    client.put(&id, 0, block(1)).await.ok();
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_by_name() {
    let world = World::new().await;
    let client = client(&world);
    for what in [json!({"VolumeSize": 1, "Encrypted": true}), json!({"VolumeSize": 1, "KmsKeyArn": "a"})] {
        assert_eq!(client.try_start(what).await.rest_error(), "ValidationException INVALID_PARAMETER_VALUE");
    }
    client.try_start(json!({"VolumeSize": 1, "Encrypted": false})).await.ok();
    let twice = json!({"VolumeSize": 1, "Tags": [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]});
    assert_eq!(client.try_start(twice).await.rest_error(), "ValidationException INVALID_PARAMETER_VALUE");
    assert!(!world.dump().await.contains("tag_key"), "nothing was made");
}

#[tokio::test]
async fn a_parent_must_be_own_completed_and_no_larger() {
    let world = World::new().await;
    let client = client(&world);
    let with_parent = |parent: &str, gib: u32| json!({"VolumeSize": gib, "ParentSnapshotId": parent});
    let pending = client.start(json!({"VolumeSize": 1})).await;
    assert_eq!(
        client.try_start(with_parent(&pending, 1)).await.rest_error(),
        "ValidationException INVALID_SNAPSHOT_ID"
    );
    let parent = client.snapshot(json!({"VolumeSize": 2}), &[(0, block(1))]).await;
    assert_eq!(
        client.try_start(with_parent(&parent, 1)).await.rest_error(),
        "ValidationException INVALID_VOLUME_SIZE"
    );
    let stranger = world.account("other").await;
    let stranger = Client { world: &world, account: &stranger };
    assert_eq!(
        stranger.try_start(with_parent(&parent, 2)).await.rest_error(),
        "ResourceNotFoundException SNAPSHOT_NOT_FOUND"
    );
}

#[tokio::test]
async fn an_upload_builds_on_its_parent_even_when_that_is_deleted_meanwhile() {
    let world = World::new().await;
    let client = client(&world);
    let parent =
        client.snapshot(json!({"VolumeSize": 1}), &[(0, block(1)), (1, block(2)), (5, block(3))]).await;
    let child = client.start(json!({"VolumeSize": 2, "ParentSnapshotId": parent})).await;
    let base = world.host.volume_spec(&child).unwrap().base.unwrap();
    assert!(base.root.contains(&base.domain));
    client.put(&child, 1, block(9)).await.ok();
    client.put(&child, 5, vec![0; BLOCK]).await.ok();
    client.put(&child, 4095, block(4)).await.ok();
    world.call("DeleteSnapshot", &[("SnapshotId", &parent)]).await.ok();
    client.try_complete(&child, 3, None).await.ok();
    world.settle().await;
    assert_eq!(client.download(&child).await, [(0, block(1)), (1, block(9)), (4095, block(4))]);
}

#[tokio::test]
async fn a_block_put_again_replaces_the_first_and_counts_once() {
    let world = World::new().await;
    let client = client(&world);
    let id = client.start(json!({"VolumeSize": 1})).await;
    client.put(&id, 3, block(1)).await.ok();
    client.put(&id, 3, block(1)).await.ok();
    client.put(&id, 3, block(2)).await.ok();
    client.put(&id, 4, vec![0; BLOCK]).await.ok();
    assert_eq!(
        client.try_complete(&id, 1, None).await.rest_error(),
        "ValidationException INVALID_PARAMETER_VALUE",
        "a block of zeros counts too"
    );
    client.try_complete(&id, 2, None).await.ok();
    world.settle().await;
    assert_eq!(client.download(&id).await, [(3, block(2))]);
}

#[tokio::test]
async fn a_block_must_be_what_its_checksum_says_and_lie_in_the_volume() {
    let world = World::new().await;
    let client = client(&world);
    let id = client.start(json!({"VolumeSize": 1})).await;
    for (index, checksum) in [(0, sha256(b"other")), (2048, sha256(&block(1)))] {
        let reply = client.put_claiming(&id, index, block(1), checksum).await;
        assert_eq!(reply.rest_error(), "ValidationException INVALID_BLOCK");
    }
    let short = client.put(&id, 0, vec![1; 512]).await;
    assert_eq!(short.rest_error(), "ValidationException INVALID_BLOCK");
    client.try_complete(&id, 0, None).await.ok();
}

#[tokio::test]
async fn an_unacknowledged_block_is_not_part_of_the_snapshot() {
    let world = World::new().await;
    let client = client(&world);
    let id = client.start(json!({"VolumeSize": 1})).await;
    client.put(&id, 0, block(1)).await.ok();
    // Killed when the bytes are on disk and the row is not.
    for (index, fill) in [(0, 7), (1, 8)] {
        world.gate.plan(Some((1, Fault::Kill)));
        tokio::select! {
            _ = client.put(&id, index, block(fill)) => panic!("the put was to be killed"),
            () = world.gate.killed() => {}
        }
    }
    assert!(client.try_complete(&id, 1, None).await.rest_error().starts_with("ValidationException"));
    client.put(&id, 0, block(2)).await.ok();
    client.try_complete(&id, 1, None).await.ok();
    world.settle().await;
    assert_eq!(client.download(&id).await, [(0, block(2))]);
}

#[tokio::test]
async fn completion_holds_the_clients_count_and_checksum_against_what_is_there() {
    let world = World::new().await;
    let client = client(&world);
    let id = client.start(json!({"VolumeSize": 1})).await;
    client.put(&id, 1, block(1)).await.ok();
    let wrong = STANDARD.encode(sha256(b"x"));
    for (count, checksum) in [(0, None), (2, None), (1, Some(wrong.as_str()))] {
        let refused = client.try_complete(&id, count, checksum).await;
        assert_eq!(refused.rest_error(), "ValidationException INVALID_PARAMETER_VALUE");
    }
    client.try_complete(&id, 1, None).await.ok();
    let sealed = client.put(&id, 2, block(2)).await;
    assert_eq!((sealed.status.as_u16(), sealed.rest_error()), (409, "ConflictException".into()));
    assert_eq!(client.try_complete(&id, 1, None).await.ok().json(), json!({"Status": "pending"}));
    world.settle().await;
    assert_eq!(client.try_complete(&id, 1, None).await.ok().json(), json!({"Status": "completed"}));
    assert_eq!(client.put(&id, 2, block(2)).await.rest_error(), "ConflictException");
}

#[tokio::test]
async fn completion_waits_for_blocks_under_way() {
    let world = World::new().await;
    let client = client(&world);
    let id = client.start(json!({"VolumeSize": 1})).await;
    let puts = (0..20).map(|index| client.put(&id, index, block(1 + u8::try_from(index).unwrap())));
    let (puts, early) = tokio::join!(futures::future::join_all(puts), client.try_complete(&id, 20, None));
    assert!(puts.iter().all(|reply| reply.status == 201));
    if !early.status.is_success() {
        client.try_complete(&id, 20, None).await.ok();
    }
    world.settle().await;
    assert_eq!(client.download(&id).await.len(), 20);
}

/// Blocks that come together are recorded together; one upload's end is nothing to the other's blocks.
#[tokio::test]
async fn blocks_put_at_once_share_nothing_but_the_wait() {
    let world = World::new().await;
    let client = client(&world);
    let ids = [client.start(json!({"VolumeSize": 1})).await, client.start(json!({"VolumeSize": 1})).await];
    let puts = (0..40u8).map(|n| client.put(&ids[usize::from(n % 2)], (n / 4).into(), block(1 + n)));
    let gone_client = async {
        for index in 30..35 {
            let put = client.put(&ids[0], index, block(99));
            // The connection ends somewhere on the way.
            drop(tokio::time::timeout(Duration::from_micros(300 * u64::from(index - 29)), put).await);
        }
    };
    let delete = [("SnapshotId", ids[1].as_str())];
    let deleted = world.call("DeleteSnapshot", &delete);
    let (puts, (), deleted) = tokio::join!(futures::future::join_all(puts), gone_client, deleted);
    deleted.ok();
    assert!(puts.iter().step_by(2).all(|reply| reply.status == 201));
    let others: Vec<&Reply> = puts.iter().skip(1).step_by(2).collect();
    assert!(others.iter().all(|reply| {
        reply.status == 201 || reply.rest_error() == "ResourceNotFoundException SNAPSHOT_NOT_FOUND"
    }));
    for index in 30..35 {
        client.put(&ids[0], index, block(100)).await.ok();
    }
    client.try_complete(&ids[0], 15, None).await.ok();
    world.settle().await;
    let blocks = client.download(&ids[0]).await;
    assert_eq!(
        blocks.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 30, 31, 32, 33, 34]
    );
    assert!(blocks.iter().skip(10).all(|(_, bytes)| *bytes == block(100)));
}

#[tokio::test]
async fn only_own_uploads_take_blocks() {
    let world = World::new().await;
    let client = client(&world);
    let not_found = "ResourceNotFoundException SNAPSHOT_NOT_FOUND";
    let id = client.start(json!({"VolumeSize": 1})).await;
    let account = world.account("other").await;
    let stranger = Client { world: &world, account: &account };
    assert_eq!(stranger.put(&id, 0, block(1)).await.rest_error(), not_found);
    assert_eq!(stranger.try_complete(&id, 0, None).await.rest_error(), not_found);
    let seeded = world.seed_snapshot(1, b"x").await;
    assert_eq!(
        client.put(seeded.as_str(), 0, block(1)).await.rest_error(),
        "ValidationException INVALID_SNAPSHOT_ID"
    );
    assert_eq!(
        client.try_complete(seeded.as_str(), 0, None).await.rest_error(),
        "ValidationException INVALID_SNAPSHOT_ID"
    );
}

#[tokio::test]
async fn an_upload_that_stands_still_fails_and_leaves_nothing() {
    let world = World::new().await;
    let client = client(&world);
    let id = client.start(json!({"VolumeSize": 1, "Timeout": 10})).await;
    let minutes = Duration::from_mins;
    world.clock.advance(minutes(9));
    client.put(&id, 0, block(1)).await.ok();
    world.clock.advance(minutes(9));
    world.settle().await;
    assert_eq!(client.state(&id).await, "pending", "a block came in between");
    world.clock.advance(minutes(1));
    world.settle().await;
    let described = client.describe(&id).await.ok();
    assert_eq!(described.value("status"), "error");
    assert!(described.value("statusMessage").contains("timeout"));
    assert_eq!(world.host.volume_keys(), Vec::<String>::new());
    assert!(!world.dump().await.contains("block_index="));
    assert_eq!(client.put(&id, 1, block(1)).await.rest_error(), "ValidationException INVALID_SNAPSHOT_ID");
    assert_eq!(
        client.try_complete(&id, 1, None).await.rest_error(),
        "ValidationException INVALID_SNAPSHOT_ID"
    );
}

#[tokio::test]
async fn a_deleted_upload_leaves_nothing() {
    let world = World::new().await;
    let client = client(&world);
    let id = client.start(json!({"VolumeSize": 1})).await;
    client.put(&id, 0, block(1)).await.ok();
    world.call("DeleteSnapshot", &[("SnapshotId", &id)]).await.ok();
    world.settle().await;
    assert_eq!(world.host.volume_keys(), Vec::<String>::new());
    assert!(!world.dump().await.contains("block_index="));
    assert_eq!(
        client.put(&id, 0, block(1)).await.rest_error(),
        "ResourceNotFoundException SNAPSHOT_NOT_FOUND"
    );
}

#[tokio::test]
async fn an_abandoned_upload_survives_every_fault_of_its_cleaning_up() {
    let abandon_upload = async || {
        let world = World::new().await;
        let id = client(&world).start(json!({"VolumeSize": 1})).await;
        client(&world).put(&id, 0, block(1)).await.ok();
        world.clock.advance(Duration::from_hours(1));
        (world, id)
    };
    let end = async |world: &World, id: &String| {
        let state = client(world).state(id).await;
        format!("{state} {:?} {}", world.host.volume_keys(), world.dump().await.contains("block_index="))
    };
    testkit::torture(abandon_upload, end).await;
}

fn indexes(listed: &Value, key: &str) -> Vec<u64> {
    listed[key].as_array().unwrap().iter().map(|block| block["BlockIndex"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn a_listing_is_paged_by_tokens_of_its_own() {
    let world = World::new().await;
    let client = client(&world);
    let blocks: Vec<_> = (0..210u32).map(|n| (n * 8, block(1 + u8::try_from(n).unwrap()))).collect();
    let id = client.snapshot(json!({"VolumeSize": 1}), &blocks).await;
    let mut seen = Vec::new();
    let mut token = None::<String>;
    let mut pages = 0;
    loop {
        let mut query = vec![("maxResults", "100")];
        query.extend(token.as_deref().map(|token| ("pageToken", token)));
        let page = client.list(&id, &query).await.ok().json();
        assert_eq!((&page["VolumeSize"], &page["BlockSize"]), (&json!(1), &json!(BLOCK)));
        seen.extend(indexes(&page, "Blocks"));
        pages += 1;
        token = page["NextToken"].as_str().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..210).map(|n| n * 8).collect::<Vec<_>>());
    assert_eq!(pages, 3);
    let rest = client.list(&id, &[("startingBlockIndex", "1665")]).await.ok().json();
    assert_eq!(indexes(&rest, "Blocks"), [1672]);

    let first = client.list(&id, &[("maxResults", "100")]).await.ok().json();
    let token = first["NextToken"].as_str().unwrap();
    let other = client.snapshot(json!({"VolumeSize": 1}), &[(0, block(1))]).await;
    let refused = client.list(&other, &[("pageToken", token)]).await;
    assert_eq!(refused.rest_error(), "ValidationException INVALID_PAGE_TOKEN");
    let refused = client.changed(&id, &[("pageToken", token)]).await;
    assert_eq!(refused.rest_error(), "ValidationException INVALID_PAGE_TOKEN");
}

#[tokio::test]
async fn a_block_token_opens_one_block_of_one_snapshot_for_a_week() {
    let world = World::new().await;
    let client = client(&world);
    let id = client.snapshot(json!({"VolumeSize": 1}), &[(0, block(1)), (1, block(2))]).await;
    let twin = client.snapshot(json!({"VolumeSize": 1}), &[(0, block(1)), (1, block(2))]).await;
    let listed = client.list(&id, &[]).await.ok().json();
    let token = listed["Blocks"][0]["BlockToken"].as_str().unwrap();
    client.get(&id, 0, token).await.ok();
    let invalid = "ValidationException INVALID_BLOCK_TOKEN";
    assert_eq!(client.get(&id, 1, token).await.rest_error(), invalid);
    assert_eq!(client.get(&twin, 0, token).await.rest_error(), invalid);
    assert_eq!(client.get(&id, 0, "AAAA").await.rest_error(), invalid);
    let account = world.account("other").await;
    let stranger = Client { world: &world, account: &account };
    assert_eq!(
        stranger.get(&id, 0, token).await.rest_error(),
        "ResourceNotFoundException SNAPSHOT_NOT_FOUND"
    );
    let expiry = listed["ExpiryTime"].as_i64().unwrap();
    assert_eq!(expiry, world.now().plus(Duration::from_hours(7 * 24)).as_secs());
    world.clock.advance(Duration::from_secs(7 * 24 * 3600 - 1));
    client.get(&id, 0, token).await.ok();
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(client.get(&id, 0, token).await.rest_error(), invalid);
}

#[tokio::test]
async fn only_completed_snapshots_are_read() {
    let world = World::new().await;
    let client = client(&world);
    let id = client.start(json!({"VolumeSize": 1})).await;
    let pending = "ValidationException INVALID_SNAPSHOT_ID";
    assert_eq!(client.list(&id, &[]).await.rest_error(), pending);
    assert_eq!(client.changed(&id, &[]).await.rest_error(), pending);
    assert_eq!(client.get(&id, 0, "AAAA").await.rest_error(), pending);
    let done = client.snapshot(json!({"VolumeSize": 1}), &[]).await;
    assert_eq!(client.changed(&done, &[("firstSnapshotId", &id)]).await.rest_error(), pending);
    assert_eq!(client.download(&done).await, []);
}

#[tokio::test]
async fn changes_between_snapshots_carry_a_token_for_each_side_that_has_the_block() {
    let world = World::new().await;
    let client = client(&world);
    let first =
        client.snapshot(json!({"VolumeSize": 1}), &[(0, block(1)), (1, block(2)), (2, block(3))]).await;
    let start = json!({"VolumeSize": 2, "ParentSnapshotId": first});
    let changes = [(1, block(9)), (2, vec![0; BLOCK]), (3000, block(4)), (0, block(1))];
    let second = client.snapshot(start, &changes).await;
    let listed = client.changed(&second, &[("firstSnapshotId", &first)]).await.ok().json();
    assert_eq!(indexes(&listed, "ChangedBlocks"), [1, 2, 3000]);
    assert_eq!(listed["VolumeSize"], 2);
    let sides = |n: usize| {
        let block = &listed["ChangedBlocks"][n];
        (block["FirstBlockToken"].as_str(), block["SecondBlockToken"].as_str())
    };
    let (both_first, both_second) = sides(0);
    assert_eq!(client.get(&first, 1, both_first.unwrap()).await.ok().body, block(2));
    assert_eq!(client.get(&second, 1, both_second.unwrap()).await.ok().body, block(9));
    assert!(sides(1).0.is_some() && sides(1).1.is_none(), "gone in the second");
    assert!(sides(2).0.is_none() && sides(2).1.is_some(), "new in the second");

    let all = client.changed(&second, &[]).await.ok().json();
    assert_eq!(indexes(&all, "ChangedBlocks"), [0, 1, 3000]);
    assert!(
        all["ChangedBlocks"].as_array().unwrap().iter().all(|block| block.get("FirstBlockToken").is_none())
    );
    let back = client.changed(&first, &[("firstSnapshotId", &second)]).await.ok().json();
    assert_eq!(indexes(&back, "ChangedBlocks"), [1, 2, 3000]);
    let same = client.changed(&first, &[("firstSnapshotId", &first)]).await.ok().json();
    assert_eq!(indexes(&same, "ChangedBlocks"), Vec::<u64>::new());
}

#[tokio::test]
async fn changes_are_paged_too() {
    let world = World::new().await;
    let client = client(&world);
    let first = client.snapshot(json!({"VolumeSize": 1}), &[]).await;
    let blocks: Vec<_> = (0..101u32).map(|n| (n * 3, block(1 + u8::try_from(n).unwrap()))).collect();
    let second = client.snapshot(json!({"VolumeSize": 1, "ParentSnapshotId": first}), &blocks).await;
    let query = [("firstSnapshotId", first.as_str()), ("maxResults", "100")];
    let page = client.changed(&second, &query).await.ok().json();
    assert_eq!(indexes(&page, "ChangedBlocks").len(), 100);
    let token = page["NextToken"].as_str().unwrap();
    let rest = client.changed(&second, &[query[0], ("pageToken", token)]).await.ok().json();
    assert_eq!(indexes(&rest, "ChangedBlocks"), (100..101).map(|n| n * 3).collect::<Vec<_>>());
    assert!(rest.get("NextToken").is_none());
    let refused = client.changed(&second, &[("pageToken", token)]).await;
    assert_eq!(refused.rest_error(), "ValidationException INVALID_PAGE_TOKEN", "of another pair");
}

#[tokio::test]
async fn snapshots_without_a_common_history_are_not_compared() {
    let world = World::new().await;
    let client = client(&world);
    let a = client.snapshot(json!({"VolumeSize": 1}), &[(0, block(1))]).await;
    let b = client.snapshot(json!({"VolumeSize": 1}), &[(0, block(1))]).await;
    let refused = client.changed(&b, &[("firstSnapshotId", &a)]).await;
    assert_eq!(refused.rest_error(), "ValidationException UNRELATED_SNAPSHOTS");
    let from_a = |gib: u32| json!({"VolumeSize": gib, "ParentSnapshotId": a});
    let left = client.snapshot(from_a(1), &[(1, block(2))]).await;
    let right = client.snapshot(from_a(1), &[(2, block(3))]).await;
    let listed = client.changed(&right, &[("firstSnapshotId", &left)]).await.ok().json();
    assert_eq!(indexes(&listed, "ChangedBlocks"), [1, 2]);
}
