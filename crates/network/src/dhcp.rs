//! DHCP for the one address of the one client.

use std::net::Ipv4Addr;

use smoltcp::wire::{
    DHCP_MAX_DNS_SERVER_COUNT, DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress,
    IpProtocol, Ipv4Packet, UdpPacket,
};

use crate::config::Config;
use crate::switch::Unwanted;

pub(crate) const SERVER_PORT: u16 = 67;
pub(crate) const CLIENT_PORT: u16 = 68;
/// The address never changes, but some clients do not believe in leases without an end.
const LEASE_SECONDS: u32 = 365 * 24 * 3600;
/// The least that a client must accept is also the least that some accept (RFC 951).
const REPLY_BYTES_MIN: usize = 300;
const OPTION_HOST_NAME: u8 = 12;
const OPTION_DOMAIN_NAME: u8 = 15;
const OPTION_INTERFACE_MTU: u8 = 26;
const OPTION_BYTES_MAX: usize = 255;

/// A reply and whom to send it to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) hardware: EthernetAddress,
    pub(crate) to: Ipv4Addr,
    pub(crate) bytes: Vec<u8>,
}

/// Whether a packet is for a DHCP server, from a client that may not have its address yet.
pub(crate) fn is_request(packet: &Ipv4Packet<&[u8]>) -> bool {
    packet.next_header() == IpProtocol::Udp
        && packet.frag_offset() == 0
        && !packet.more_frags()
        && UdpPacket::new_checked(packet.payload())
            .is_ok_and(|udp| udp.dst_port() == SERVER_PORT && udp.src_port() == CLIENT_PORT)
}

/// The answer to one message, if it needs one.
pub(crate) fn answer(config: &Config, bytes: &[u8]) -> Result<Option<Reply>, Unwanted> {
    let packet = DhcpPacket::new_checked(bytes)?;
    let request = DhcpRepr::parse(&packet)?;
    if request.client_hardware_address != EthernetAddress(config.mac) {
        return Err(Unwanted::Spoofed);
    }
    if request.server_identifier.is_some_and(|server| server != config.gateway) {
        return Ok(None);
    }
    let wants_another = request.requested_ip.is_some_and(|ip| ip != config.private_ip)
        || !(request.client_ip.is_unspecified() || request.client_ip == config.private_ip);
    let message_type = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request if wants_another => DhcpMessageType::Nak,
        DhcpMessageType::Request | DhcpMessageType::Inform => DhcpMessageType::Ack,
        DhcpMessageType::Offer
        | DhcpMessageType::Decline
        | DhcpMessageType::Ack
        | DhcpMessageType::Nak
        | DhcpMessageType::Release
        | DhcpMessageType::Unknown(_) => return Ok(None),
    };
    reply(config, &request, message_type).map(Some)
}

fn reply(config: &Config, request: &DhcpRepr<'_>, message_type: DhcpMessageType) -> Result<Reply, Unwanted> {
    let granted = message_type != DhcpMessageType::Nak;
    let mtu = config.mtu().to_be_bytes();
    let options = [
        DhcpOption { kind: OPTION_INTERFACE_MTU, data: &mtu },
        DhcpOption { kind: OPTION_HOST_NAME, data: option_text(&config.hostname) },
        DhcpOption { kind: OPTION_DOMAIN_NAME, data: option_text(&config.domain_name) },
    ];
    let dns = config.dns.iter().copied().take(DHCP_MAX_DNS_SERVER_COUNT).collect();
    let repr = DhcpRepr {
        message_type,
        transaction_id: request.transaction_id,
        secs: 0,
        client_hardware_address: request.client_hardware_address,
        client_ip: if granted { request.client_ip } else { Ipv4Addr::UNSPECIFIED },
        your_ip: if granted { config.private_ip } else { Ipv4Addr::UNSPECIFIED },
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: granted.then_some(config.gateway),
        subnet_mask: granted.then(|| config.subnet().mask()),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: request.broadcast,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(config.gateway),
        parameter_request_list: None,
        dns_servers: granted.then_some(dns),
        max_size: None,
        lease_duration: granted.then_some(LEASE_SECONDS),
        renew_duration: None,
        rebind_duration: None,
        additional_options: if granted { &options } else { &[] },
    };
    let mut bytes = vec![0; repr.buffer_len().max(REPLY_BYTES_MIN)];
    repr.emit(&mut DhcpPacket::new_unchecked(bytes.as_mut_slice()))?;
    let everyone = request.broadcast || !granted;
    Ok(Reply {
        hardware: if everyone { EthernetAddress::BROADCAST } else { request.client_hardware_address },
        to: if everyone { Ipv4Addr::BROADCAST } else { config.private_ip },
        bytes,
    })
}

