//! Whether instances can be reached at ports below 1024 of their loopback addresses, such as 22.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// An address that no instance has.
const PROBE: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 253);

/// What to tell at the start; None where everything is as it should be.
pub(crate) fn advice() -> Option<String> {
    let refused = TcpListener::bind((PROBE, 22)).is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
    refused.then(|| {
        "ports below 1024 cannot be bound on this host, so port 22 of an instance is reached at 10022 or another \
         (katagami forwards INSTANCE_ID tells which); to allow them: \
         sudo sysctl net.ipv4.ip_unprivileged_port_start=22"
            .to_owned()
    })
}
