//! VPCs, subnets and security groups of the account in the region.

use model::{SecurityGroup, SecurityGroupId, SecurityGroupRule, Subnet, SubnetId, Vpc, VpcId};

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

    /// The group that a request names by its id or, in the default VPC, by its name.
    pub(crate) async fn security_group_named(
        &mut self,
        id: Option<&SecurityGroupId>,
        name: Option<&str>,
    ) -> Result<Granted<SecurityGroup>, Failure> {
        match (id, name) {
            (Some(id), None) => self.security_group(id).await,
            (None, Some(name)) => self.security_group_by_name(name).await,
            (Some(_), Some(_)) => {
                Err(Failure::combination("The parameters GroupId and GroupName cannot be used together"))
            }
            (None, None) => Err(Failure::missing("GroupId")),
        }
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

    /// Gives the group rules, each with the tags of its creation.
    pub(crate) async fn ingress_add(
        &mut self,
        creation: &Creation,
        group: Granted<SecurityGroup>,
        rules: &[SecurityGroupRule],
    ) -> Result<(), Failure> {
        self.security_group_update(group.with(|group| group.ingress.extend_from_slice(rules))).await?;
        for rule in rules {
            self.created_tags_put(creation, rule.rule_id.as_str()).await?;
        }
        Ok(())
    }

    /// Takes rules from the group, and their tags.
    pub(crate) async fn ingress_remove(
        &mut self,
        group: Granted<SecurityGroup>,
        rules: &[SecurityGroupRule],
    ) -> Result<(), Failure> {
        for rule in rules {
            self.cx.tx.tags_delete_all(rule.rule_id.as_str()).await?;
        }
        let stays = |rule: &SecurityGroupRule| rules.iter().all(|gone| gone.rule_id != rule.rule_id);
        self.security_group_update(group.with(|group| group.ingress.retain(stays))).await
    }

    pub(crate) async fn security_group_delete(
        &mut self,
        group: Granted<SecurityGroup>,
    ) -> Result<(), Failure> {
        for rule in group.ingress.iter().chain(&group.egress) {
            self.cx.tx.tags_delete_all(rule.rule_id.as_str()).await?;
        }
        self.cx.tx.tags_delete_all(group.group_id.as_str()).await?;
        self.cx.tx.security_group_delete(&group.group_id).await?;
        Ok(())
    }
}
