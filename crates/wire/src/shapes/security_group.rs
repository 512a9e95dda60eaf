//! A security group, as `DescribeSecurityGroups` lists it.

use model::{AccountId, SecurityGroupId, VpcId};

use super::{IpPermission, Tag};
use crate::ToXml;

#[derive(Debug, Clone, ToXml)]
pub struct SecurityGroup {
    pub group_id: SecurityGroupId,
    pub ip_permissions_egress: Vec<IpPermission>,
    #[xml("tagSet", skip_empty)]
    pub tags: Vec<Tag>,
    pub vpc_id: VpcId,
    pub security_group_arn: String,
    pub owner_id: AccountId,
    pub group_name: String,
    #[xml("groupDescription")]
    pub description: String,
    pub ip_permissions: Vec<IpPermission>,
}

impl SecurityGroup {
    pub fn of(group: &model::SecurityGroup, tags: &[model::Tag]) -> Self {
        Self {
            group_id: group.group_id.clone(),
            ip_permissions_egress: IpPermission::bundle(&group.egress),
            tags: tags.iter().map(Tag::from).collect(),
            vpc_id: group.vpc_id.clone(),
            security_group_arn: security_group_arn(group),
            owner_id: group.owner_id.clone(),
            group_name: group.group_name.clone(),
            description: group.description.clone(),
            ip_permissions: IpPermission::bundle(&group.ingress),
        }
    }
}

pub fn security_group_arn(group: &model::SecurityGroup) -> String {
    format!("arn:aws:ec2:{}:{}:security-group/{}", group.region, group.owner_id, group.group_id)
}
