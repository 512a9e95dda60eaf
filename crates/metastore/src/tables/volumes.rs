//! `volumes`.

use model::{AccountId, InstanceId, Region, Volume, VolumeId, VolumeState};

use crate::Tx;
use crate::engine::Value;
use crate::error::Result;
use crate::noun::Noun;

impl Noun for Volume {
    const TABLE: &'static str = "volumes";
    const KEY: &'static str = "volume_id";
    const COLUMNS: &'static [&'static str] = &["owner_id", "region", "state", "instance_id", "create_time"];

    fn key(&self) -> &str {
        self.volume_id.as_str()
    }

    fn columns(&self) -> Vec<Value> {
        vec![
            self.owner_id.as_str().into(),
            self.availability_zone.region.into(),
            self.state.as_str().into(),
            self.attachment.as_ref().map(|attachment| attachment.instance_id.as_str()).into(),
            self.create_time.into(),
        ]
    }
}

impl Tx {
    pub async fn volume_insert(&mut self, volume: &Volume) -> Result<()> {
        self.noun_insert(volume).await
    }

    pub async fn volume_get(&mut self, id: &VolumeId) -> Result<Option<Volume>> {
        self.noun_get(id.as_str()).await
    }

    /// Replaces the whole noun; `NotFound` when there is none.
    pub async fn volume_update(&mut self, volume: &Volume) -> Result<()> {
        self.noun_update(volume).await
    }

    /// False when there was none.
    pub async fn volume_delete(&mut self, id: &VolumeId) -> Result<bool> {
        self.noun_delete::<Volume>(id.as_str()).await
    }

    /// The owner's volumes, oldest first.
    pub async fn volumes_owned(&mut self, account: &AccountId, region: Region) -> Result<Vec<Volume>> {
        let condition = "owner_id = $1 AND region = $2 ORDER BY create_time, volume_id";
        self.nouns_where(condition, &[account.as_str().into(), region.into()]).await
    }

    /// The volumes of any account after `after` in the order of ids, at most `limit`.
    pub async fn volumes_page(&mut self, after: &str, limit: u32) -> Result<Vec<Volume>> {
        let condition = "volume_id > $1 ORDER BY volume_id LIMIT $2";
        self.nouns_where(condition, &[after.into(), i64::from(limit).into()]).await
    }

    /// The volumes of all accounts, oldest first.
    pub async fn volumes(&mut self) -> Result<Vec<Volume>> {
        self.nouns_where("1 = 1 ORDER BY create_time, volume_id", &[]).await
    }

    /// The volumes of any account in a state, oldest first.
    pub async fn volumes_in_state(&mut self, state: VolumeState) -> Result<Vec<Volume>> {
        self.nouns_where("state = $1 ORDER BY create_time, volume_id", &[state.as_str().into()]).await
    }

    /// The volumes whose attachment names the instance, oldest first.
    pub async fn volumes_of_instance(&mut self, instance: &InstanceId) -> Result<Vec<Volume>> {
        let condition = "instance_id = $1 ORDER BY create_time, volume_id";
        self.nouns_where(condition, &[instance.as_str().into()]).await
    }
}
