//! Machine processes end to end: a real process, a real QEMU, a guest of a kilobyte.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hypervisor::tiny_guest::{self, Command};
use machine::{
    BaseSpec, Client, DiskTransport, ExitReason, Firmware, Found, Kind, MachineSpec, MetadataSpec,
    NetworkSpec, Platform, RuleProtocol, RuleSpec, SPEC_VERSION, State, VolumeFreeze, VolumeSpec,
};
use model::instance::{HttpTokens, MetadataOptions};
use model::{OsIdGen, Timestamp, VolumeId};
use rustix::process::{Pid, Signal};

const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    home: tempfile::TempDir,
    directory: PathBuf,
    spec: MachineSpec,
    machine_pid: AtomicU32,
}

/// A test that fails leaves no machine behind.
impl Drop for Rig {
    fn drop(&mut self) {
        if machine::find(&self.directory).is_ok_and(|found| found == Found::Alive) {
            kill(self.machine_pid.load(Ordering::Relaxed), Signal::KILL);
        }
    }
}

fn volume_id(n: u32) -> VolumeId {
    format!("vol-0123456789abcde{n:02x}").parse().unwrap()
}

/// The root volume is made from a snapshot that holds the guest; its directory begins empty.
async fn rig(command: Command) -> Rig {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("machines").join("i".repeat(180));
    let store_directory = home.path().join("store");
    let objects = blockstore::Store::local(&store_directory).unwrap();
    let options = blockstore::Options::default();
    let store = blockstore::Store::open(objects, Arc::new(OsIdGen), options).await.unwrap();
    let domain = store.domain("test", &blockstore::DomainSecret::new([7; 32]));
    let image = tiny_guest::disk_image("from a snapshot", command);
    let mut writer = domain.writer(None, image.len() as u64).await.unwrap();
    writer.write(0, &image).await.unwrap();
    let (root, _) = writer.commit().await.unwrap();
    let volume = VolumeSpec {
        volume_id: volume_id(0),
        directory: home.path().join("volumes").join("root"),
        device_name: "/dev/xvda".to_owned(),
        base: Some(BaseSpec { root: root.to_string(), domain_secret: "07".repeat(32) }),
    };
    let made = volume::Spec { size_bytes: 8 << 20, base_root: Some(root.to_string()), domain: None };
    volume::Volume::create(&volume.directory, &made).unwrap();
    let spec = machine_spec(home.path(), store_directory, volume);
    Rig { home, directory, spec, machine_pid: AtomicU32::new(0) }
}

fn machine_spec(home: &Path, store_directory: PathBuf, volume: VolumeSpec) -> MachineSpec {
    MachineSpec {
        version: SPEC_VERSION,
        instance_id: "i-0123456789abcdef0".parse().unwrap(),
        generation: 1,
        instance_type: "t3.micro".to_owned(),
        vcpus: 1,
        memory_mib: 32,
        platform: Platform::Nitro,
        firmware: Firmware::Bios,
        volumes: vec![volume],
        network: None,
        metadata: metadata(),
        disk_transport: DiskTransport::Auto,
        store_directory,
        store_bucket: None,
        store_cache: None,
        qemu_binary: None,
        accelerator_cache_file: home.join("accelerator.json"),
        console_bytes_max: 1 << 20,
        stop_deadline_ms: 10_000,
    }
}

fn metadata() -> MetadataSpec {
    MetadataSpec {
        options: MetadataOptions {
            http_endpoint_enabled: true,
            http_tokens: HttpTokens::Required,
            http_put_response_hop_limit: 1,
            instance_metadata_tags_enabled: false,
        },
        account_id: "123456789012".parse().unwrap(),
        instance_id: "i-0123456789abcdef0".parse().unwrap(),
        reservation_id: "r-0123456789abcdef0".parse().unwrap(),
        image_id: "ami-0123456789abcdef0".parse().unwrap(),
        ami_launch_index: 0,
        instance_type: "t3.micro".to_owned(),
        architecture: "x86_64".to_owned(),
        launch_time: Timestamp(0),
        availability_zone: "us-east-1a".parse().unwrap(),
        private_dns_name: "ip-10-0-0-5.ec2.internal".to_owned(),
        private_ip: "10.0.0.5".parse().unwrap(),
        public_dns_name: None,
        public_ip: None,
        mac: "02:00:00:00:00:01".to_owned(),
        network_interface_id: "eni-0123456789abcdef0".parse().unwrap(),
        vpc_id: "vpc-0123456789abcdef0".parse().unwrap(),
        vpc_cidr_block: "10.0.0.0/16".to_owned(),
        subnet_id: "subnet-0123456789abcdef0".parse().unwrap(),
        subnet_cidr_block: "10.0.0.0/24".to_owned(),
        security_groups: Vec::new(),
        key_pair: None,
        root_device_name: "/dev/xvda".to_owned(),
        data_device_names: Vec::new(),
        ephemeral_device_names: std::collections::BTreeMap::new(),
        user_data: None,
        tags: std::collections::BTreeMap::new(),
    }
}

