//! The default network of an account in a region: one VPC, a subnet in each zone, security groups.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, SecurityGroupId, SecurityGroupRuleId, SubnetId, VpcId};
use crate::place::{AvailabilityZone, Region};

/// An IPv4 range in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CidrV4 {
    pub address: Ipv4Addr,
    pub prefix_len: u8,
}

impl CidrV4 {
    pub const fn new(address: Ipv4Addr, prefix_len: u8) -> Self {
        Self { address, prefix_len }
    }

    const fn mask(self) -> u32 {
        match self.prefix_len {
            0 => 0,
            n => u32::MAX << (32 - n),
        }
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == u32::from(self.address) & self.mask()
    }

    /// The address `offset` places after the first one of the range.
    pub fn nth(self, offset: u32) -> Option<Ipv4Addr> {
        let first = u32::from(self.address) & self.mask();
        let address = Ipv4Addr::from(first.checked_add(offset)?);
        self.contains(address).then_some(address)
    }

    /// How many addresses the range has.
    pub const fn size(self) -> u64 {
        1 << (32 - self.prefix_len)
    }
}

impl std::fmt::Display for CidrV4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

impl std::str::FromStr for CidrV4 {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("CIDR block {text} is malformed");
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let prefix_len = prefix.parse().map_err(|_| wrong())?;
        let plain = prefix.len() <= 2 && prefix.bytes().all(|b| b.is_ascii_digit());
        if prefix_len > 32 || !plain {
            return Err(wrong());
        }
        Ok(Self { address: address.parse().map_err(|_| wrong())?, prefix_len })
    }
}

impl From<CidrV4> for String {
    fn from(cidr: CidrV4) -> Self {
        cidr.to_string()
    }
}

impl TryFrom<String> for CidrV4 {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Source: the EC2 data type `Vpc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    pub vpc_id: VpcId,
    pub owner_id: AccountId,
    pub region: Region,
    pub cidr_block: CidrV4,
    pub is_default: bool,
}

/// Source: the EC2 data type `Subnet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    pub subnet_id: SubnetId,
    pub vpc_id: VpcId,
    pub owner_id: AccountId,
    pub availability_zone: AvailabilityZone,
    pub cidr_block: CidrV4,
    pub default_for_az: bool,
}

/// Addresses at the start of a subnet that are not for instances (network, router, DNS, reserved).
pub const SUBNET_RESERVED_FIRST: u32 = 4;

/// Whom a security group rule speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RulePeer {
    CidrV4(CidrV4),
    /// Kept and shown; matches nothing, because guests have no IPv6.
    CidrV6(String),
    Group {
        group_id: SecurityGroupId,
        owner_id: AccountId,
    },
}

/// One rule. `protocol` is `tcp`, `udp`, `icmp`, `-1` for all, or a protocol number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupRule {
    pub rule_id: SecurityGroupRuleId,
    pub protocol: String,
    pub from_port: Option<i32>,
    pub to_port: Option<i32>,
    pub peer: RulePeer,
    pub description: Option<String>,
}

/// Source: the EC2 data type `SecurityGroup`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub group_id: SecurityGroupId,
    pub group_name: String,
    pub description: String,
    pub owner_id: AccountId,
    pub region: Region,
    pub vpc_id: VpcId,
    pub ingress: Vec<SecurityGroupRule>,
    pub egress: Vec<SecurityGroupRule>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_contain_their_addresses_and_no_others() {
        let range: CidrV4 = "172.31.16.0/20".parse().unwrap();
        assert_eq!(range.size(), 4096);
        assert_eq!(range.nth(4), Some(Ipv4Addr::new(172, 31, 16, 4)));
        assert_eq!(range.nth(4096), None);
        assert!(range.contains(Ipv4Addr::new(172, 31, 31, 255)));
        assert!(!range.contains(Ipv4Addr::new(172, 31, 32, 0)));
        assert!("0.0.0.0/0".parse::<CidrV4>().unwrap().contains(Ipv4Addr::LOCALHOST));
        for bad in ["1.2.3.4", "1.2.3/8", "1.2.3.4/33", "1.2.3.4/+1", "x/8"] {
            assert!(bad.parse::<CidrV4>().is_err(), "{bad}");
        }
    }
}
