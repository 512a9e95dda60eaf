//! `key_pairs`.

use model::{AccountId, KeyPair, KeyPairId, Region};

use crate::Tx;
use crate::engine::Value;
use crate::error::Result;
use crate::noun::Noun;

impl Noun for KeyPair {
    const TABLE: &'static str = "key_pairs";
    const KEY: &'static str = "key_pair_id";
    const COLUMNS: &'static [&'static str] = &["owner_id", "region", "key_name"];

    fn key(&self) -> &str {
        self.key_pair_id.as_str()
    }

    fn columns(&self) -> Vec<Value> {
        vec![self.owner_id.as_str().into(), self.region.into(), self.key_name.as_str().into()]
    }
}

impl Tx {
    /// `Conflict` when the id, or the name within the owner's region, is taken.
    pub async fn key_pair_insert(&mut self, key_pair: &KeyPair) -> Result<()> {
        self.noun_insert(key_pair).await
    }

    pub async fn key_pair_get(&mut self, id: &KeyPairId) -> Result<Option<KeyPair>> {
        self.noun_get(id.as_str()).await
    }

    pub async fn key_pair_by_name(
        &mut self,
        account: &AccountId,
        region: Region,
        name: &str,
    ) -> Result<Option<KeyPair>> {
        let condition = "owner_id = $1 AND region = $2 AND key_name = $3";
        self.noun_where(condition, &[account.as_str().into(), region.into(), name.into()]).await
    }

    /// The owner's key pairs by name.
    pub async fn key_pairs_owned(&mut self, account: &AccountId, region: Region) -> Result<Vec<KeyPair>> {
        let condition = "owner_id = $1 AND region = $2 ORDER BY key_name";
        self.nouns_where(condition, &[account.as_str().into(), region.into()]).await
    }

    /// False when there was none.
    pub async fn key_pair_delete(&mut self, id: &KeyPairId) -> Result<bool> {
        self.noun_delete::<KeyPair>(id.as_str()).await
    }
}
