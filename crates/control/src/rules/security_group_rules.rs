//! Rules of security groups: from what requests say to rules that can be compared.

use std::fmt;
use std::net::Ipv6Addr;

use model::limits::SECURITY_GROUP_NAME_CHARS_MAX;
use model::{CidrV4, RulePeer, SecurityGroup, SecurityGroupRule, SecurityGroupRuleId};
use wire::shapes::{IngressPermissions, IpPermission, IpRange, UserIdGroupPair};

use crate::failure::Failure;

const ALL_PROTOCOLS: &str = "-1";
const PORT_MAX: i32 = 65535;
const ICMP_MAX: i32 = 255;

/// A rule that is not (yet) one of a group: everything but its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleSpec {
    protocol: String,
    from_port: Option<i32>,
    to_port: Option<i32>,
    peer: RulePeer,
    description: Option<String>,
}

impl RuleSpec {
    /// Equal but for the description, which does not tell rules apart.
    pub(crate) fn is(&self, rule: &SecurityGroupRule) -> bool {
        (&self.protocol, self.from_port, self.to_port, &self.peer)
            == (&rule.protocol, rule.from_port, rule.to_port, &rule.peer)
    }

    pub(crate) fn with_id(self, rule_id: SecurityGroupRuleId) -> SecurityGroupRule {
        SecurityGroupRule {
            rule_id,
            protocol: self.protocol,
            from_port: self.from_port,
            to_port: self.to_port,
            peer: self.peer,
            description: self.description,
        }
    }

    fn same_but_description(&self, other: &Self) -> bool {
        let undescribed = |spec: &Self| Self { description: None, ..spec.clone() };
        undescribed(self) == undescribed(other)
    }
}

/// `peer: 0.0.0.0/0, TCP, from port: 22, to port: 22, ALLOW`
impl fmt::Display for RuleSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.peer {
            RulePeer::CidrV4(cidr) => write!(f, "peer: {cidr}")?,
            RulePeer::CidrV6(cidr) => write!(f, "peer: {cidr}")?,
            RulePeer::Group { group_id, .. } => write!(f, "peer: {group_id}")?,
        }
        match self.protocol.as_str() {
            ALL_PROTOCOLS => f.write_str(", ALL")?,
            protocol => write!(f, ", {}", protocol.to_uppercase())?,
        }
        if let (Some(from), Some(to)) = (self.from_port, self.to_port) {
            write!(f, ", from port: {from}, to port: {to}")?;
        }
        f.write_str(", ALLOW")
    }
}

/// The permissions of a request, whichever way it says them; none where it says none.
pub(crate) fn asked(request: &IngressPermissions) -> Result<Vec<IpPermission>, Failure> {
    let flat = flat(request)?;
    match (request.ip_permissions.is_empty(), flat.is_empty()) {
        (false, false) => Err(Failure::combination(
            "IpPermissions cannot be used together with parameters that describe a single permission",
        )),
        (false, true) => Ok(request.ip_permissions.clone()),
        (true, _) => Ok(flat),
    }
}

fn flat(request: &IngressPermissions) -> Result<Vec<IpPermission>, Failure> {
    let has_ports = request.from_port.is_some() || request.to_port.is_some();
    let describes_range = request.cidr_ip.is_some() || request.ip_protocol.is_some() || has_ports;
    match (&request.source_security_group_name, describes_range) {
        (Some(_), true) => Err(Failure::combination(
            "SourceSecurityGroupName cannot be used together with CidrIp, IpProtocol, FromPort and ToPort",
        )),
        (Some(name), false) => {
            let owner = request.source_security_group_owner_id.as_ref();
            Ok(FROM_GROUP.map(|(protocol, from, to)| from_group(protocol, from, to, name, owner)).to_vec())
        }
        (None, _) if request.source_security_group_owner_id.is_some() => {
            Err(Failure::missing("SourceSecurityGroupName"))
        }
        (None, true) => Ok(vec![from_range(request)?]),
        (None, false) => Ok(Vec::new()),
    }
}

/// What a source group alone stands for: everything over TCP, UDP and ICMP.
const FROM_GROUP: [(&str, i32, i32); 3] = [("tcp", 0, PORT_MAX), ("udp", 0, PORT_MAX), ("icmp", -1, -1)];

fn from_group(protocol: &str, from: i32, to: i32, name: &str, owner: Option<&String>) -> IpPermission {
    let pair = UserIdGroupPair {
        group_name: Some(name.to_owned()),
        user_id: owner.cloned(),
        ..UserIdGroupPair::default()
    };
    IpPermission { groups: vec![pair], ..bare(protocol, Some(from), Some(to)) }
}

