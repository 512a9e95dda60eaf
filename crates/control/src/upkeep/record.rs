//! The record of an image or snapshot: what the store holds of a row. Described in docs/formats/snapshot.md.

use metastore::Metastore;
use model::{Image, Snapshot, SnapshotState, Tag};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::jobs::keep_record::KeepRecord;
use crate::spine::env::Env;
use crate::spine::job::JobWrite;

const VERSION: u32 = 1;
/// Which form of records all images and snapshots have.
const SETTING: &str = "records_version";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    Image(Box<Image>),
    Snapshot(Box<Snapshot>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) tags: Vec<Tag>,
    pub(crate) content: Content,
}

#[derive(Serialize, Deserialize)]
struct Form {
    version: u32,
    tags: Vec<(String, String)>,
    content: Content,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Record {
    pub(crate) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let tags = self.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
        serde_json::to_vec(&Form { version: VERSION, tags, content: self.content.clone() })
    }

    /// The text says why not, for an administrator.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Versioned { version } = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if version != VERSION {
            return Err(format!("its form is {version}, and this program knows {VERSION}"));
        }
        let form: Form = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let tags = form.tags.into_iter().map(|(key, value)| Tag { key, value }).collect();
        Ok(Self { tags, content: form.content })
    }
}

/// For databases of before there were records, or with an older form of them: once, every image and snapshot is
/// recorded.
pub async fn keep_records(metastore: &Metastore, env: &Env) -> Result<(), Failure> {
    let mut tx = metastore.write().await?;
    if tx.setting_get(SETTING).await?.as_deref() == Some(VERSION.to_string().as_str()) {
        return Ok(());
    }
    let snapshots = tx.snapshots_in_state(SnapshotState::Completed).await?;
    let images = tx.images().await?;
    let mut write = JobWrite::new(&mut tx, env);
    for snapshot in &snapshots {
        write
            .enqueue(&KeepRecord::of_snapshot(&snapshot.snapshot_id, &snapshot.owner_id, snapshot.region))
            .await?;
    }
    for image in &images {
        write.enqueue(&KeepRecord::of_image(&image.image_id, &image.owner_id, image.region)).await?;
    }
    tx.setting_set(SETTING, &VERSION.to_string()).await?;
    tx.commit().await?;
    Ok(())
}
