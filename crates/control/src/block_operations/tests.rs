//! The EBS direct API as clients use it, over the real dispatcher.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testkit::{Account, Reply, World};

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
