//! `vpcs`.

use model::{AccountId, Region, Vpc, VpcId};

use crate::Tx;
use crate::engine::Value;
use crate::error::Result;
use crate::noun::Noun;

impl Noun for Vpc {
    const TABLE: &'static str = "vpcs";
    const KEY: &'static str = "vpc_id";
    const COLUMNS: &'static [&'static str] = &["owner_id", "region", "is_default"];

    fn key(&self) -> &str {
        self.vpc_id.as_str()
    }

    fn columns(&self) -> Vec<Value> {
        vec![self.owner_id.as_str().into(), self.region.into(), self.is_default.into()]
    }
}

impl Tx {
    /// `Conflict` when the id is taken, or the region already has a default VPC of the owner.
    pub async fn vpc_insert(&mut self, vpc: &Vpc) -> Result<()> {
        self.noun_insert(vpc).await
    }

    pub async fn vpc_get(&mut self, id: &VpcId) -> Result<Option<Vpc>> {
        self.noun_get(id.as_str()).await
    }

    /// The VPC that launches use when they name no subnet.
    pub async fn vpc_default(&mut self, account: &AccountId, region: Region) -> Result<Option<Vpc>> {
        let condition = "owner_id = $1 AND region = $2 AND is_default = 1";
        self.noun_where(condition, &[account.as_str().into(), region.into()]).await
    }

    /// The owner's VPCs by id.
    pub async fn vpcs_owned(&mut self, account: &AccountId, region: Region) -> Result<Vec<Vpc>> {
        let condition = "owner_id = $1 AND region = $2 ORDER BY vpc_id";
        self.nouns_where(condition, &[account.as_str().into(), region.into()]).await
    }
}
