//! The network port of one machine, entirely in user space and without privileges.
//!
//! The machine's network card is one end of a stream of Ethernet frames; this crate is the other
//! end and plays everything behind the card: the router, DHCP, DNS, the metadata and time services,
//! address translation to the host's sockets, and forwards from the host into the guest.
//!
//! Refuses to know: what a metadata request means (the caller gets a byte stream), what an instance
//! or a security group is (the caller gives rules), and the source address of a packet as proof of
//! anything: the port itself is the identity of the machine behind it.

mod config;
mod counters;
mod datagram;
mod dhcp;
mod dns;
mod flows;
mod forward;
mod frame;
mod link;
mod metadata;
mod outbound;
mod port;
mod rules;
mod stack;
mod switch;
mod tcp;
#[cfg(test)]
mod tests;
mod time_sync;

pub use config::{Config, HostService};
pub use counters::Counters;
pub use forward::Forward;
pub use link::Frames;
pub use metadata::{HopLimit, MetadataStream};
pub use port::Port;
pub use rules::{Cidr, Protocol, Rule};
