//! Key pairs of the account in the region.

use model::limits::KEY_PAIRS_PER_REGION_MAX;
use model::{KeyPair, KeyPairId};

use super::super::cx::Cx;
use super::super::granted::{Creation, Granted};
use super::super::write::Write;
use crate::failure::Failure;

impl Cx<'_> {
    pub(crate) async fn key_pair(&mut self, name: &str) -> Result<Granted<KeyPair>, Failure> {
        self.key_pair_if_any(name).await?.ok_or_else(|| Failure::key_pair_not_found(name))
    }

    pub(crate) async fn key_pair_if_any(&mut self, name: &str) -> Result<Option<Granted<KeyPair>>, Failure> {
        let found = self.tx.key_pair_by_name(&self.caller.account, self.caller.region, name).await?;
        Ok(found.map(Granted::new))
    }

    pub(crate) async fn key_pair_by_id(&mut self, id: &KeyPairId) -> Result<Granted<KeyPair>, Failure> {
        let found = self.key_pair_by_id_if_any(id).await?;
        found.ok_or_else(|| Failure::key_pair_not_found(id.as_str()))
    }

    pub(crate) async fn key_pair_by_id_if_any(
        &mut self,
        id: &KeyPairId,
    ) -> Result<Option<Granted<KeyPair>>, Failure> {
        let found = self.tx.key_pair_get(id).await?;
        let here = |pair: &KeyPair| pair.owner_id == self.caller.account && pair.region == self.caller.region;
        Ok(found.filter(here).map(Granted::new))
    }

    pub(crate) async fn key_pairs(&mut self) -> Result<Vec<Granted<KeyPair>>, Failure> {
        let all = self.tx.key_pairs_owned(&self.caller.account, self.caller.region).await?;
        Ok(all.into_iter().map(Granted::new).collect())
    }

    /// Whether one more key pair of this name may be made: unique in account and region, below the limit.
    pub(crate) async fn may_name_key_pair(&mut self, name: &str) -> Result<(), Failure> {
        if self.key_pair_if_any(name).await?.is_some() {
            return Err(Failure::key_pair_exists(name));
        }
        if self.key_pairs().await?.len() >= KEY_PAIRS_PER_REGION_MAX {
            return Err(Failure::key_pair_limit(KEY_PAIRS_PER_REGION_MAX));
        }
        Ok(())
    }
}

impl Write<'_, '_> {
    pub(crate) async fn key_pair_insert(
        &mut self,
        creation: &Creation,
        pair: &KeyPair,
    ) -> Result<(), Failure> {
        self.cx.tx.key_pair_insert(pair).await?;
        self.created_tags_put(creation, pair.key_pair_id.as_str()).await
    }

    pub(crate) async fn key_pair_delete(&mut self, pair: Granted<KeyPair>) -> Result<(), Failure> {
        self.cx.tx.tags_delete_all(pair.key_pair_id.as_str()).await?;
        self.cx.tx.key_pair_delete(&pair.key_pair_id).await?;
        Ok(())
    }
}
