use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::spec::{Identity, ec2_uuid};

fn spec(platform: Platform, model: DiskModel) -> Spec {
    let disk = |serial: &str| Disk {
        socket: format!("{serial}.nbd"),
        transport: Transport::Nbd,
        serial: serial.to_owned(),
        model,
    };
    Spec {
        identity: Identity {
            instance_id: "i-0123456789abcdef0".to_owned(),
            instance_type: "m5.large".to_owned(),
            uuid: ec2_uuid("i-0123456789abcdef0"),
        },
        vcpus: 2,
        memory_mib: 512,
        platform,
        firmware: Firmware::Bios,
        disks: vec![disk("vol0aaaaaaaaaaaaaaa1"), disk("vol0aaaaaaaaaaaaaaa2")],
        nic: Some(Nic { socket: "net.sock".to_owned(), mac: [2, 0, 0, 0, 0, 1], model: NicModel::VirtioNet }),
        spare_ports: 1,
    }
}

fn joined(spec: &Spec, accelerator: Accelerator) -> String {
    let args = arguments(spec, accelerator).unwrap();
    args.join("\n").replace("\n-", "\n\n-").replace('\n', " ").replace("  -", "\n-")
}

#[test]
fn a_nitro_machine_in_full() {
    let expected = r#"-name guest=i-0123456789abcdef0
-nodefaults
-no-user-config
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-machine q35,usb=off,vmport=off,graphics=off
-accel tcg,thread=multi
-cpu max
-smp cpus=2,sockets=1
-m 512M
-rtc base=utc
-boot menu=off,strict=on
-display none
-action panic=none
-smbios type=0,vendor=Amazon EC2,version=1.0
-smbios type=1,manufacturer=Amazon EC2,product=m5.large,serial=ec201234-5678-9abc-def0-000000000000,uuid=ec201234-5678-9abc-def0-000000000000
-smbios type=2,manufacturer=Amazon EC2,asset=i-0123456789abcdef0
-smbios type=3,manufacturer=Amazon EC2,asset=Amazon EC2
-chardev socket,id=console,path=console.sock
-device {"chardev":"console","driver":"isa-serial","id":"serial0","index":0}
-chardev socket,id=monitor,path=qmp.sock
-mon chardev=monitor,mode=control
-device {"driver":"VGA","id":"vga"}
-object {"filename":"/dev/urandom","id":"entropy","qom-type":"rng-random"}
-device {"driver":"virtio-rng-pci","id":"rng","rng":"entropy"}
-device {"driver":"pvpanic","id":"panic"}
-netdev {"addr":{"path":"net.sock","type":"unix"},"id":"net0","server":false,"type":"stream"}
-device {"driver":"virtio-net-pci","id":"nic0","mac":"02:00:00:00:00:01","netdev":"net0","romfile":""}
-device {"bus":"pcie.0","chassis":1,"driver":"pcie-root-port","id":"port1","io-reserve":0,"slot":1}
-device {"bus":"pcie.0","chassis":2,"driver":"pcie-root-port","id":"port2","io-reserve":0,"slot":2}
-blockdev {"discard":"unmap","driver":"nbd","node-name":"node-vol0aaaaaaaaaaaaaaa1","server":{"path":"vol0aaaaaaaaaaaaaaa1.nbd","type":"unix"}}
-device {"bootindex":0,"bus":"pcie.0","drive":"node-vol0aaaaaaaaaaaaaaa1","driver":"nvme","id":"disk-vol0aaaaaaaaaaaaaaa1","serial":"vol0aaaaaaaaaaaaaaa1"}
-blockdev {"discard":"unmap","driver":"nbd","node-name":"node-vol0aaaaaaaaaaaaaaa2","server":{"path":"vol0aaaaaaaaaaaaaaa2.nbd","type":"unix"}}
-device {"bootindex":1,"bus":"port1","drive":"node-vol0aaaaaaaaaaaaaaa2","driver":"nvme","id":"disk-vol0aaaaaaaaaaaaaaa2","serial":"vol0aaaaaaaaaaaaaaa2"}"#;
    assert_eq!(joined(&spec(Platform::Q35, DiskModel::Nvme), Accelerator::Tcg), expected);
}

