//! A tiny guest through the whole product: pushed, launched, left alone by a killed server, found again, ended.

use std::path::Path;
use std::time::Duration;

use hypervisor::tiny_guest::{BANNER, Command, disk_image};
use model::{Clock as _, SystemClock};

use crate::rig::{Api, Server, run, stdout, text};

fn entries(dir: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn push(server: &Server, home: &Path, name: &str, command: Command) -> String {
    let file = home.join(format!("{name}.raw"));
    std::fs::write(&file, disk_image("hello from the test", command)).unwrap();
    let pushed = server.client("default", &["push", file.to_str().unwrap(), "--name", name]);
    assert!(pushed.status.success(), "{pushed:?}");
    stdout(&pushed).trim().to_owned()
}

fn launch(api: &Api<'_>, image_id: &str) -> String {
    let parameters = format!("ImageId={image_id}&InstanceType=t3.micro&MinCount=1&MaxCount=1");
    text(&api.ok("RunInstances", &parameters), "instanceId")
}

#[test]
fn an_instance_outlives_the_server_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let server = Server::start(&data, &[]);
    let image_id = push(&server, home.path(), "tiny", Command::Wait);
    let api = Api::new(&server, "default");
    let instance_id = launch(&api, &image_id);
    let by_id = format!("InstanceId.1={instance_id}");
    api.wait("DescribeInstances", &by_id, "<name>running</name>");
    let console = format!("InstanceId={instance_id}");
    wait_for_console(&api, &console, BANNER);
    server.kill();
    assert_eq!(entries(&data.join("machines")), [instance_id.as_str()]);

    let server = Server::start(&data, &[]);
    let api = Api::new(&server, "default");
    assert!(api.ok("DescribeInstances", &by_id).contains("<name>running</name>"));
    wait_for_console(&api, &console, "hello from the test");
    let volume_id = text(&api.ok("DescribeInstances", &by_id), "volumeId");
    let snapshot_id = text(&api.ok("CreateSnapshot", &format!("VolumeId={volume_id}")), "snapshotId");
    api.wait("DescribeSnapshots", &format!("SnapshotId.1={snapshot_id}"), "<status>completed</status>");
    api.ok("StopInstances", &by_id);
    api.wait("DescribeInstances", &by_id, "<name>stopped</name>");
    api.ok("StartInstances", &by_id);
    api.wait("DescribeInstances", &by_id, "<name>running</name>");
    wait_for_console(&api, &console, "boot: 2");
    api.ok("TerminateInstances", &by_id);
    api.wait("DescribeInstances", &by_id, "<name>terminated</name>");
    wait_until_empty(&data.join("machines"));
    wait_until_empty(&data.join("volumes"));
}

#[test]
fn the_owner_of_an_instance_is_told_where_its_ports_are_and_nobody_else_is() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let server = Server::start(&data, &[]);
    let image_id = push(&server, home.path(), "tiny", Command::Wait);
    let api = Api::new(&server, "default");
    let rule = "IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22\
                &IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0%2F0";
    api.ok("AuthorizeSecurityGroupIngress", &format!("GroupName=default&{rule}"));
    let instance_id = launch(&api, &image_id);
    let by_id = format!("InstanceId.1={instance_id}");
    let running = api.wait("DescribeInstances", &by_id, "<name>running</name>");
    let forwards = server.client("default", &["forwards", &instance_id]);
    let public_ip = text(&running, "ipAddress");
    assert!(stdout(&forwards).starts_with(&format!("22\t{public_ip}:")), "{forwards:?}");
    api.ok("RevokeSecurityGroupIngress", &format!("GroupName=default&{rule}"));
    wait_until(|| stdout(&server.client("default", &["forwards", &instance_id])).is_empty());
    let data_text = data.to_str().unwrap();
    assert!(run(home.path(), &["account", "create", "other", "--data", data_text]).status.success());
    assert_eq!(server.client("other", &["forwards", &instance_id]).status.code(), Some(3));
    api.ok("TerminateInstances", &by_id);
    wait_until_empty(&data.join("machines"));
}

#[test]
fn a_guest_that_switches_itself_off_is_stopped() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let server = Server::start(&data, &[]);
    let image_id = push(&server, home.path(), "off", Command::PowerOff);
    let api = Api::new(&server, "default");
    let by_id = format!("InstanceId.1={}", launch(&api, &image_id));
    let stopped = api.wait("DescribeInstances", &by_id, "<name>stopped</name>");
    assert!(stopped.contains("Client.InstanceInitiatedShutdown"), "{stopped}");
    api.ok("TerminateInstances", &by_id);
    api.wait("DescribeInstances", &by_id, "<name>terminated</name>");
    wait_until_empty(&data.join("volumes"));
}

