//! Real QEMU processes: the probe, a machine's life, and its ends.

use hypervisor::{
    Accelerator, Disk, DiskModel, Event, Firmware, Identity, Kind, Nic, NicModel, Platform, Qemu, RunState,
    Spec, Started, Transport, accelerator, ec2_uuid,
};
use tokio::net::UnixListener;

fn bare(platform: Platform, firmware: Firmware) -> Spec {
    Spec {
        identity: Identity {
            instance_id: "i-0123456789abcdef0".to_owned(),
            instance_type: "hostile,type=1,\"'{}".to_owned(),
            uuid: ec2_uuid("i-0123456789abcdef0"),
        },
        vcpus: 1,
        memory_mib: 64,
        platform,
        firmware,
        disks: Vec::new(),
        nic: None,
        spare_ports: 2,
    }
}

async fn start(directory: &std::path::Path, spec: &Spec) -> Started {
    let qemu = Qemu::find(None).await.expect("QEMU is installed");
    qemu.start(directory, spec, Accelerator::Tcg).await.expect("QEMU starts")
}

#[tokio::test]
async fn the_probe_finds_an_accelerator_and_remembers_it() {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join("accelerator.json");
    let qemu = Qemu::find(None).await.unwrap();
    let found = accelerator::choose(&qemu, &cache).await.unwrap();
    let kept = std::fs::read_to_string(&cache).unwrap();
    assert!(kept.contains(&format!("\"accelerator\":\"{}\"", found.as_str())), "{kept}");
    // Forge the answer: it must be believed while the host is the same, and not when it changed.
    let other = if found == Accelerator::Tcg { Accelerator::Kvm } else { Accelerator::Tcg };
    std::fs::write(&cache, kept.replace(found.as_str(), other.as_str())).unwrap();
    let believed = accelerator::choose(&qemu, &cache).await.unwrap();
    assert_eq!(believed, other);
    assert!(accelerator::has_vhost_user_blk(&qemu, &cache).await, "Debian's QEMU has it");
    assert!(std::fs::read_to_string(&cache).unwrap().contains("\"vhost_user_blk\":true"));
    std::fs::write(&cache, kept.replace("\"kernel\":\"", "\"kernel\":\"another ")).unwrap();
    assert_eq!(accelerator::choose(&qemu, &cache).await.unwrap(), found);
}

#[tokio::test]
async fn a_machine_pauses_resets_and_quits_in_a_directory_with_a_long_path() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("d".repeat(200));
    std::fs::create_dir(&directory).unwrap();
    let mut machine = start(&directory, &bare(Platform::Q35, Firmware::Bios)).await;
    assert_eq!(machine.qmp.run_state().await.unwrap(), RunState::Running);
    machine.qmp.pause().await.unwrap();
    assert_eq!(machine.qmp.run_state().await.unwrap(), RunState::Paused);
    machine.qmp.resume().await.unwrap();
    machine.qmp.reset().await.unwrap();
    while machine.events.recv().await != Some(Event::Reset { guest: false }) {}
    machine.qmp.screenshot("screen.ppm").await.unwrap();
    assert!(std::fs::read(directory.join("screen.ppm")).unwrap().starts_with(b"P6"));
    machine.qmp.quit().await.unwrap();
    assert!(machine.process.wait().await.unwrap().is_clean());
    assert_eq!(machine.qmp.run_state().await.unwrap_err().kind, Kind::Unavailable);
}

#[tokio::test]
async fn a_killed_qemu_says_which_signal() {
    let home = tempfile::tempdir().unwrap();
    let mut machine = start(home.path(), &bare(Platform::I440fx, Firmware::Bios)).await;
    machine.process.kill().unwrap();
    assert_eq!(machine.process.wait().await.unwrap().signal, Some(9));
}

#[tokio::test]
async fn uefi_machines_start_from_their_own_variable_store() {
    let home = tempfile::tempdir().unwrap();
    let (code, template) = hypervisor::uefi_files().unwrap();
    let vars = home.path().join("uefi-vars.fd");
    std::fs::copy(template, &vars).unwrap();
    let mut spec = bare(Platform::Q35, Firmware::Uefi { code, vars });
    spec.memory_mib = 128;
    let machine = start(home.path(), &spec).await;
    assert_eq!(machine.qmp.run_state().await.unwrap(), RunState::Running);
}

#[tokio::test]
async fn a_disk_without_its_server_is_a_named_failure() {
    let home = tempfile::tempdir().unwrap();
    let mut spec = bare(Platform::Q35, Firmware::Bios);
    let serial = "vol0123456789abcdef0".to_owned();
    let (socket, transport) = ("root.nbd".to_owned(), Transport::Nbd);
    spec.disks.push(Disk { socket, transport, serial, model: DiskModel::Nvme });
    let qemu = Qemu::find(None).await.unwrap();
    let error = qemu.start(home.path(), &spec, Accelerator::Tcg).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.to_string().contains("root.nbd"), "{error}");
}

#[tokio::test]
async fn both_network_cards_connect_to_their_socket() {
    for (platform, model) in [(Platform::Q35, NicModel::VirtioNet), (Platform::I440fx, NicModel::E1000)] {
        let home = tempfile::tempdir().unwrap();
        let network = UnixListener::bind(home.path().join("net.sock")).unwrap();
        let mut spec = bare(platform, Firmware::Bios);
        spec.nic = Some(Nic { socket: "net.sock".to_owned(), mac: [2, 0, 0, 0, 0, 1], model });
        let machine = start(home.path(), &spec).await;
        network.accept().await.unwrap();
        assert_eq!(machine.qmp.run_state().await.unwrap(), RunState::Running);
    }
}
