//! The machine that every test speaks of, a guest that stands in for one, and the port between them.

mod guest;
mod inbound;
mod link;
mod local;
mod outbound;

use crate::Config;

/// The machine that the tests speak of.
pub(crate) fn config() -> Config {
    Config {
        mac: [0x02, 0, 0, 0, 0, 5],
        private_ip: [10, 0, 0, 5].into(),
        subnet_prefix_len: 24,
        gateway: [10, 0, 0, 1].into(),
        dns: vec![[10, 0, 0, 2].into()],
        resolvers: vec![],
        hostname: "ip-10-0-0-5".to_owned(),
        domain_name: "us-east-1.compute.internal".to_owned(),
        mtu: 9001,
        public_ip: None,
        ingress: vec![],
        egress: None,
        host_services: vec![],
    }
}

/// A DNS query with one question.
pub(crate) fn dns_query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}
