//! What a port is told about its machine, and where the machine's packets may go.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::rules::{self, Cidr, Protocol, Rule};

pub(crate) const METADATA_IP: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
pub(crate) const DNS_LINK_LOCAL_IP: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
/// The time service.
pub(crate) const TIME_IP: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 123);
const METADATA_PORT: u16 = 80;
const DNS_PORT: u16 = 53;

/// A service of the host that the guest sees at an address of its own network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostService {
    /// Where the guest connects to: usually the gateway's address and some port.
    pub guest: SocketAddrV4,
    /// Where that leads to; the only way for a guest to reach a loopback address of the host.
    pub host: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct Config {
    /// The only source address that frames of the guest may have.
    pub mac: [u8; 6],
    pub private_ip: Ipv4Addr,
    /// Length of the subnet's prefix; above 32 counts as 32.
    pub subnet_prefix_len: u8,
    pub gateway: Ipv4Addr,
    /// The DNS addresses that the guest is told (the first three); all of them are answered here.
    pub dns: Vec<Ipv4Addr>,
    /// The host's resolvers, to which names that are not the instance's own are forwarded.
    pub resolvers: Vec<SocketAddr>,
    /// First label of the instance's name, `ip-10-0-0-5`.
    pub hostname: String,
    /// `us-east-1.compute.internal`
    pub domain_name: String,
    /// Largest IP packet in bytes, 576 to 9216; EC2's own networks have 9001.
    pub mtu: u16,
    /// The loopback address of the host at which the guest's ports appear.
    pub public_ip: Option<Ipv4Addr>,
    pub ingress: Vec<Rule>,
    /// None allows everything.
    pub egress: Option<Vec<Rule>>,
    pub host_services: Vec<HostService>,
}

/// Where a packet of the guest leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    Metadata,
    Dns,
    Host(SocketAddr),
    /// Not reachable from here at all; the guest is told so.
    Forbidden,
    /// No egress rule allows it; dropped in silence, as security groups do.
    Blocked,
}

impl Config {
    pub(crate) fn subnet(&self) -> Cidr {
        Cidr::new(self.private_ip, self.subnet_prefix_len.min(32)).unwrap_or(Cidr::ANY)
    }

    pub(crate) fn mtu(&self) -> u16 {
        self.mtu.clamp(576, 9216)
    }

    pub(crate) fn is_dns(&self, address: Ipv4Addr) -> bool {
        address == DNS_LINK_LOCAL_IP || self.dns.contains(&address)
    }

    /// Whether the port itself answers for this address: ARP, echo.
    pub(crate) fn is_own(&self, address: Ipv4Addr) -> bool {
        [self.gateway, METADATA_IP, TIME_IP].contains(&address) || self.is_dns(address)
    }

    /// The one decision about every outbound connection, datagram and echo (`port` 0).
    ///
    /// Invariant: a loopback address of the host comes out only where a host service names it.
    pub(crate) fn destination(
        &self,
        egress: Option<&[Rule]>,
        protocol: Protocol,
        to: SocketAddrV4,
    ) -> Destination {
        let (ip, port) = (*to.ip(), to.port());
        if ip == METADATA_IP && port == METADATA_PORT && protocol == Protocol::Tcp {
            return Destination::Metadata;
        }
        if self.is_dns(ip) && port == DNS_PORT {
            return Destination::Dns;
        }
        if let Some(service) = self.host_services.iter().find(|service| service.guest == to) {
            return Destination::Host(service.host);
        }
        if self.is_own(ip) || self.subnet().contains(ip) || !is_routable(ip) {
            return Destination::Forbidden;
        }
        if egress.is_some_and(|rules| !rules::admits(rules, protocol, port, ip)) {
            return Destination::Blocked;
        }
        Destination::Host(to.into())
    }
}

/// Whether the host may be asked to send to this address on behalf of a guest.
fn is_routable(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    // 0/8 means "this host" to the kernel, 127/8 is the host itself, 224/4 and 240/4 are groups,
    // reserved addresses and the broadcast address.
    first != 0 && first != 127 && first < 224 && !ip.is_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        crate::tests::config()
    }

    fn to(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    #[test]
    fn services_are_found_and_the_host_itself_is_not() {
        let mut config = config();
        let host = "127.0.0.1:4566".parse().unwrap();
        config.host_services = vec![HostService { guest: to("10.0.0.1:4566"), host }];
        let decide = |text| config.destination(None, Protocol::Tcp, to(text));
        assert_eq!(decide("169.254.169.254:80"), Destination::Metadata);
        assert_eq!(decide("10.0.0.2:53"), Destination::Dns);
        assert_eq!(decide("169.254.169.253:53"), Destination::Dns);
        assert_eq!(decide("10.0.0.1:4566"), Destination::Host(host));
        assert_eq!(decide("192.0.2.7:443"), Destination::Host("192.0.2.7:443".parse().unwrap()));
        for forbidden in [
            "127.0.0.1:22",
            "127.9.9.9:4566",
            "0.0.0.0:4566",
            "0.1.2.3:80",
            "169.254.169.254:81",
            "169.254.1.1:80",
            "224.0.0.1:80",
            "240.0.0.1:80",
            "255.255.255.255:67",
            "10.0.0.1:22",
            "10.0.0.77:80",
            "10.0.0.2:80",
        ] {
            assert_eq!(decide(forbidden), Destination::Forbidden, "{forbidden}");
        }
    }

    #[test]
    fn egress_rules_bound_the_outside_but_not_the_services() {
        let config = config();
        let https = [Rule {
            protocol: Protocol::Tcp,
            ports: 443..=443,
            cidrs: vec!["192.0.2.0/24".parse().unwrap()],
        }];
        let decide = |text| config.destination(Some(&https), Protocol::Tcp, to(text));
        assert_eq!(decide("192.0.2.7:80"), Destination::Blocked);
        assert!(matches!(decide("192.0.2.7:443"), Destination::Host(_)));
        assert_eq!(decide("169.254.169.254:80"), Destination::Metadata);
        assert_eq!(decide("10.0.0.2:53"), Destination::Dns);
    }
}
