//! `security_groups`; the rules are part of the noun.

use model::{AccountId, Region, SecurityGroup, SecurityGroupId, VpcId};

use crate::Tx;
use crate::engine::Value;
use crate::error::Result;
use crate::noun::Noun;

impl Noun for SecurityGroup {
    const TABLE: &'static str = "security_groups";
    const KEY: &'static str = "group_id";
    const COLUMNS: &'static [&'static str] = &["owner_id", "region", "vpc_id", "group_name"];

    fn key(&self) -> &str {
        self.group_id.as_str()
    }

    fn columns(&self) -> Vec<Value> {
        vec![
            self.owner_id.as_str().into(),
            self.region.into(),
            self.vpc_id.as_str().into(),
            self.group_name.as_str().into(),
        ]
    }
}

impl Tx {
    /// `Conflict` when the id, or the name within the VPC, is taken.
    pub async fn security_group_insert(&mut self, group: &SecurityGroup) -> Result<()> {
        self.noun_insert(group).await
    }

    pub async fn security_group_get(&mut self, id: &SecurityGroupId) -> Result<Option<SecurityGroup>> {
        self.noun_get(id.as_str()).await
    }

    pub async fn security_group_by_name(&mut self, vpc: &VpcId, name: &str) -> Result<Option<SecurityGroup>> {
        self.noun_where("vpc_id = $1 AND group_name = $2", &[vpc.as_str().into(), name.into()]).await
    }

    /// Replaces the whole noun, rules included; `NotFound` when there is none.
    pub async fn security_group_update(&mut self, group: &SecurityGroup) -> Result<()> {
        self.noun_update(group).await
    }

    /// False when there was none.
    pub async fn security_group_delete(&mut self, id: &SecurityGroupId) -> Result<bool> {
        self.noun_delete::<SecurityGroup>(id.as_str()).await
    }

    /// The owner's groups by id.
    pub async fn security_groups_owned(
        &mut self,
        account: &AccountId,
        region: Region,
    ) -> Result<Vec<SecurityGroup>> {
        let condition = "owner_id = $1 AND region = $2 ORDER BY group_id";
        self.nouns_where(condition, &[account.as_str().into(), region.into()]).await
    }

    /// The groups of a VPC by id.
    pub async fn security_groups_of_vpc(&mut self, vpc: &VpcId) -> Result<Vec<SecurityGroup>> {
        self.nouns_where("vpc_id = $1 ORDER BY group_id", &[vpc.as_str().into()]).await
    }
}