fn from_range(request: &IngressPermissions) -> Result<IpPermission, Failure> {
    let protocol = request.ip_protocol.as_ref().ok_or_else(|| Failure::missing("IpProtocol"))?;
    let cidr_ip = request.cidr_ip.clone().ok_or_else(|| Failure::missing("CidrIp"))?;
    let range = IpRange { description: None, cidr_ip };
    Ok(IpPermission { ip_ranges: vec![range], ..bare(protocol, request.from_port, request.to_port) })
}

fn bare(protocol: &str, from_port: Option<i32>, to_port: Option<i32>) -> IpPermission {
    IpPermission {
        ip_protocol: protocol.to_owned(),
        from_port,
        to_port,
        groups: Vec::new(),
        ip_ranges: Vec::new(),
        ipv6_ranges: Vec::new(),
        prefix_list_ids: Vec::new(),
    }
}

/// Every rule that the permissions stand for. `groups` are the caller's; names mean those of `of`'s VPC.
pub(crate) fn resolve(
    permissions: &[IpPermission],
    of: &SecurityGroup,
    groups: &[SecurityGroup],
) -> Result<Vec<RuleSpec>, Failure> {
    let mut specs: Vec<RuleSpec> = Vec::new();
    for permission in permissions {
        for spec in resolve_one(permission, of, groups)? {
            if specs.iter().any(|other| other.same_but_description(&spec)) {
                return Err(Failure::value("The same permission must not appear multiple times"));
            }
            specs.push(spec);
        }
    }
    Ok(specs)
}

fn resolve_one(
    permission: &IpPermission,
    of: &SecurityGroup,
    groups: &[SecurityGroup],
) -> Result<Vec<RuleSpec>, Failure> {
    let protocol = protocol(&permission.ip_protocol)?;
    let (from_port, to_port) = ports(&protocol, permission.from_port, permission.to_port)?;
    let mut peers: Vec<(RulePeer, Option<String>)> = Vec::new();
    for range in &permission.ip_ranges {
        peers.push((RulePeer::CidrV4(cidr_v4(&range.cidr_ip)?), described(range.description.as_ref())?));
    }
    for range in &permission.ipv6_ranges {
        peers.push((RulePeer::CidrV6(cidr_v6(&range.cidr_ipv6)?), described(range.description.as_ref())?));
    }
    for pair in &permission.groups {
        peers.push((group_peer(pair, of, groups)?, described(pair.description.as_ref())?));
    }
    if peers.is_empty() {
        return Err(Failure::permission_malformed("The permission names no address range and no group."));
    }
    let spec =
        |(peer, description)| RuleSpec { protocol: protocol.clone(), from_port, to_port, peer, description };
    Ok(peers.into_iter().map(spec).collect())
}

/// The name where there is one, the number otherwise.
fn protocol(text: &str) -> Result<String, Failure> {
    let lower = text.to_ascii_lowercase();
    let known = match lower.as_str() {
        "tcp" | "6" => "tcp",
        "udp" | "17" => "udp",
        "icmp" | "1" => "icmp",
        "icmpv6" | "58" => "icmpv6",
        ALL_PROTOCOLS | "all" => ALL_PROTOCOLS,
        number if number.bytes().all(|b| b.is_ascii_digit()) && number.parse::<u8>().is_ok() => number,
        _ => {
            let shown: String = text.chars().take(100).collect();
            return Err(Failure::value(format!(
                "Invalid value '{shown}' for IP protocol. Unknown protocol."
            )));
        }
    };
    Ok(known.to_owned())
}

/// Ports for TCP and UDP, type and code for ICMP. Other protocols have neither: what is given for them is
/// ignored, as EC2 does.
fn ports(protocol: &str, from: Option<i32>, to: Option<i32>) -> Result<(Option<i32>, Option<i32>), Failure> {
    match protocol {
        "tcp" | "udp" => {
            let (Some(from), Some(to)) = (from, to) else {
                return Err(Failure::value("Must specify both from and to ports with TCP/UDP."));
            };
            let (from, to) = if (from, to) == (-1, -1) { (0, PORT_MAX) } else { (from, to) };
            if (0..=PORT_MAX).contains(&from) && (from..=PORT_MAX).contains(&to) {
                return Ok((Some(from), Some(to)));
            }
            Err(Failure::value(format!(
                "Invalid port range: from {from} to {to}. Ports go from 0 to {PORT_MAX}."
            )))
        }
        "icmp" | "icmpv6" => {
            let (kind, code) = (from.unwrap_or(-1), to.unwrap_or(-1));
            let range = -1..=ICMP_MAX;
            if range.contains(&kind) && range.contains(&code) && (kind != -1 || code == -1) {
                return Ok((Some(kind), Some(code)));
            }
            Err(Failure::value(format!("Invalid ICMP type {kind} with code {code}.")))
        }
        _ => Ok((None, None)),
    }
}

/// The range with the bits outside of its prefix cleared.
fn cidr_v4(text: &str) -> Result<CidrV4, Failure> {
    let cidr: CidrV4 = text.parse().map_err(|_| malformed_cidr(text))?;
    let first = cidr.nth(0).ok_or_else(|| malformed_cidr(text))?;
    Ok(CidrV4::new(first, cidr.prefix_len))
}