#[test]
fn an_older_type_gets_conventional_pci_and_uefi_gets_flash() {
    let mut spec = spec(Platform::I440fx, DiskModel::VirtioBlk);
    spec.firmware = Firmware::Uefi { code: PathBuf::from("/fw/code,x"), vars: PathBuf::from("/d/\"vars") };
    spec.nic = None;
    let args = joined(&spec, Accelerator::Kvm);
    assert!(
        args.contains(
            "-machine pc,usb=off,vmport=off,graphics=off,pflash0=firmware-code,pflash1=firmware-vars\n"
        ),
        "{args}"
    );
    assert!(args.contains("-accel kvm\n-cpu host\n"), "{args}");
    assert!(
        args.contains(r#""filename":"/fw/code,x"},"node-name":"firmware-code","read-only":true"#),
        "{args}"
    );
    assert!(args.contains(r#""filename":"/d/\"vars""#), "{args}");
    assert!(args.contains(r#""bus":"pci.0","drive":"node-vol0aaaaaaaaaaaaaaa2","driver":"virtio-blk-pci""#));
    assert!(!args.contains("pcie-root-port") && !args.contains("-netdev"), "{args}");
}

#[test]
fn a_disk_whose_server_works_in_the_guests_memory_shares_it() {
    let mut spec = spec(Platform::I440fx, DiskModel::VirtioBlk);
    for disk in &mut spec.disks {
        disk.socket = "v,1".to_owned();
        disk.transport = Transport::VhostUser { queue_count: 2 };
    }
    let args = joined(&spec, Accelerator::Kvm);
    let expected = [
        "-machine pc,usb=off,vmport=off,graphics=off,memory-backend=ram\n",
        "-m 512M\n-object {\"id\":\"ram\",\"qom-type\":\"memory-backend-memfd\",\"seal\":true,\"share\":true,\"size\":536870912}\n",
        "-chardev socket,id=vhost-vol0aaaaaaaaaaaaaaa1,path=v,,1\n",
        "-device {\"bootindex\":0,\"bus\":\"pci.0\",\"chardev\":\"vhost-vol0aaaaaaaaaaaaaaa1\",\"driver\":\"vhost-user-blk-pci\",\"id\":\"disk-vol0aaaaaaaaaaaaaaa1\",\"num-queues\":2}\n",
    ];
    for part in expected {
        assert!(args.contains(part), "{part} in {args}");
    }
    assert!(!args.contains("-blockdev"), "{args}");
    let chardev = disk_chardev(&spec.disks[0]);
    assert_eq!(chardev["backend"]["data"]["addr"]["data"]["path"], "v,1");
    spec.disks[1].model = DiskModel::Nvme;
    assert!(arguments(&spec, Accelerator::Kvm).is_err());
}

#[test]
fn what_qemu_could_misread_is_refused() {
    let refused = |change: fn(&mut Spec)| {
        let mut spec = spec(Platform::Q35, DiskModel::Nvme);
        change(&mut spec);
        arguments(&spec, Accelerator::Tcg).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|s| s.vcpus = 0));
    assert!(refused(|s| s.memory_mib = 0));
    assert!(refused(|s| s.disks[0].serial = "vol,x=1".to_owned()));
    assert!(refused(|s| s.disks[0].serial = "v".repeat(21)));
    assert!(refused(|s| s.disks[0].socket = String::new()));
    assert!(refused(|s| s.disks[1].socket = "s".repeat(101)));
}

proptest! {
    /// However hostile a name is, QEMU sees the same options, and the name's commas all doubled.
    #[test]
    fn no_string_adds_an_option(hostile in "\\PC{0,40}") {
        let plain = arguments(&spec(Platform::Q35, DiskModel::Nvme), Accelerator::Tcg).unwrap();
        let mut changed = spec(Platform::Q35, DiskModel::Nvme);
        changed.identity.instance_type.clone_from(&hostile);
        changed.identity.instance_id.clone_from(&hostile);
        let args = arguments(&changed, Accelerator::Tcg).unwrap();
        prop_assert_eq!(plain.len(), args.len());
        for (before, after) in plain.iter().zip(&args) {
            let parts = |text: &str| text.replace(",,", "").matches(',').count();
            let by_json = after.starts_with('{');
            prop_assert!(by_json || parts(before) == parts(after), "{} became {}", before, after);
        }
    }
}
