//! `images`, with side tables for launch permissions, for the snapshots they use, and for ids that are gone.

use std::collections::BTreeSet;

use model::{AccountId, Image, ImageId, LaunchPermission, Region, SnapshotId, Timestamp};

use crate::Tx;
use crate::engine::Value;
use crate::error::Result;
use crate::noun::{Links, Noun};

/// What stays of a deregistered image: its id is known, the image is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTombstone {
    pub owner_id: AccountId,
    pub region: Region,
    pub deregistration_time: Timestamp,
}

/// The group of everybody among the grantees, which are account ids otherwise.
pub(super) const EVERYBODY: &str = "all";

const PERMISSIONS: Links = Links { table: "image_launch_permissions", from: "image_id", to: "grantee" };
const SNAPSHOTS: Links = Links { table: "image_snapshots", from: "image_id", to: "snapshot_id" };

impl Noun for Image {
    const TABLE: &'static str = "images";
    const KEY: &'static str = "image_id";
    const COLUMNS: &'static [&'static str] = &["owner_id", "region", "name", "state", "creation_date"];

    fn key(&self) -> &str {
        self.image_id.as_str()
    }

    fn columns(&self) -> Vec<Value> {
        vec![
            self.owner_id.as_str().into(),
            self.region.into(),
            self.name.as_str().into(),
            self.state.as_str().into(),
            self.creation_date.into(),
        ]
    }
}

impl Tx {
    /// `Conflict` when the id, or the name within the owner's region, is taken.
    pub async fn image_insert(&mut self, image: &Image) -> Result<()> {
        self.noun_insert(image).await?;
        self.image_links_set(image).await
    }

    pub async fn image_get(&mut self, id: &ImageId) -> Result<Option<Image>> {
        self.noun_get(id.as_str()).await
    }

    /// Replaces the whole noun; `NotFound` when there is none.
    pub async fn image_update(&mut self, image: &Image) -> Result<()> {
        self.noun_update(image).await?;
        self.image_links_set(image).await
    }

    /// Deletes the image and leaves its tombstone; false when there was no image.
    pub async fn image_delete(&mut self, id: &ImageId) -> Result<bool> {
        let bury = "INSERT INTO image_tombstones (image_id, owner_id, region, deregistration_time) \
                    SELECT image_id, owner_id, region, CAST($2 AS BIGINT) FROM images WHERE image_id = $1";
        let args = [id.as_str().into(), self.now().into()];
        self.execute(bury, &args).await?;
        self.links_set(&PERMISSIONS, id.as_str(), BTreeSet::new()).await?;
        self.links_set(&SNAPSHOTS, id.as_str(), BTreeSet::new()).await?;
        self.noun_delete::<Image>(id.as_str()).await
    }

    /// Whether the id belonged to an image that was deleted.
    pub async fn image_tombstone(&mut self, id: &ImageId) -> Result<Option<ImageTombstone>> {
        let sql = "SELECT owner_id, region, deregistration_time FROM image_tombstones WHERE image_id = $1";
        let rows = self.query(sql, &[id.as_str().into()]).await?;
        rows.optional(|row| {
            Ok(ImageTombstone {
                owner_id: row.parsed(0)?,
                region: row.parsed(1)?,
                deregistration_time: row.time(2)?,
            })
        })
    }

    pub async fn image_by_name(
        &mut self,
        account: &AccountId,
        region: Region,
        name: &str,
    ) -> Result<Option<Image>> {
        let condition = "owner_id = $1 AND region = $2 AND name = $3";
        self.noun_where(condition, &[account.as_str().into(), region.into(), name.into()]).await
    }

    /// The images of all accounts, oldest first.
    pub async fn images(&mut self) -> Result<Vec<Image>> {
        self.nouns_where("1 = 1 ORDER BY creation_date, image_id", &[]).await
    }

    /// How many images the account owns in the region.
    pub async fn image_count(&mut self, account: &AccountId, region: Region) -> Result<u64> {
        let sql = "SELECT COUNT(*) FROM images WHERE owner_id = $1 AND region = $2";
        self.query(sql, &[account.as_str().into(), region.into()]).await?.count()
    }

    /// The images, of any account, whose block device mappings name the snapshot.
    pub async fn images_using_snapshot(&mut self, snapshot: &SnapshotId) -> Result<Vec<Image>> {
        let condition = "image_id IN (SELECT image_id FROM image_snapshots WHERE snapshot_id = $1) \
                         ORDER BY creation_date, image_id";
        self.nouns_where(condition, &[snapshot.as_str().into()]).await
    }

    async fn image_links_set(&mut self, image: &Image) -> Result<()> {
        let grantees = image.launch_permissions.iter().map(|permission| match permission {
            LaunchPermission::All => EVERYBODY,
            LaunchPermission::Account(account) => account.as_str(),
        });
        self.links_set(&PERMISSIONS, image.key(), grantees.collect()).await?;
        let snapshots = image.snapshot_ids().map(SnapshotId::as_str).collect();
        self.links_set(&SNAPSHOTS, image.key(), snapshots).await
    }
}
