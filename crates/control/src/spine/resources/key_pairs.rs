//! Key pairs of the account in the region.

use model::KeyPair;

use super::super::cx::Cx;
use super::super::granted::{Creation, Granted};
use super::super::write::Write;
use crate::failure::Failure;

impl Cx<'_> {
    pub(crate) async fn key_pair(&mut self, name: &str) -> Result<Granted<KeyPair>, Failure> {
        let found = self.tx.key_pair_by_name(&self.caller.account, self.caller.region, name).await?;
        found.map(Granted::new).ok_or_else(|| Failure::key_pair_not_found(name))
    }

    pub(crate) async fn key_pairs(&mut self) -> Result<Vec<Granted<KeyPair>>, Failure> {
        let all = self.tx.key_pairs_owned(&self.caller.account, self.caller.region).await?;
        Ok(all.into_iter().map(Granted::new).collect())
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
