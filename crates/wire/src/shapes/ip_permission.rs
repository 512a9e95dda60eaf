//! `IpPermissions`: rules of a security group bundled by protocol and ports, in both directions.

use model::{RulePeer, SecurityGroupRule};

use crate::{FromQuery, ToXml};

#[derive(Debug, Clone, PartialEq, Eq, FromQuery, ToXml)]
pub struct IpPermission {
    pub ip_protocol: String,
    pub from_port: Option<i32>,
    pub to_port: Option<i32>,
    pub groups: Vec<UserIdGroupPair>,
    pub ip_ranges: Vec<IpRange>,
    pub ipv6_ranges: Vec<Ipv6Range>,
    pub prefix_list_ids: Vec<PrefixListId>,
}

/// Another group as the peer. Its ids are texts here, because a request may name it in several ways.
#[derive(Debug, Clone, PartialEq, Eq, Default, FromQuery, ToXml)]
pub struct UserIdGroupPair {
    pub description: Option<String>,
    pub user_id: Option<String>,
    pub group_name: Option<String>,
    pub group_id: Option<String>,
    pub vpc_id: Option<String>,
    pub vpc_peering_connection_id: Option<String>,
    pub peering_status: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, FromQuery, ToXml)]
pub struct IpRange {
    pub description: Option<String>,
    pub cidr_ip: String,
}

#[derive(Debug, Clone, PartialEq, Eq, FromQuery, ToXml)]
pub struct Ipv6Range {
    pub description: Option<String>,
    pub cidr_ipv6: String,
}

#[derive(Debug, Clone, PartialEq, Eq, FromQuery, ToXml)]
pub struct PrefixListId {
    pub description: Option<String>,
    pub prefix_list_id: String,
}

impl IpPermission {
    /// The bundles of these rules, in the order of each bundle's first rule.
    pub fn bundle(rules: &[SecurityGroupRule]) -> Vec<Self> {
        let mut bundles: Vec<Self> = Vec::new();
        for rule in rules {
            let same = |bundle: &&mut Self| {
                (bundle.ip_protocol.as_str(), bundle.from_port, bundle.to_port)
                    == (rule.protocol.as_str(), rule.from_port, rule.to_port)
            };
            if let Some(bundle) = bundles.iter_mut().find(same) {
                bundle.add(rule);
            } else {
                let mut bundle = Self::empty(rule);
                bundle.add(rule);
                bundles.push(bundle);
            }
        }
        bundles
    }

    fn empty(rule: &SecurityGroupRule) -> Self {
        Self {
            ip_protocol: rule.protocol.clone(),
            from_port: rule.from_port,
            to_port: rule.to_port,
            groups: Vec::new(),
            ip_ranges: Vec::new(),
            ipv6_ranges: Vec::new(),
            prefix_list_ids: Vec::new(),
        }
    }

    fn add(&mut self, rule: &SecurityGroupRule) {
        let description = rule.description.clone();
        match &rule.peer {
            RulePeer::CidrV4(cidr) => {
                self.ip_ranges.push(IpRange { description, cidr_ip: cidr.to_string() });
            }
            RulePeer::CidrV6(cidr) => {
                self.ipv6_ranges.push(Ipv6Range { description, cidr_ipv6: cidr.clone() });
            }
            RulePeer::Group { group_id, owner_id } => self.groups.push(UserIdGroupPair {
                description,
                user_id: Some(owner_id.to_string()),
                group_id: Some(group_id.to_string()),
                ..UserIdGroupPair::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::SeededIdGen;
    use model::ids::SecurityGroupRuleId;

    use super::*;

    #[test]
    fn rules_of_equal_ports_are_one_bundle() {
        let rule = |protocol: &str, port, cidr: &str| SecurityGroupRule {
            rule_id: SecurityGroupRuleId::generate(&SeededIdGen::new(1)),
            protocol: protocol.into(),
            from_port: Some(port),
            to_port: Some(port),
            peer: RulePeer::CidrV4(cidr.parse().unwrap()),
            description: None,
        };
        let rules =
            [rule("tcp", 22, "10.0.0.0/8"), rule("udp", 22, "10.0.0.0/8"), rule("tcp", 22, "0.0.0.0/0")];
        let bundles = IpPermission::bundle(&rules);
        let ranges: Vec<Vec<&str>> =
            bundles.iter().map(|b| b.ip_ranges.iter().map(|r| r.cidr_ip.as_str()).collect()).collect();
        assert_eq!(ranges, [vec!["10.0.0.0/8", "0.0.0.0/0"], vec!["10.0.0.0/8"]]);
    }
}