#[test]
fn an_emulator_is_reset_in_no_time_whatever_runs() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let server = Server::start(&data, &["--emulator"]);
    let image_id = push(&server, home.path(), "ignoring", Command::Ignore);
    let api = Api::new(&server, "default");
    let by_id = format!("InstanceId.1={}", launch(&api, &image_id));
    api.wait("DescribeInstances", &by_id, "<name>running</name>");
    let clock = SystemClock::new();
    let before = clock.monotonic();
    assert_eq!(server.request("POST", "/_katagami/reset").0, 200);
    let took = clock.monotonic().saturating_sub(before);
    assert!(took < Duration::from_secs(1), "the aim is 100 ms on a machine that does nothing else: {took:?}");
    assert!(!api.ok("DescribeInstances", "").contains("instanceId"));
    assert!(!api.ok("DescribeImages", "").contains("imageId"));
    assert!(api.ok("DescribeVpcs", "").contains("<isDefault>true</isDefault>"));
    wait_until_empty(&data.join("machines"));
    wait_until_empty(&data.join("volumes"));
    push(&server, home.path(), "ignoring", Command::Ignore);
}

#[test]
fn without_qemu_everything_but_instances_works_and_the_refusal_names_the_package() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let server = Server::start_with(&data, "127.0.0.1:0", &[], |command| {
        command.env("PATH", "/nowhere");
    });
    let image_id = push(&server, home.path(), "tiny", Command::Wait);
    let api = Api::new(&server, "default");
    let by_id = format!("InstanceId.1={}", launch(&api, &image_id));
    let failed = api.wait("DescribeInstances", &by_id, "<name>terminated</name>");
    assert!(failed.contains("qemu-system-x86"), "{failed}");
    wait_until_empty(&data.join("machines"));
    wait_until_empty(&data.join("volumes"));
}

#[test]
fn an_image_of_an_instance_shuts_the_guest_down_and_starts_it_again() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let server = Server::start(&data, &[]);
    let image_id = push(&server, home.path(), "first", Command::Wait);
    let api = Api::new(&server, "default");
    let instance_id = launch(&api, &image_id);
    let (by_id, console) = (format!("InstanceId.1={instance_id}"), format!("InstanceId={instance_id}"));
    wait_for_console(&api, &console, "boot: 1");
    let made = text(&api.ok("CreateImage", &format!("InstanceId={instance_id}&Name=second")), "imageId");
    api.wait("DescribeImages", &format!("ImageId.1={made}"), "<imageState>available</imageState>");
    wait_for_console(&api, &console, "boot: 2");
    assert!(api.ok("DescribeInstances", &by_id).contains("<name>running</name>"));
    let live = format!("InstanceId={instance_id}&Name=third&NoReboot=true");
    let made_live = text(&api.ok("CreateImage", &live), "imageId");
    api.wait("DescribeImages", &format!("ImageId.1={made_live}"), "<imageState>available</imageState>");
    // The copies go on counting where the disk was when they were made.
    for (image_id, boots) in [(made, "boot: 2"), (made_live, "boot: 3")] {
        let copy = launch(&api, &image_id);
        wait_for_console(&api, &format!("InstanceId={copy}"), boots);
        api.ok("TerminateInstances", &format!("InstanceId.1={copy}"));
    }
    api.ok("TerminateInstances", &by_id);
    wait_until_empty(&data.join("machines"));
    wait_until_empty(&data.join("volumes"));
}

/// The console is in the answer as base64, so the pieces to look for must be decoded.
fn wait_for_console(api: &Api<'_>, console: &str, wanted: &str) {
    use base64::Engine as _;
    for _ in 0..600 {
        let document = api.ok("GetConsoleOutput", console);
        let output = wire::xml::first_text(&document, "output").unwrap_or_default();
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(output.replace(['\n', '\r'], "")).unwrap();
        if String::from_utf8_lossy(&bytes).contains(wanted) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the console never says {wanted:?}: {}", api.ok("GetConsoleOutput", console));
}

fn wait_until_empty(dir: &Path) {
    wait_until(|| entries(dir).is_empty());
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..100 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("it never comes true");
}