fn cidr_v6(text: &str) -> Result<String, Failure> {
    let malformed = || malformed_cidr(text);
    let (address, prefix) = text.split_once('/').ok_or_else(malformed)?;
    let address: Ipv6Addr = address.parse().map_err(|_| malformed())?;
    let is_plain = prefix.len() <= 3 && prefix.bytes().all(|b| b.is_ascii_digit());
    let prefix: u32 = prefix.parse().map_err(|_| malformed())?;
    if !is_plain || prefix > 128 {
        return Err(malformed());
    }
    let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or_default();
    Ok(format!("{}/{prefix}", Ipv6Addr::from(u128::from(address) & mask)))
}

fn malformed_cidr(text: &str) -> Failure {
    let shown: String = text.chars().take(100).collect();
    Failure::value(format!("CIDR block {shown} is malformed"))
}

fn group_peer(
    pair: &UserIdGroupPair,
    of: &SecurityGroup,
    groups: &[SecurityGroup],
) -> Result<RulePeer, Failure> {
    let is_named = |group: &SecurityGroup| match (&pair.group_id, &pair.group_name) {
        (Some(id), _) => group.group_id.as_str() == id,
        (None, Some(name)) => group.group_name == *name,
        (None, None) => false,
    };
    let fits = |group: &&SecurityGroup| {
        is_named(group)
            && group.vpc_id == of.vpc_id
            && pair.user_id.as_ref().is_none_or(|owner| group.owner_id.as_str() == owner)
            && pair.vpc_id.as_ref().is_none_or(|vpc| group.vpc_id.as_str() == vpc)
    };
    let named = pair.group_id.as_ref().or(pair.group_name.as_ref());
    let named = named.ok_or_else(|| Failure::permission_malformed("The permission names no group."))?;
    let found = groups.iter().find(fits).ok_or_else(|| Failure::group_not_found(named))?;
    Ok(RulePeer::Group { group_id: found.group_id.clone(), owner_id: found.owner_id.clone() })
}

fn described(text: Option<&String>) -> Result<Option<String>, Failure> {
    if let Some(text) = text {
        check_group_text("a rule's description", text)?;
    }
    Ok(text.cloned())
}

/// The alphabet that the EC2 API documents for names and descriptions of groups and of rules.
pub(crate) fn check_group_text(what: &str, text: &str) -> Result<(), Failure> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    if (1..=SECURITY_GROUP_NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(is_allowed) {
        Ok(())
    } else {
        Err(Failure::group_text(what, SECURITY_GROUP_NAME_CHARS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_have_one_spelling() {
        for (text, name) in
            [("TCP", "tcp"), ("17", "udp"), ("icmp", "icmp"), ("58", "icmpv6"), ("all", "-1"), ("47", "47")]
        {
            assert_eq!(protocol(text).unwrap(), name);
        }
        for bad in ["", "256", "+6", "tcpp", "-2"] {
            assert!(protocol(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_are_ranges_and_icmp_has_types() {
        assert_eq!(ports("tcp", Some(22), Some(80)).unwrap(), (Some(22), Some(80)));
        assert_eq!(ports("udp", Some(-1), Some(-1)).unwrap(), (Some(0), Some(65535)));
        assert_eq!(ports("icmp", None, None).unwrap(), (Some(-1), Some(-1)));
        assert_eq!(ports("icmp", Some(8), Some(0)).unwrap(), (Some(8), Some(0)));
        assert_eq!(ports("-1", Some(22), Some(22)).unwrap(), (None, None));
        for (protocol, from, to) in [
            ("tcp", None, Some(1)),
            ("tcp", Some(2), Some(1)),
            ("udp", Some(0), Some(65536)),
            ("tcp", Some(-1), Some(5)),
            ("icmp", Some(-1), Some(3)),
            ("icmp", Some(256), Some(0)),
        ] {
            assert!(ports(protocol, from, to).is_err(), "{protocol} {from:?} {to:?}");
        }
    }

    #[test]
    fn ranges_are_kept_in_their_canonical_form() {
        assert_eq!(cidr_v4("100.68.0.18/18").unwrap().to_string(), "100.68.0.0/18");
        assert_eq!(cidr_v6("2001:DB8:0:0::1/64").unwrap(), "2001:db8::/64");
        assert_eq!(cidr_v6("::1/0").unwrap(), "::/0");
        assert_eq!(cidr_v6("::1/128").unwrap(), "::1/128");
        for bad in ["1.2.3.4", "1.2.3.4/33", "::/129", "::/+1", "::", "x/1", "10.0.0.0/8/8"] {
            assert!(cidr_v4(bad).is_err() && cidr_v6(bad).is_err(), "{bad}");
        }
    }
}
