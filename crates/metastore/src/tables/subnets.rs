//! `subnets`.

use model::{AccountId, Region, Subnet, SubnetId, VpcId};

use crate::Tx;
use crate::engine::Value;
use crate::error::Result;
use crate::noun::Noun;

impl Noun for Subnet {
    const TABLE: &'static str = "subnets";
    const KEY: &'static str = "subnet_id";
    const COLUMNS: &'static [&'static str] = &["vpc_id", "owner_id", "region"];

    fn key(&self) -> &str {
        self.subnet_id.as_str()
    }

    fn columns(&self) -> Vec<Value> {
        let region = self.availability_zone.region;
        vec![self.vpc_id.as_str().into(), self.owner_id.as_str().into(), region.into()]
    }
}

impl Tx {
    pub async fn subnet_insert(&mut self, subnet: &Subnet) -> Result<()> {
        self.noun_insert(subnet).await
    }

    pub async fn subnet_get(&mut self, id: &SubnetId) -> Result<Option<Subnet>> {
        self.noun_get(id.as_str()).await
    }

    /// The owner's subnets by id.
    pub async fn subnets_owned(&mut self, account: &AccountId, region: Region) -> Result<Vec<Subnet>> {
        let condition = "owner_id = $1 AND region = $2 ORDER BY subnet_id";
        self.nouns_where(condition, &[account.as_str().into(), region.into()]).await
    }

    /// The subnets of a VPC by id.
    pub async fn subnets_of_vpc(&mut self, vpc: &VpcId) -> Result<Vec<Subnet>> {
        self.nouns_where("vpc_id = $1 ORDER BY subnet_id", &[vpc.as_str().into()]).await
    }
}
