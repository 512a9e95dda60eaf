//! From a [`Spec`] to QEMU's argument list. Pure.
//!
//! Whatever a user could influence goes in as JSON or with commas doubled, so that no string can add an
//! option: QEMU splits its older options at single commas only.

use serde_json::{Value, json};

use crate::accelerator::Accelerator;
use crate::error::Result;
use crate::spec::{Disk, DiskModel, Firmware, Nic, NicModel, Platform, Spec, Transport};

/// QEMU connects to this socket for its monitor; it lies in the directory that QEMU runs in.
pub(crate) const QMP_SOCKET: &str = "qmp.sock";
/// QEMU connects to this socket for the first serial port.
pub(crate) const CONSOLE_SOCKET: &str = "console.sock";

/// The arguments after the program's name.
pub fn arguments(spec: &Spec, accelerator: Accelerator) -> Result<Vec<String>> {
    spec.check()?;
    let mut args = Arguments::default();
    base(&mut args, spec, accelerator);
    firmware(&mut args, &spec.firmware);
    smbios(&mut args, spec);
    serial_and_monitor(&mut args);
    args.device(&json!({"driver": "VGA", "id": "vga"}));
    args.object(&json!({"qom-type": "rng-random", "id": "entropy", "filename": "/dev/urandom"}));
    args.device(&json!({"driver": "virtio-rng-pci", "id": "rng", "rng": "entropy"}));
    args.device(&json!({"driver": "pvpanic", "id": "panic"}));
    if let Some(nic) = &spec.nic {
        network(&mut args, nic);
    }
    disks(&mut args, spec);
    Ok(args.0)
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn option(&mut self, name: &str, value: impl Into<String>) {
        self.0.extend([name.to_owned(), value.into()]);
    }

    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn device(&mut self, value: &Value) {
        self.option("-device", value.to_string());
    }

    fn object(&mut self, value: &Value) {
        self.option("-object", value.to_string());
    }

    fn blockdev(&mut self, value: &Value) {
        self.option("-blockdev", value.to_string());
    }
}