/// The example beside this test's own binary.
fn exe() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join("machine")
}

impl Rig {
    async fn start(&self) -> Client {
        self.spec.write(&self.directory).unwrap();
        let mut client = machine::spawn_detached(&exe(), &self.directory, PATIENCE).await.unwrap();
        // A guest that powers off at once may be faster than the question.
        if let Ok(status) = client.status().await {
            self.machine_pid.store(status.machine_pid, Ordering::Relaxed);
        }
        client
    }

    fn console(&self) -> String {
        String::from_utf8(machine::console::tail(&self.directory).unwrap()).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("machine.log")).unwrap_or_default()
    }

    async fn until(&self, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..1000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it never comes true; console: {:?}; log: {}", self.console(), self.log());
    }

    async fn until_console_has(&self, text: &str) {
        self.until(|rig| rig.console().contains(text)).await;
    }

    async fn ended(&self) -> ExitReason {
        let found = machine::await_end(&self.directory, PATIENCE).await.unwrap();
        let Found::Ended(record) = found else { panic!("{found:?}") };
        assert_eq!(record.volume_errors, Vec::<String>::new());
        record.reason
    }

    async fn boots_on_volume(&self) -> u16 {
        let root = &self.spec.volumes[0].directory;
        let volume = volume::Volume::open(root, Arc::new(volume::ZeroBase)).await.unwrap();
        let mut bytes = vec![0; 4096];
        volume.read_at(0, &mut bytes).await.unwrap();
        tiny_guest::boot_count(&bytes).unwrap()
    }
}

fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn a_snapshot_boots_stops_by_its_power_button_and_keeps_what_it_wrote() {
    let rig = rig(Command::Wait).await;
    assert_eq!(machine::find(&rig.directory).unwrap(), Found::Gone);
    let mut client = rig.start().await;
    rig.until_console_has("line: from a snapshot\r\nboot: 1\r\nready").await;
    let status = client.status().await.unwrap();
    assert_eq!((status.state, status.generation), (State::Running, 1));
    assert!(status.first_console_byte_at.unwrap() >= status.started_at);
    assert!(matches!(status.accelerator.as_deref(), Some("tcg" | "kvm")), "{status:?}");
    assert_eq!(status.attached_volumes, [volume_id(0)]);
    assert_eq!(machine::find(&rig.directory).unwrap(), Found::Alive);
    let again = machine::spawn_detached(&exe(), &rig.directory, PATIENCE).await.unwrap_err();
    assert_eq!(again.kind, Kind::Conflict);
    client.stop(None, false).await.unwrap();
    assert_eq!(rig.ended().await, ExitReason::Stopped { forced: false });
    assert!(rig.console().ends_with("power button\r\n"), "the console is there after the end");
    let left: Vec<_> = std::fs::read_dir(&rig.directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".sock")), "{left:?}");

    let mut client = rig.start().await;
    rig.until_console_has("boot: 2\r\nready").await;
    assert!(!rig.console().contains("boot: 1"), "a start begins a new console");
    client.stop(None, false).await.unwrap();
    rig.ended().await;
    assert_eq!(rig.boots_on_volume().await, 2);
}

#[tokio::test]
async fn a_guest_that_powers_off_is_told_from_one_that_was_stopped() {
    let rig = rig(Command::PowerOff).await;
    drop(rig.start().await);
    assert_eq!(rig.ended().await, ExitReason::GuestShutdown);
}

#[tokio::test]
async fn a_stubborn_guest_is_cut_at_the_deadline_or_at_once() {
    let rig = rig(Command::Ignore).await;
    let mut client = rig.start().await;
    rig.until_console_has("boot: 1").await;
    client.stop(Some(Duration::from_millis(200)), false).await.unwrap();
    assert_eq!(client.status().await.unwrap().state, State::Stopping);
    assert_eq!(rig.ended().await, ExitReason::Stopped { forced: true });
    let mut client = rig.start().await;
    rig.until_console_has("boot: 2").await;
    client.stop(None, true).await.unwrap();
    assert_eq!(rig.ended().await, ExitReason::Stopped { forced: true });
}

