//! What one QEMU should look like, as plain data.

use std::path::PathBuf;

use crate::error::{Error, Kind, Result};

/// The chipset an instance type gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// PCI Express with hot-plug ports: types of the Nitro generations.
    Q35,
    /// Conventional PCI: the older types.
    I440fx,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    Bios,
    /// `code` is shared and read-only; `vars` belongs to this machine and is written by the guest.
    Uefi {
        code: PathBuf,
        vars: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskModel {
    Nvme,
    VirtioBlk,
}

/// How QEMU reaches a disk's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// QEMU is the guest's disk and an NBD client.
    Nbd,
    /// The server is the guest's disk and works in the guest's memory; only for virtio disks.
    VhostUser { queue_count: u16 },
}

/// A disk that a server on a unix socket provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Path of the server's socket, relative to the directory that QEMU runs in.
    pub socket: String,
    pub transport: Transport,
    /// What the guest reads as the serial number: the volume id without its dash, at most 20 bytes.
    pub serial: String,
    pub model: DiskModel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NicModel {
    VirtioNet,
    E1000,
}

/// A network card whose frames travel, each after its length in four bytes, over a unix stream socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Path of the socket, relative to the directory that QEMU runs in.
    pub socket: String,
    pub mac: [u8; 6],
    pub model: NicModel,
}

/// What the guest reads about itself from SMBIOS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub instance_id: String,
    pub instance_type: String,
    /// Starts with `ec2`, see [`ec2_uuid`].
    pub uuid: String,
}

/// Everything that decides the argument list of one QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub identity: Identity,
    pub vcpus: u32,
    pub memory_mib: u32,
    pub platform: Platform,
    pub firmware: Firmware,
    /// The root disk comes first; the firmware tries disks in this order.
    pub disks: Vec<Disk>,
    pub nic: Option<Nic>,
    /// Empty PCI Express ports that disks may be plugged into while the guest runs.
    pub spare_ports: u8,
}

/// The longest serial number that an NVMe controller and a virtio disk can both show.
const SERIAL_BYTES_MAX: usize = 20;

impl Spec {
    /// Whether some disk's server works in the guest's memory.
    pub(crate) fn shares_memory(&self) -> bool {
        self.disks.iter().any(|disk| matches!(disk.transport, Transport::VhostUser { .. }))
    }

    /// Refuses what QEMU could misread or not carry; everything else is escaped in the arguments.
    pub(crate) fn check(&self) -> Result<()> {
        if self.vcpus == 0 || self.vcpus > 255 || self.memory_mib == 0 {
            return Err(invalid("the number of vCPUs must be 1 to 255 and the memory above zero"));
        }
        for disk in &self.disks {
            let plain = disk.serial.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if disk.serial.is_empty() || disk.serial.len() > SERIAL_BYTES_MAX || !plain {
                return Err(invalid("a disk serial is 1 to 20 letters, digits or dashes"));
            }
            if disk.model == DiskModel::Nvme && disk.transport != Transport::Nbd {
                return Err(invalid("QEMU has no NVMe disk whose server works in the guest's memory"));
            }
        }
        let sockets = self.disks.iter().map(|d| &d.socket).chain(self.nic.iter().map(|n| &n.socket));
        for socket in sockets {
            if socket.is_empty() || socket.len() > 100 || socket.contains('\0') {
                return Err(invalid("a socket path is 1 to 100 bytes, relative to the machine's directory"));
            }
        }
        Ok(())
    }
}

fn invalid(why: &str) -> Error {
    Error::new(Kind::Invalid, why)
}

/// The system UUID of an instance. EC2's documented way to recognise one of its machines is a UUID that
/// starts with `ec2` and equals the serial number; the rest comes from the instance id.
pub fn ec2_uuid(instance_id: &str) -> String {
    let mut digits: String = instance_id.chars().filter(char::is_ascii_hexdigit).collect();
    digits.make_ascii_lowercase();
    let filled = format!("ec2{digits:0<29}");
    let part = |range| filled.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_says_ec2_and_follows_the_id() {
        assert_eq!(ec2_uuid("i-0123456789abcdef0"), "ec201234-5678-9abc-def0-000000000000");
        assert_eq!(ec2_uuid("i-1234abcd"), "ec21234a-bcd0-0000-0000-000000000000");
        assert_eq!(ec2_uuid("").len(), 36);
    }
}