fn base(args: &mut Arguments, spec: &Spec, accelerator: Accelerator) {
    args.option("-name", format!("guest={}", comma_safe(&spec.identity.instance_id)));
    args.flag("-nodefaults");
    args.flag("-no-user-config");
    args.option("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    let (accel, cpu) = accelerator.options();
    let machine = match spec.platform {
        Platform::Q35 => "q35",
        Platform::I440fx => "pc",
    };
    let flash = match spec.firmware {
        Firmware::Bios => "",
        Firmware::Uefi { .. } => ",pflash0=firmware-code,pflash1=firmware-vars",
    };
    let memory = if spec.shares_memory() { ",memory-backend=ram" } else { "" };
    // Without `graphics`, SeaBIOS speaks on the serial port: that is how a console tells that nothing boots.
    args.option("-machine", format!("{machine},usb=off,vmport=off,graphics=off{flash}{memory}"));
    args.option("-accel", accel);
    args.option("-cpu", cpu);
    args.option("-smp", format!("cpus={},sockets=1", spec.vcpus));
    args.option("-m", format!("{}M", spec.memory_mib));
    if spec.shares_memory() {
        // A memfd, which QEMU seals: the disk's server relies on it that nothing is cut off.
        args.object(&json!({
            "qom-type": "memory-backend-memfd", "id": "ram", "share": true, "seal": true,
            "size": u64::from(spec.memory_mib) << 20,
        }));
    }
    args.option("-rtc", "base=utc");
    args.option("-boot", "menu=off,strict=on");
    args.option("-display", "none");
    // A guest that panics stays up and is reported, as on EC2; its kernel decides whether to reboot.
    args.option("-action", "panic=none");
}

fn firmware(args: &mut Arguments, firmware: &Firmware) {
    let Firmware::Uefi { code, vars } = firmware else { return };
    for (name, path, read_only) in [("firmware-code", code, true), ("firmware-vars", vars, false)] {
        args.blockdev(&json!({
            "driver": "raw", "node-name": name, "read-only": read_only,
            "file": {"driver": "file", "filename": path.to_string_lossy()},
        }));
    }
}

/// The strings by which guests recognise EC2: vendor and serial in types 1 to 3, the instance id as the
/// asset tag of the board.
fn smbios(args: &mut Arguments, spec: &Spec) {
    let uuid = comma_safe(&spec.identity.uuid);
    let instance_type = comma_safe(&spec.identity.instance_type);
    let instance_id = comma_safe(&spec.identity.instance_id);
    args.option("-smbios", "type=0,vendor=Amazon EC2,version=1.0");
    args.option(
        "-smbios",
        format!("type=1,manufacturer=Amazon EC2,product={instance_type},serial={uuid},uuid={uuid}"),
    );
    args.option("-smbios", format!("type=2,manufacturer=Amazon EC2,asset={instance_id}"));
    args.option("-smbios", "type=3,manufacturer=Amazon EC2,asset=Amazon EC2");
}

fn serial_and_monitor(args: &mut Arguments) {
    args.option("-chardev", format!("socket,id=console,path={CONSOLE_SOCKET}"));
    args.device(&json!({"driver": "isa-serial", "id": "serial0", "chardev": "console", "index": 0}));
    args.option("-chardev", format!("socket,id=monitor,path={QMP_SOCKET}"));
    args.option("-mon", "chardev=monitor,mode=control");
}

fn network(args: &mut Arguments, nic: &Nic) {
    args.option(
        "-netdev",
        json!({
            "type": "stream", "id": "net0", "server": false,
            "addr": {"type": "unix", "path": nic.socket},
        })
        .to_string(),
    );
    let driver = match nic.model {
        NicModel::VirtioNet => "virtio-net-pci",
        NicModel::E1000 => "e1000",
    };
    let mac = nic.mac.map(|byte| format!("{byte:02x}")).join(":");
    // No option ROM: the firmware need not look for a network to boot from.
    args.device(&json!({"driver": driver, "id": "nic0", "netdev": "net0", "mac": mac, "romfile": ""}));
}

/// The root disk sits on the root bus. On PCI Express every other disk gets a port of its own, because
/// only what sits in a port can be unplugged.
fn disks(args: &mut Arguments, spec: &Spec) {
    let ports = match spec.platform {
        Platform::Q35 => spec.disks.len().saturating_sub(1) + usize::from(spec.spare_ports),
        Platform::I440fx => 0,
    };
    for port in 1..=ports {
        args.device(&json!({
            "driver": "pcie-root-port", "id": format!("port{port}"), "bus": "pcie.0",
            "chassis": port, "slot": port, "io-reserve": 0,
        }));
    }
    for (index, disk) in spec.disks.iter().enumerate() {
        let bus = match spec.platform {
            Platform::Q35 if index == 0 => "pcie.0".to_owned(),
            Platform::Q35 => format!("port{index}"),
            Platform::I440fx => "pci.0".to_owned(),
        };
        match disk.transport {
            Transport::Nbd => args.blockdev(&disk_node(disk)),
            Transport::VhostUser { .. } => {
                let path = comma_safe(&disk.socket);
                args.option("-chardev", format!("socket,id={},path={path}", chardev_name(disk)));
            }
        }
        let mut device = disk_device(disk, &bus);
        if let Some(fields) = device.as_object_mut() {
            fields.insert("bootindex".to_owned(), json!(index));
        }
        args.device(&device);
    }
}

/// The block node of a disk, also what `blockdev-add` takes.
pub(crate) fn disk_node(disk: &Disk) -> Value {
    json!({
        "driver": "nbd", "node-name": node_name(disk), "discard": "unmap",
        "server": {"type": "unix", "path": disk.socket},
    })
}

/// The socket of a disk whose server works in the guest's memory, as `chardev-add` takes it.
pub(crate) fn disk_chardev(disk: &Disk) -> Value {
    let address = json!({"type": "unix", "data": {"path": disk.socket}});
    json!({
        "id": chardev_name(disk),
        "backend": {"type": "socket", "data": {"addr": address, "server": false}},
    })
}

/// The device of a disk, also what `device_add` takes.
pub(crate) fn disk_device(disk: &Disk, bus: &str) -> Value {
    let driver = match (disk.model, disk.transport) {
        (DiskModel::Nvme, _) => "nvme",
        (DiskModel::VirtioBlk, Transport::Nbd) => "virtio-blk-pci",
        // The guest gets its serial number from the server.
        (DiskModel::VirtioBlk, Transport::VhostUser { queue_count }) => {
            return json!({
                "driver": "vhost-user-blk-pci", "id": device_name(disk), "bus": bus,
                "chardev": chardev_name(disk), "num-queues": queue_count,
            });
        }
    };
    json!({
        "driver": driver, "id": device_name(disk), "bus": bus,
        "drive": node_name(disk), "serial": disk.serial,
    })
}

pub(crate) fn chardev_name(disk: &Disk) -> String {
    format!("vhost-{}", disk.serial)
}

pub(crate) fn node_name(disk: &Disk) -> String {
    format!("node-{}", disk.serial)
}

pub(crate) fn device_name(disk: &Disk) -> String {
    format!("disk-{}", disk.serial)
}

/// Doubles commas, which is how QEMU's older option syntax spells one inside a value.
fn comma_safe(text: &str) -> String {
    text.replace(',', ",,")
}

#[cfg(test)]
mod tests;
