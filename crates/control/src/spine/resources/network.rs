//! VPCs, subnets and security groups of the account in the region.

use model::{SecurityGroup, SecurityGroupId, Subnet, SubnetId, Vpc, VpcId};

use super::super::cx::Cx;
use super::super::granted::{Creation, Granted};
use super::super::write::Write;
use crate::failure::Failure;

impl Cx<'_> {
    pub(crate) async fn vpcs(&mut self) -> Result<Vec<Granted<Vpc>>, Failure> {
        let all = self.tx.vpcs_owned(&self.caller.account, self.caller.region).await?;
        Ok(all.into_iter().map(Granted::new).collect())
    }

    pub(crate) async fn vpc(&mut self, id: &VpcId) -> Result<Granted<Vpc>, Failure> {
        let found = self.vpcs().await?.into_iter().find(|vpc| vpc.vpc_id == *id);
        found.ok_or_else(|| Failure::vpc_not_found(id))
    }

    pub(crate) async fn default_vpc(&mut self) -> Result<Granted<Vpc>, Failure> {
        let found = self.vpcs().await?.into_iter().find(|vpc| vpc.is_default);
        found.ok_or_else(|| Failure::internal("an account without a default VPC"))
    }

    pub(crate) async fn subnets(&mut self) -> Result<Vec<Granted<Subnet>>, Failure> {
        let all = self.tx.subnets_owned(&self.caller.account, self.caller.region).await?;
        Ok(all.into_iter().map(Granted::new).collect())
    }

    pub(crate) async fn subnet(&mut self, id: &SubnetId) -> Result<Granted<Subnet>, Failure> {
        let found = self.subnets().await?.into_iter().find(|subnet| subnet.subnet_id == *id);
        found.ok_or_else(|| Failure::subnet_not_found(id))
    }

    pub(crate) async fn security_groups(&mut self) -> Result<Vec<Granted<SecurityGroup>>, Failure> {
        let all = self.tx.security_groups_owned(&self.caller.account, self.caller.region).await?;
        Ok(all.into_iter().map(Granted::new).collect())
    }

    pub(crate) async fn security_group(
        &mut self,
        id: &SecurityGroupId,
    ) -> Result<Granted<SecurityGroup>, Failure> {
        let found = self.security_groups().await?.into_iter().find(|group| group.group_id == *id);
        found.ok_or_else(|| Failure::group_not_found(id.as_str()))
    }

    /// By name, in the default VPC, as calls without a VPC mean it.
    pub(crate) async fn security_group_by_name(
        &mut self,
        name: &str,
    ) -> Result<Granted<SecurityGroup>, Failure> {
        let vpc_id = self.default_vpc().await?.vpc_id.clone();
        let mut all = self.security_groups().await?.into_iter();
        let found = all.find(|group| group.group_name == name && group.vpc_id == vpc_id);
        found.ok_or_else(|| Failure::group_not_found(name))
    }
}

impl Write<'_, '_> {
    pub(crate) async fn security_group_insert(
        &mut self,
        creation: &Creation,
        group: &SecurityGroup,
    ) -> Result<(), Failure> {
        self.cx.tx.security_group_insert(group).await?;
        self.created_tags_put(creation, group.group_id.as_str()).await
    }

    pub(crate) async fn security_group_update(
        &mut self,
        group: Granted<SecurityGroup>,
    ) -> Result<(), Failure> {
        Ok(self.cx.tx.security_group_update(&group).await?)
    }

    pub(crate) async fn security_group_delete(
        &mut self,
        group: Granted<SecurityGroup>,
    ) -> Result<(), Failure> {
        self.cx.tx.tags_delete_all(group.group_id.as_str()).await?;
        self.cx.tx.security_group_delete(&group.group_id).await?;
        Ok(())
    }
}
