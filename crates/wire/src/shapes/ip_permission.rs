//! What a security group lets through, as requests say it and as replies show it.

use model::{AccountId, RulePeer, SecurityGroupId, SecurityGroupRule, SecurityGroupRuleId};

use crate::{FromQuery, ToXml};

/// One entry of `IpPermissions.N`: a protocol and ports, and everybody it is for.
#[derive(Debug, Clone, FromQuery)]
pub struct IpPermissionRequest {
    pub ip_protocol: Option<String>,
    pub from_port: Option<i32>,
    pub to_port: Option<i32>,
    #[query("IpRanges")]
    pub ip_ranges: Vec<IpRange>,
    #[query("Ipv6Ranges")]
    pub ipv6_ranges: Vec<Ipv6Range>,
    #[query("Groups")]
    pub groups: Vec<UserIdGroupPair>,
}

#[derive(Debug, Clone, PartialEq, Eq, FromQuery, ToXml)]
pub struct IpRange {
    pub cidr_ip: Option<String>,
    pub description: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, FromQuery, ToXml)]
pub struct Ipv6Range {
    pub cidr_ipv6: Option<String>,
    pub description: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, FromQuery, ToXml)]
pub struct UserIdGroupPair {
    pub group_id: Option<SecurityGroupId>,
    pub group_name: Option<String>,
    pub user_id: Option<AccountId>,
    pub description: Option<String>,
}

/// Rules of one protocol and port range, gathered.
#[derive(Debug, Clone, PartialEq, Eq, ToXml)]
pub struct IpPermission {
    pub ip_protocol: String,
    pub from_port: Option<i32>,
    pub to_port: Option<i32>,
    pub groups: Vec<UserIdGroupPair>,
    pub ip_ranges: Vec<IpRange>,
    pub ipv6_ranges: Vec<Ipv6Range>,
    pub prefix_list_ids: Vec<IpRange>,
}

impl IpPermission {
    /// Rules of the same protocol and ports share an entry, in the order of their first appearance.
    pub fn gather(rules: &[SecurityGroupRule]) -> Vec<Self> {
        let mut gathered: Vec<Self> = Vec::new();
        for rule in rules {
            let same = |p: &&mut Self| {
                p.ip_protocol == rule.protocol && p.from_port == rule.from_port && p.to_port == rule.to_port
            };
            match gathered.iter_mut().find(same) {
                Some(permission) => permission.push(rule),
                None => {
                    let mut permission = Self {
                        ip_protocol: rule.protocol.clone(),
                        from_port: rule.from_port,
                        to_port: rule.to_port,
                        groups: Vec::new(),
                        ip_ranges: Vec::new(),
                        ipv6_ranges: Vec::new(),
                        prefix_list_ids: Vec::new(),
                    };
                    permission.push(rule);
                    gathered.push(permission);
                }
            }
        }
        gathered
    }

    fn push(&mut self, rule: &SecurityGroupRule) {
        let description = rule.description.clone();
        match &rule.peer {
            RulePeer::CidrV4(cidr) => {
                self.ip_ranges.push(IpRange { cidr_ip: Some(cidr.to_string()), description });
            }
            RulePeer::CidrV6(cidr) => {
                self.ipv6_ranges.push(Ipv6Range { cidr_ipv6: Some(cidr.clone()), description });
            }
            RulePeer::Group { group_id, owner_id } => self.groups.push(UserIdGroupPair {
                group_id: Some(group_id.clone()),
                group_name: None,
                user_id: Some(owner_id.clone()),
                description,
            }),
        }
    }
}

/// One rule by itself, with its id.
#[derive(Debug, Clone, ToXml)]
pub struct SecurityGroupRuleShape {
    pub security_group_rule_id: SecurityGroupRuleId,
    pub group_id: SecurityGroupId,
    pub group_owner_id: AccountId,
    pub is_egress: bool,
    pub ip_protocol: String,
    pub from_port: i32,
    pub to_port: i32,
    pub cidr_ipv4: Option<String>,
    pub cidr_ipv6: Option<String>,
    pub referenced_group_info: Option<ReferencedGroup>,
    pub description: Option<String>,
}

#[derive(Debug, Clone, ToXml)]
pub struct ReferencedGroup {
    pub group_id: SecurityGroupId,
    pub user_id: AccountId,
}

impl SecurityGroupRuleShape {
    /// Ports of a rule for all protocols show as -1.
    pub fn ingress(group: &model::SecurityGroup, rule: &SecurityGroupRule) -> Self {
        let mut shape = Self {
            security_group_rule_id: rule.rule_id.clone(),
            group_id: group.group_id.clone(),
            group_owner_id: group.owner_id.clone(),
            is_egress: false,
            ip_protocol: rule.protocol.clone(),
            from_port: rule.from_port.unwrap_or(-1),
            to_port: rule.to_port.unwrap_or(-1),
            cidr_ipv4: None,
            cidr_ipv6: None,
            referenced_group_info: None,
            description: rule.description.clone(),
        };
        match &rule.peer {
            RulePeer::CidrV4(cidr) => shape.cidr_ipv4 = Some(cidr.to_string()),
            RulePeer::CidrV6(cidr) => shape.cidr_ipv6 = Some(cidr.clone()),
            RulePeer::Group { group_id, owner_id } => {
                let (group_id, user_id) = (group_id.clone(), owner_id.clone());
                shape.referenced_group_info = Some(ReferencedGroup { group_id, user_id });
            }
        }
        shape
    }
}