#[tokio::test]
async fn reboots_by_request_and_by_the_guest_keep_the_machine() {
    let rig = rig(Command::RebootOnce).await;
    let mut client = rig.start().await;
    rig.until_console_has("boot: 2\r\nready").await;
    client.reboot(Duration::from_secs(10)).await.unwrap();
    rig.until_console_has("boot: 4\r\nready").await;
    assert_eq!(client.status().await.unwrap().state, State::Running);
    client.stop(None, false).await.unwrap();
    assert_eq!(rig.ended().await, ExitReason::Stopped { forced: false });
}

#[tokio::test]
async fn a_guest_that_ignores_a_reboot_is_reset() {
    let rig = rig(Command::Ignore).await;
    let mut client = rig.start().await;
    rig.until_console_has("boot: 1").await;
    client.reboot(Duration::from_millis(100)).await.unwrap();
    rig.until_console_has("boot: 2").await;
    client.stop(None, true).await.unwrap();
    rig.ended().await;
}

/// A file system of one megabyte; unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this process may not mount anything.
    #[expect(clippy::disallowed_methods, reason = "a full disk is made as an administrator makes it")]
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(at);
        mount.output().is_ok_and(|done| done.status.success()).then(|| Self(at.to_owned()))
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("fill")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("fill")).unwrap();
    }
}

