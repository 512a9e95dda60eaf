//! The upload's conversation: start, blocks in any order, completion with the checksum over all of them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::try_join_all;
use http::Method;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::json;

use super::BLOCK_BYTES;
use super::progress::Progress;
use super::source::{Block, Found, Source};
use crate::client::{Call, Client, Repeat, Service};
use crate::error::{Error, ErrorKind, Result};

const SNAPSHOT_WAIT_MAX: Duration = Duration::from_hours(1);
const POLL_FIRST: Duration = Duration::from_millis(50);
const POLL_MAX: Duration = Duration::from_secs(2);
/// How long the server keeps an upload on which nothing happens.
const UPLOAD_TIMEOUT_MINUTES: u32 = 60;

/// One upload.
#[derive(Debug)]
pub(crate) struct Upload<'a> {
    pub(crate) client: &'a Client,
    pub(crate) description: String,
    pub(crate) tags: Vec<(String, String)>,
    /// Blocks in flight; each takes two blocks' memory.
    pub(crate) parallel: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Started {
    snapshot_id: String,
    block_size: usize,
}

/// Index and checksum of a block that the server has.
type Sent = (u32, [u8; 32]);

impl Upload<'_> {
    /// The id of the snapshot, which may not be completed yet.
    pub(crate) async fn run(&self, source: Source, progress: &Progress) -> Result<String> {
        let started = self.start(source.volume_size_gib()).await?;
        let sent = self.blocks(&started.snapshot_id, Arc::new(source), progress).await;
        let sent = match sent {
            Ok(sent) => sent,
            Err(e) => return Err(unfinished(e, &started.snapshot_id)),
        };
        self.complete(&started.snapshot_id, &sent).await.map_err(|e| unfinished(e, &started.snapshot_id))?;
        Ok(started.snapshot_id)
    }

    async fn start(&self, volume_size_gib: u64) -> Result<Started> {
        let tags: Vec<_> = self.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        let body = json!({
            "VolumeSize": volume_size_gib,
            "Description": self.description,
            "Tags": tags,
            "ClientToken": self.client.client_token(),
            "Timeout": UPLOAD_TIMEOUT_MINUTES,
        });
        let call = Call {
            service: Service::Ebs,
            method: Method::POST,
            path: "/snapshots".into(),
            headers: vec![("content-type", "application/json".into())],
            body: body.to_string().into(),
            sign_body: true,
            repeat: Repeat::Harmless,
        };
        let reply = self.client.rest("start the snapshot", &call).await?;
        let started: Started = serde_json::from_slice(&reply.body)
            .map_err(|e| Error::failed(format!("the server's answer to StartSnapshot: {e}")))?;
        if started.block_size != BLOCK_BYTES {
            return Err(Error::failed(format!("the server wants blocks of {} bytes", started.block_size)));
        }
        Ok(started)
    }

    async fn blocks(&self, snapshot_id: &str, source: Arc<Source>, progress: &Progress) -> Result<Vec<Sent>> {
        let senders = (0..self.parallel).map(|_| self.sender(snapshot_id, &source, progress));
        let mut sent = try_join_all(senders).await?.concat();
        sent.sort_unstable_by_key(|(index, _)| *index);
        Ok(sent)
    }

    /// Reads, hashes and sends one block after the other until the disk ends.
    async fn sender(
        &self,
        snapshot_id: &str,
        source: &Arc<Source>,
        progress: &Progress,
    ) -> Result<Vec<Sent>> {
        let mut sent = Vec::new();
        loop {
            let source = Arc::clone(source);
            let found = tokio::task::spawn_blocking(move || source.next()).await;
            match found.map_err(|e| Error::failed(format!("read the disk: {e}")))?? {
                Found::End => return Ok(sent),
                Found::Zeros(bytes) => progress.skipped(bytes),
                Found::Block(block) => {
                    sent.push((block.index, block.sha256));
                    self.put(snapshot_id, block).await?;
                    progress.sent(BLOCK_BYTES as u64);
                }
            }
        }
    }

    async fn put(&self, snapshot_id: &str, block: Block) -> Result<()> {
        let call = Call {
            service: Service::Ebs,
            method: Method::PUT,
            path: format!("/snapshots/{snapshot_id}/blocks/{}", block.index),
            headers: vec![
                ("content-type", "application/octet-stream".into()),
                ("x-amz-data-length", BLOCK_BYTES.to_string()),
                ("x-amz-checksum", STANDARD.encode(block.sha256)),
                ("x-amz-checksum-algorithm", "SHA256".into()),
            ],
            body: block.bytes,
            // The checksum header is signed, and it covers the body.
            sign_body: false,
            repeat: Repeat::Harmless,
        };
        self.client.rest(&format!("send block {}", block.index), &call).await?;
        Ok(())
    }

    async fn complete(&self, snapshot_id: &str, sent: &[Sent]) -> Result<()> {
        let call = Call {
            service: Service::Ebs,
            method: Method::POST,
            path: format!("/snapshots/completion/{snapshot_id}"),
            headers: vec![
                ("x-amz-changedblockscount", sent.len().to_string()),
                ("x-amz-checksum", STANDARD.encode(linear_checksum(sent))),
                ("x-amz-checksum-algorithm", "SHA256".into()),
                ("x-amz-checksum-aggregation-method", "LINEAR".into()),
            ],
            body: Bytes::new(),
            sign_body: true,
            repeat: Repeat::Harmless,
        };
        self.client.rest("complete the snapshot", &call).await?;
        Ok(())
    }
}

/// SHA-256 over the blocks' digests in order of index.
fn linear_checksum(sent: &[Sent]) -> impl AsRef<[u8]> {
    let digests: Vec<u8> = sent.iter().flat_map(|(_, sha256)| *sha256).collect();
    digest(&SHA256, &digests)
}

fn unfinished(error: Error, snapshot_id: &str) -> Error {
    let again = format!("push again; the unfinished snapshot {snapshot_id} can be deleted");
    let hint = error.hint().map_or_else(|| again.clone(), |hint| format!("{hint}; then {again}"));
    error.with_hint(hint)
}

/// Returns when the snapshot is completed.
pub(crate) async fn wait_for_snapshot(client: &Client, snapshot_id: &str) -> Result<()> {
    let deadline = client.monotonic() + SNAPSHOT_WAIT_MAX;
    let parameters = [("SnapshotId.1".to_owned(), snapshot_id.to_owned())];
    let mut pause = POLL_FIRST;
    while client.monotonic() < deadline {
        let document = client.ec2("DescribeSnapshots", &parameters, Repeat::Harmless).await?;
        match wire::xml::first_text(&document, "status").as_deref() {
            Some("completed") => return Ok(()),
            Some("error") => {
                let why = wire::xml::first_text(&document, "statusMessage").unwrap_or_default();
                return Err(Error::failed(format!("the snapshot {snapshot_id} failed: {why}")));
            }
            _ => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(POLL_MAX);
    }
    Err(Error::new(ErrorKind::TimedOut, format!("the snapshot {snapshot_id} is not completed after an hour")))
}