fn option_text(text: &str) -> &[u8] {
    text.as_bytes().get(..OPTION_BYTES_MAX).unwrap_or(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::config;

    fn message(message_type: DhcpMessageType, requested_ip: Option<Ipv4Addr>) -> Vec<u8> {
        let repr = DhcpRepr {
            message_type,
            transaction_id: 7,
            secs: 0,
            client_hardware_address: EthernetAddress(config().mac),
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip,
            client_identifier: None,
            server_identifier: None,
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        };
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(&mut DhcpPacket::new_unchecked(bytes.as_mut_slice())).unwrap();
        bytes
    }

    fn option(reply: &Reply, kind: u8) -> Option<Vec<u8>> {
        let packet = DhcpPacket::new_checked(reply.bytes.as_slice()).unwrap();
        packet.options().find(|option| option.kind == kind).map(|option| option.data.to_vec())
    }

    #[test]
    fn an_offer_carries_everything_a_guest_needs() {
        let config = config();
        let reply = answer(&config, &message(DhcpMessageType::Discover, None)).unwrap().unwrap();
        assert_eq!((reply.to, reply.hardware.0), (config.private_ip, config.mac));
        let packet = DhcpPacket::new_checked(reply.bytes.as_slice()).unwrap();
        assert_eq!((packet.your_ip(), packet.transaction_id()), (config.private_ip, 7));
        assert_eq!(option(&reply, 53), Some(vec![2]));
        assert_eq!(option(&reply, 1), Some(vec![255, 255, 255, 0]));
        assert_eq!(option(&reply, 3), Some(vec![10, 0, 0, 1]));
        assert_eq!(option(&reply, 6), Some(vec![10, 0, 0, 2]));
        assert_eq!(option(&reply, 12), Some(b"ip-10-0-0-5".to_vec()));
        assert_eq!(option(&reply, 15), Some(b"us-east-1.compute.internal".to_vec()));
        assert_eq!(option(&reply, 26), Some(9001u16.to_be_bytes().to_vec()));
    }

    #[test]
    fn another_address_is_refused_and_other_clients_are_ignored() {
        let mut config = config();
        let other = Some(Ipv4Addr::new(10, 0, 0, 99));
        let refused = answer(&config, &message(DhcpMessageType::Request, other)).unwrap().unwrap();
        assert_eq!((option(&refused, 53), refused.to), (Some(vec![6]), Ipv4Addr::BROADCAST));
        assert_eq!(answer(&config, &message(DhcpMessageType::Release, None)), Ok(None));
        config.mac = [2, 0, 0, 0, 0, 9];
        assert_eq!(answer(&config, &message(DhcpMessageType::Discover, None)), Err(Unwanted::Spoofed));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            noise in prop::collection::vec(any::<u8>(), 0..600),
            changes in prop::collection::vec((0usize..260, any::<u8>()), 0..6),
        ) {
            drop(answer(&config(), &noise));
            let mut bytes = message(DhcpMessageType::Request, None);
            for (at, value) in changes {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            drop(answer(&config(), &bytes));
        }
    }
}
