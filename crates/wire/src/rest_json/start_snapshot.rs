//! `StartSnapshot`: POST /snapshots, 201.

use model::limits::{
    DESCRIPTION_CHARS_MAX, TAGS_PER_RESOURCE_MAX, UPLOAD_TIMEOUT_MINUTES, VOLUME_SIZE_GIB_MAX,
};
use model::{SnapshotId, Tag};
use serde::{Deserialize, Serialize};

use super::input::snapshot_id;
use super::{EpochSeconds, Reason, RestFault, RestReply};

/// The largest real request: 50 tags of 383 characters, a description, an ARN.
const BODY_BYTES_MAX: usize = 128 * 1024;

const CLIENT_TOKEN_CHARS_MAX: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartSnapshotRequest {
    pub volume_size_gib: u32,
    pub parent_snapshot_id: Option<SnapshotId>,
    pub tags: Vec<Tag>,
    pub description: Option<String>,
    pub client_token: Option<String>,
    pub encrypted: Option<bool>,
    pub kms_key_arn: Option<String>,
    /// How long an upload may stand still, in minutes.
    pub timeout_minutes: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StartSnapshotResponse {
    pub snapshot_id: SnapshotId,
    pub owner_id: String,
    pub status: String,
    pub start_time: EpochSeconds,
    #[serde(rename = "VolumeSize")]
    pub volume_size_gib: u32,
    #[serde(rename = "BlockSize")]
    pub block_size_bytes: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub tags: Vec<RestTag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_snapshot_id: Option<SnapshotId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sse_type: Option<String>,
}

impl StartSnapshotResponse {
    pub fn reply(&self) -> RestReply {
        RestReply::json(201, self)
    }
}

/// A tag in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RestTag {
    pub key: String,
    #[serde(default)]
    pub value: String,
}

impl From<&Tag> for RestTag {
    fn from(tag: &Tag) -> Self {
        Self { key: tag.key.clone(), value: tag.value.clone() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    volume_size: Option<i64>,
    parent_snapshot_id: Option<String>,
    tags: Option<Vec<RestTag>>,
    description: Option<String>,
    client_token: Option<String>,
    encrypted: Option<bool>,
    kms_key_arn: Option<String>,
    timeout: Option<i64>,
}

pub(super) fn parse(body: &[u8]) -> Result<StartSnapshotRequest, RestFault> {
    if body.len() > BODY_BYTES_MAX {
        return Err(RestFault::value(format!("The request is larger than {BODY_BYTES_MAX} bytes")));
    }
    let body: Body = serde_json::from_slice(body)
        .map_err(|_| RestFault::value("The request is not the JSON expected here"))?;
    let request = StartSnapshotRequest {
        volume_size_gib: volume_size(body.volume_size)?,
        parent_snapshot_id: non_empty(body.parent_snapshot_id).map(|id| snapshot_id(&id)).transpose()?,
        tags: tags(body.tags.unwrap_or_default())?,
        description: at_most("Description", body.description, DESCRIPTION_CHARS_MAX)?,
        client_token: at_most("ClientToken", body.client_token, CLIENT_TOKEN_CHARS_MAX)?,
        encrypted: body.encrypted,
        kms_key_arn: at_most("KmsKeyArn", body.kms_key_arn, 2048)?,
        timeout_minutes: body.timeout.map(timeout).transpose()?,
    };
    if request.encrypted.is_some() && request.parent_snapshot_id.is_some() {
        return Err(RestFault::value("Encrypted and ParentSnapshotId cannot be given together"));
    }
    Ok(request)
}

fn volume_size(given: Option<i64>) -> Result<u32, RestFault> {
    let size = given.and_then(|size| u32::try_from(size).ok());
    size.filter(|size| (1..=VOLUME_SIZE_GIB_MAX).contains(size)).ok_or_else(|| {
        let message = format!("VolumeSize must be from 1 to {VOLUME_SIZE_GIB_MAX}");
        RestFault::validation(Reason::InvalidVolumeSize, message)
    })
}

fn timeout(given: i64) -> Result<u32, RestFault> {
    let minutes = u32::try_from(given).ok().filter(|minutes| UPLOAD_TIMEOUT_MINUTES.contains(minutes));
    minutes.ok_or_else(|| {
        let (least, most) = (UPLOAD_TIMEOUT_MINUTES.start(), UPLOAD_TIMEOUT_MINUTES.end());
        RestFault::value(format!("Timeout must be from {least} to {most} minutes"))
    })
}

fn tags(given: Vec<RestTag>) -> Result<Vec<Tag>, RestFault> {
    let invalid = |message: String| RestFault::validation(Reason::InvalidTag, message);
    if given.len() > TAGS_PER_RESOURCE_MAX {
        return Err(invalid(format!("A snapshot has at most {TAGS_PER_RESOURCE_MAX} tags")));
    }
    let tags: Vec<Tag> = given.into_iter().map(|tag| Tag { key: tag.key, value: tag.value }).collect();
    for tag in &tags {
        model::tag::check_user_tag(tag).map_err(|fault| invalid(fault.message))?;
    }
    Ok(tags)
}

fn at_most(name: &str, text: Option<String>, chars_max: usize) -> Result<Option<String>, RestFault> {
    match non_empty(text) {
        Some(text) if text.chars().count() > chars_max => {
            Err(RestFault::value(format!("{name} is longer than {chars_max} characters")))
        }
        text => Ok(text),
    }
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