impl Drop for SmallDisk {
    #[expect(clippy::disallowed_methods, reason = "as it was mounted")]
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

#[tokio::test]
async fn a_guest_that_stood_still_because_the_disk_was_full_goes_on() {
    for transport in [DiskTransport::Nbd, DiskTransport::VhostUser] {
        stands_still_and_goes_on(transport).await;
    }
}

async fn stands_still_and_goes_on(transport: DiskTransport) {
    let mut rig = rig(Command::TripleFault).await;
    rig.spec.disk_transport = transport;
    let Some(disk) = SmallDisk::mount(&rig.home.path().join("small")) else { return };
    rig.spec.platform = Platform::Xen;
    let made = volume::Spec {
        size_bytes: 8 << 20,
        base_root: rig.spec.volumes[0].base.as_ref().map(|base| base.root.clone()),
        domain: None,
    };
    rig.spec.volumes[0].directory = disk.0.join("root");
    volume::Volume::create(&rig.spec.volumes[0].directory, &made).unwrap();
    let mut client = rig.start().await;
    rig.until_console_has("boot: 2").await;
    disk.fill();
    let boots = |rig: &Rig| rig.console().matches("boot: ").count();
    // The guest writes a counter at each boot; for the first of these the log has blocks in advance.
    let mut before = 0;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        if boots(&rig) == before {
            break;
        }
        before = boots(&rig);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(boots(&rig), before, "the guest goes on without space");
    disk.free();
    rig.until(|rig| boots(rig) > before + 1).await;
    client.stop(None, true).await.unwrap();
    rig.ended().await;
}

#[tokio::test]
async fn a_killed_qemu_is_a_crash_with_its_signal() {
    let rig = rig(Command::Wait).await;
    let mut client = rig.start().await;
    rig.until_console_has("ready").await;
    kill(client.status().await.unwrap().qemu_pid.unwrap(), Signal::KILL);
    let reason = rig.ended().await;
    assert!(matches!(reason, ExitReason::Crashed { signal: Some(9), .. }), "{reason:?}");
    assert_eq!(rig.boots_on_volume().await, 1);
}

#[tokio::test]
async fn a_qemu_that_hangs_is_killed_in_the_end() {
    let rig = rig(Command::Wait).await;
    let mut client = rig.start().await;
    rig.until_console_has("ready").await;
    kill(client.status().await.unwrap().qemu_pid.unwrap(), Signal::STOP);
    client.stop(None, true).await.unwrap();
    assert_eq!(rig.ended().await, ExitReason::Stopped { forced: true });
    assert_eq!(rig.boots_on_volume().await, 1);
}

#[tokio::test]
async fn a_killed_machine_takes_qemu_along_and_loses_nothing() {
    let rig = rig(Command::Wait).await;
    let mut client = rig.start().await;
    rig.until_console_has("ready").await;
    let status = client.status().await.unwrap();
    kill(status.machine_pid, Signal::KILL);
    assert_eq!(machine::await_end(&rig.directory, PATIENCE).await.unwrap(), Found::Gone);
    assert_eq!(client.status().await.unwrap_err().kind, Kind::Unavailable);
    let qemu = PathBuf::from(format!("/proc/{}/cmdline", status.qemu_pid.unwrap()));
    for _ in 0..200 {
        if std::fs::read(&qemu).unwrap_or_default().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(std::fs::read(&qemu).unwrap_or_default(), b"", "QEMU ended with its machine");
    let mut client = rig.start().await;
    rig.until_console_has("boot: 2").await;
    client.stop(None, true).await.unwrap();
    rig.ended().await;
}

#[tokio::test]
async fn sigterm_is_a_graceful_stop() {
    let rig = rig(Command::Wait).await;
    let mut client = rig.start().await;
    rig.until_console_has("ready").await;
    kill(client.status().await.unwrap().machine_pid, Signal::TERM);
    assert_eq!(rig.ended().await, ExitReason::Stopped { forced: false });
    assert!(rig.console().ends_with("power button\r\n"));
}

#[tokio::test]
async fn a_running_volume_freezes_and_is_read_from_outside() {
    let rig = rig(Command::Wait).await;
    let mut client = rig.start().await;
    rig.until_console_has("ready").await;
    let seq = client.freeze_volume(&volume_id(0), "snap-1").await.unwrap();
    assert_eq!(client.freeze_volume(&volume_id(0), "snap-1").await.unwrap(), seq);
    let view = volume::FrozenView::open(&rig.spec.volumes[0].directory, "snap-1").unwrap();
    let extents = view.extents_since(None).unwrap();
    assert_eq!(extents.len(), 1, "{extents:?}");
    let mut sector = [0; 512];
    view.read_at(3 * 512, &mut sector).unwrap();
    assert_eq!(sector[0], 1, "the boot counter");
    client.release_freeze(&volume_id(0), "snap-1").await.unwrap();
    let unknown = client.freeze_volume(&volume_id(9), "snap-1").await.unwrap_err();
    assert_eq!(unknown.kind, Kind::NotFound);
    let freeze = |number| VolumeFreeze { volume_id: volume_id(number), key: "snap-2".to_owned() };
    let together = client.freeze_volumes(&[freeze(0)]).await.unwrap();
    assert_eq!(client.freeze_volume(&volume_id(0), "snap-2").await.unwrap(), together[0]);
    let unknown = client.freeze_volumes(&[freeze(0), freeze(9)]).await.unwrap_err();
    assert_eq!(unknown.kind, Kind::NotFound);
    client.stop(None, true).await.unwrap();
    rig.ended().await;
}

#[tokio::test]
async fn volumes_plug_into_running_machines_of_both_platforms() {
    let ways = [
        (Platform::Nitro, DiskTransport::Auto),
        (Platform::Xen, DiskTransport::Nbd),
        (Platform::Xen, DiskTransport::VhostUser),
    ];
    for (platform, transport) in ways {
        let mut rig = rig(Command::Wait).await;
        (rig.spec.platform, rig.spec.disk_transport) = (platform, transport);
        let directory = rig.home.path().join("volumes").join("data");
        let empty = volume::Spec { size_bytes: 1 << 30, base_root: None, domain: None };
        volume::Volume::create(&directory, &empty).unwrap();
        let device_name = "/dev/sdf".to_owned();
        let data = VolumeSpec { volume_id: volume_id(1), directory, device_name, base: None };
        let mut client = rig.start().await;
        rig.until_console_has("ready").await;
        client.attach_volume(data.clone()).await.unwrap();
        client.attach_volume(data).await.unwrap();
        let attached = client.status().await.unwrap().attached_volumes;
        assert_eq!(attached, [volume_id(0), volume_id(1)]);
        let root = client.detach_volume(&volume_id(0)).await.unwrap_err();
        assert_eq!(root.kind, Kind::NotFound);
        client.detach_volume(&volume_id(1)).await.unwrap();
        client.stop(None, false).await.unwrap();
        assert_eq!(rig.ended().await, ExitReason::Stopped { forced: false });
    }
}

#[tokio::test]
async fn a_guest_boots_reboots_and_freezes_over_shared_memory() {
    let mut rig = rig(Command::RebootOnce).await;
    (rig.spec.platform, rig.spec.disk_transport) = (Platform::Xen, DiskTransport::VhostUser);
    rig.spec.vcpus = 2;
    let mut client = rig.start().await;
    rig.until_console_has("boot: 2\r\nready").await;
    let socket = format!("{}.vhost", volume_id(0).as_str().replace('-', ""));
    assert!(rig.directory.join(&socket).exists());
    client.freeze_volume(&volume_id(0), "snap-1").await.unwrap();
    client.reboot(Duration::from_secs(10)).await.unwrap();
    rig.until_console_has("boot: 4\r\nready").await;
    let view = volume::FrozenView::open(&rig.spec.volumes[0].directory, "snap-1").unwrap();
    let mut sector = [0; 512];
    view.read_at(3 * 512, &mut sector).unwrap();
    assert_eq!(sector[0], 2, "the boot counter at the freeze");
    kill(client.status().await.unwrap().qemu_pid.unwrap(), Signal::KILL);
    let reason = rig.ended().await;
    assert!(matches!(reason, ExitReason::Crashed { signal: Some(9), .. }), "{reason:?}");
    assert_eq!(rig.boots_on_volume().await, 4);
    assert!(!rig.directory.join(&socket).exists());
}

#[tokio::test]
async fn memory_is_shared_only_where_that_is_safe() {
    let mut rig = rig(Command::Wait).await;
    rig.spec.platform = Platform::Xen;
    let serial = volume_id(0).as_str().replace('-', "");
    for transport in [DiskTransport::Auto, DiskTransport::Nbd] {
        rig.spec.disk_transport = transport;
        let mut client = rig.start().await;
        let exists = |protocol: &str| rig.directory.join(format!("{serial}.{protocol}")).exists();
        rig.until(|_| exists("vhost") || exists("nbd")).await;
        let chosen = std::fs::read_to_string(&rig.spec.accelerator_cache_file).unwrap();
        let is_shared = chosen.contains("\"kvm\"") && transport == DiskTransport::Auto;
        assert_eq!((exists("vhost"), exists("nbd")), (is_shared, !is_shared), "{transport:?}");
        client.stop(None, true).await.unwrap();
        rig.ended().await;
    }
}

#[tokio::test]
async fn the_network_port_opens_what_the_rules_allow() {
    let mut rig = rig(Command::Wait).await;
    let ssh = |cidr: &str| {
        let cidrs = vec![cidr.to_owned()];
        vec![RuleSpec { protocol: RuleProtocol::Tcp, from_port: 22, to_port: 22, cidrs }]
    };
    rig.spec.network = Some(NetworkSpec {
        mac: "02:00:00:00:00:01".to_owned(),
        private_ip: "10.0.0.5".parse().unwrap(),
        subnet_prefix_len: 24,
        gateway: "10.0.0.1".parse().unwrap(),
        dns: vec!["10.0.0.2".parse().unwrap()],
        resolvers: Vec::new(),
        hostname: "ip-10-0-0-5".to_owned(),
        domain_name: "ec2.internal".to_owned(),
        mtu: 9001,
        public_ip: Some("127.86.75.31".parse().unwrap()),
        ingress: Vec::new(),
        egress: None,
        host_services: Vec::new(),
    });
    let mut client = rig.start().await;
    rig.until_console_has("ready").await;
    assert_eq!(client.status().await.unwrap().forwards, []);
    assert_eq!(client.set_ingress(ssh("10.0.0.0/33")).await.unwrap_err().kind, Kind::Invalid);
    client.set_ingress(ssh("0.0.0.0/0")).await.unwrap();
    client.set_egress(Some(Vec::new())).await.unwrap();
    client.set_metadata(metadata()).await.unwrap();
    for _ in 0..500 {
        if !client.status().await.unwrap().forwards.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let forwards = client.status().await.unwrap().forwards;
    assert_eq!(forwards.len(), 1);
    assert_eq!((forwards[0].guest_port, forwards[0].host.ip().to_string().as_str()), (22, "127.86.75.31"));
    client.stop(None, false).await.unwrap();
    assert_eq!(rig.ended().await, ExitReason::Stopped { forced: false });
}

#[tokio::test]
async fn what_keeps_a_machine_from_starting_is_recorded() {
    let mut rig = rig(Command::Wait).await;
    rig.spec.volumes[0].directory = rig.home.path().join("nowhere");
    rig.spec.write(&rig.directory).unwrap();
    drop(machine::spawn_detached(&exe(), &rig.directory, PATIENCE).await);
    let reason = rig.ended().await;
    let ExitReason::StartFailed { message } = &reason else { panic!("{reason:?}") };
    assert!(message.contains("open vol-"), "{message}");
    rig.spec.version = 2;
    rig.spec.write(&rig.directory).unwrap();
    let error = machine::spawn_detached(&exe(), &rig.directory, PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("ended at its start"), "{error}");
    assert_eq!(machine::find(&rig.directory).unwrap(), Found::Gone);
}
