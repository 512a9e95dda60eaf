//! One rule of a security group: as it was added, and as it was taken away.

use model::{AccountId, CidrV4, RulePeer, SecurityGroup, SecurityGroupId, SecurityGroupRuleId, VpcId};

use super::Tag;
use crate::ToXml;

#[derive(Debug, Clone, ToXml)]
pub struct SecurityGroupRule {
    pub security_group_rule_id: SecurityGroupRuleId,
    pub group_id: SecurityGroupId,
    pub group_owner_id: AccountId,
    pub is_egress: bool,
    pub ip_protocol: String,
    pub from_port: i32,
    pub to_port: i32,
    pub cidr_ipv4: Option<CidrV4>,
    pub cidr_ipv6: Option<String>,
    pub referenced_group_info: Option<ReferencedSecurityGroup>,
    pub description: Option<String>,
    #[xml("tagSet", skip_empty)]
    pub tags: Vec<Tag>,
    pub security_group_rule_arn: String,
}

#[derive(Debug, Clone, ToXml)]
pub struct ReferencedSecurityGroup {
    pub group_id: SecurityGroupId,
    pub user_id: AccountId,
    pub vpc_id: VpcId,
}

impl SecurityGroupRule {
    pub fn ingress(group: &SecurityGroup, rule: &model::SecurityGroupRule, tags: &[model::Tag]) -> Self {
        let peer = Peer::of(rule);
        let referenced_group_info = peer.group.map(|(group_id, user_id)| ReferencedSecurityGroup {
            group_id,
            user_id,
            vpc_id: group.vpc_id.clone(),
        });
        let (from_port, to_port) = ports(rule);
        Self {
            security_group_rule_id: rule.rule_id.clone(),
            group_id: group.group_id.clone(),
            group_owner_id: group.owner_id.clone(),
            is_egress: false,
            ip_protocol: rule.protocol.clone(),
            from_port,
            to_port,
            cidr_ipv4: peer.cidr_ipv4,
            cidr_ipv6: peer.cidr_ipv6,
            referenced_group_info,
            description: rule.description.clone(),
            tags: tags.iter().map(Tag::from).collect(),
            security_group_rule_arn: format!(
                "arn:aws:ec2:{}:{}:security-group-rule/{}",
                group.region, group.owner_id, rule.rule_id
            ),
        }
    }
}

#[derive(Debug, Clone, ToXml)]
pub struct RevokedSecurityGroupRule {
    pub security_group_rule_id: SecurityGroupRuleId,
    pub group_id: SecurityGroupId,
    pub is_egress: bool,
    pub ip_protocol: String,
    pub from_port: i32,
    pub to_port: i32,
    pub cidr_ipv4: Option<CidrV4>,
    pub cidr_ipv6: Option<String>,
    pub referenced_group_id: Option<SecurityGroupId>,
    pub description: Option<String>,
}

impl RevokedSecurityGroupRule {
    pub fn ingress(group: &SecurityGroup, rule: &model::SecurityGroupRule) -> Self {
        let peer = Peer::of(rule);
        let (from_port, to_port) = ports(rule);
        Self {
            security_group_rule_id: rule.rule_id.clone(),
            group_id: group.group_id.clone(),
            is_egress: false,
            ip_protocol: rule.protocol.clone(),
            from_port,
            to_port,
            cidr_ipv4: peer.cidr_ipv4,
            cidr_ipv6: peer.cidr_ipv6,
            referenced_group_id: peer.group.map(|(group_id, _)| group_id),
            description: rule.description.clone(),
        }
    }
}

/// In this form, unlike in `IpPermission`, "any port" is written as -1.
fn ports(rule: &model::SecurityGroupRule) -> (i32, i32) {
    (rule.from_port.unwrap_or(-1), rule.to_port.unwrap_or(-1))
}

/// The one peer of a rule, spread over the members that the API has for it.
#[derive(Default)]
struct Peer {
    cidr_ipv4: Option<CidrV4>,
    cidr_ipv6: Option<String>,
    group: Option<(SecurityGroupId, AccountId)>,
}

impl Peer {
    fn of(rule: &model::SecurityGroupRule) -> Self {
        let none = Self::default();
        match &rule.peer {
            RulePeer::CidrV4(cidr) => Self { cidr_ipv4: Some(*cidr), ..none },
            RulePeer::CidrV6(cidr) => Self { cidr_ipv6: Some(cidr.clone()), ..none },
            RulePeer::Group { group_id, owner_id } => {
                Self { group: Some((group_id.clone(), owner_id.clone())), ..none }
            }
        }
    }
}
