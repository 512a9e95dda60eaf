//! Security group rules as the port needs them: protocol, ports, address ranges.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// An IPv4 address range, `10.0.0.0/16`. Host bits below the prefix are kept but do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: Ipv4Addr,
    prefix_len: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("not an IPv4 range: {0:?}")]
pub struct NotACidr(String);

impl Cidr {
    pub const ANY: Self = Self { address: Ipv4Addr::UNSPECIFIED, prefix_len: 0 };
    pub(crate) const LOOPBACK: Self = Self { address: Ipv4Addr::new(127, 0, 0, 0), prefix_len: 8 };

    /// None when the prefix is longer than an address.
    pub const fn new(address: Ipv4Addr, prefix_len: u8) -> Option<Self> {
        if prefix_len > 32 { None } else { Some(Self { address, prefix_len }) }
    }

    pub const fn mask(self) -> Ipv4Addr {
        let host_bits = 32 - self.prefix_len as u32;
        Ipv4Addr::from_bits(match u32::MAX.checked_shl(host_bits) {
            Some(mask) => mask,
            None => 0,
        })
    }

    pub const fn contains(self, address: Ipv4Addr) -> bool {
        let mask = self.mask().to_bits();
        self.address.to_bits() & mask == address.to_bits() & mask
    }

    /// Whether some address lies in both.
    pub const fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

impl FromStr for Cidr {
    type Err = NotACidr;

    /// `a.b.c.d/n`, or a bare address as its own /32.
    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let (address, prefix_len) = text.split_once('/').unwrap_or((text, "32"));
        let parsed = address.parse().ok().zip(prefix_len.parse().ok());
        parsed
            .and_then(|(address, prefix_len)| Self::new(address, prefix_len))
            .ok_or_else(|| NotACidr(text.to_owned()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    All,
    Tcp,
    Udp,
    Icmp,
}

/// One allowance: traffic of `protocol` on `ports` (destination ports; ignored for ICMP and All)
/// with a peer inside one of `cidrs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub protocol: Protocol,
    pub ports: RangeInclusive<u16>,
    pub cidrs: Vec<Cidr>,
}

impl Rule {
    /// The port range of the rule when it speaks of `protocol`; every port for [`Protocol::All`].
    pub(crate) fn ports_of(&self, protocol: Protocol) -> Option<RangeInclusive<u16>> {
        match self.protocol {
            Protocol::All => Some(0..=u16::MAX),
            own if own == protocol && protocol == Protocol::Icmp => Some(0..=u16::MAX),
            own if own == protocol => Some(self.ports.clone()),
            Protocol::Tcp | Protocol::Udp | Protocol::Icmp => None,
        }
    }

    fn admits(&self, protocol: Protocol, port: u16, peer: Ipv4Addr) -> bool {
        self.ports_of(protocol).is_some_and(|ports| ports.contains(&port))
            && self.cidrs.iter().any(|cidr| cidr.contains(peer))
    }
}

/// Whether any rule allows it. Rules only allow; an empty list allows nothing.
pub(crate) fn admits(rules: &[Rule], protocol: Protocol, port: u16, peer: Ipv4Addr) -> bool {
    rules.iter().any(|rule| rule.admits(protocol, port, peer))
}

/// How many ports are opened one by one before only [`WELL_KNOWN_PORTS`] of wide ranges are.
const PORTS_OPEN_MAX: usize = 256;

/// The ports that a wide range (say, all of them) opens on the host: what servers and their
/// installers listen on. A rule naming a port itself always opens it.
const WELL_KNOWN_PORTS: &[RangeInclusive<u16>] = &[
    22..=22,       // SSH
    80..=80,       // HTTP
    443..=443,     // HTTPS
    1433..=1433,   // SQL Server
    2222..=2222,   // SSH, moved
    2375..=2379,   // Docker, etcd
    3000..=3005,   // development servers
    3306..=3306,   // MySQL
    3389..=3389,   // RDP
    4000..=4000,   // development servers
    5000..=5001,   // registries
    5432..=5432,   // PostgreSQL
    5601..=5601,   // Kibana
    5672..=5672,   // AMQP
    5900..=5901,   // VNC
    5985..=5986,   // WinRM
    6379..=6379,   // Redis
    6443..=6443,   // Kubernetes
    8000..=8100,   // HTTP, moved
    8443..=8443,   // HTTPS, moved
    8888..=8888,   // notebooks
    9000..=9000,   // object stores
    9090..=9093,   // Prometheus, Kafka
    9100..=9100,   // node exporter
    9200..=9200,   // search engines
    10250..=10250, // kubelet
    11211..=11211, // memcached
    27017..=27017, // MongoDB
];

/// The TCP ports to open for `rules` on an address that only peers inside `reachable_from` can reach,
/// in ascending order.
pub(crate) fn ports_to_open(rules: &[Rule], reachable_from: Cidr) -> Vec<u16> {
    let mut ranges: Vec<_> = rules
        .iter()
        .filter(|rule| rule.cidrs.iter().any(|cidr| cidr.overlaps(reachable_from)))
        .filter_map(|rule| rule.ports_of(Protocol::Tcp))
        .collect();
    ranges.sort_by_key(ExactSizeIterator::len);
    let mut ports = std::collections::BTreeSet::new();
    for range in ranges {
        if ports.len() + range.len() <= PORTS_OPEN_MAX {
            ports.extend(range);
        } else {
            ports.extend(WELL_KNOWN_PORTS.iter().cloned().flatten().filter(|port| range.contains(port)));
        }
    }
    ports.remove(&0);
    ports.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(ports: RangeInclusive<u16>, cidr: &str) -> Rule {
        Rule { protocol: Protocol::Tcp, ports, cidrs: vec![cidr.parse().unwrap()] }
    }

    #[test]
    fn ranges_parse_print_and_contain() {
        let net: Cidr = "10.1.0.0/16".parse().unwrap();
        assert_eq!(net.to_string(), "10.1.0.0/16");
        assert_eq!(net.mask(), Ipv4Addr::new(255, 255, 0, 0));
        assert!(net.contains(Ipv4Addr::new(10, 1, 255, 255)) && !net.contains(Ipv4Addr::new(10, 2, 0, 0)));
        assert!(Cidr::ANY.contains(Ipv4Addr::BROADCAST));
        assert_eq!("10.0.0.9".parse::<Cidr>().unwrap().mask(), Ipv4Addr::BROADCAST);
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/0", "10.0.0.0/"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rules_allow_by_protocol_port_and_peer() {
        let rules = [tcp(20..=22, "127.0.0.0/8")];
        let local = Ipv4Addr::LOCALHOST;
        assert!(admits(&rules, Protocol::Tcp, 22, local));
        assert!(!admits(&rules, Protocol::Tcp, 23, local));
        assert!(!admits(&rules, Protocol::Udp, 22, local));
        assert!(!admits(&rules, Protocol::Tcp, 22, Ipv4Addr::new(10, 0, 0, 1)));
        assert!(!admits(&[], Protocol::Tcp, 22, local));
        let all = [Rule { protocol: Protocol::All, ports: 0..=0, cidrs: vec![Cidr::ANY] }];
        assert!(admits(&all, Protocol::Icmp, 0, local) && admits(&all, Protocol::Tcp, 22, local));
    }

    #[test]
    fn narrow_ranges_open_whole_and_wide_ones_by_the_list() {
        let rules = [tcp(0..=65535, "0.0.0.0/0"), tcp(7000..=7010, "127.0.0.1/32")];
        let ports = ports_to_open(&rules, Cidr::LOOPBACK);
        assert!(ports.contains(&7005) && ports.contains(&22) && ports.contains(&8050));
        assert!(!ports.contains(&7011) && !ports.contains(&0));
        assert_eq!(ports_to_open(&[tcp(100..=355, "0.0.0.0/0")], Cidr::LOOPBACK).len(), 256);
        assert!(ports_to_open(&[tcp(22..=22, "203.0.113.7/32")], Cidr::LOOPBACK).is_empty());
    }
}
