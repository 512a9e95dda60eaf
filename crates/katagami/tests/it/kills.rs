//! A server that is killed again and again while it works: what was asked for is done in the end, once.

use std::path::Path;
use std::time::Duration;

use hypervisor::tiny_guest::{Command, disk_image};

use crate::rig::{Api, Server, stdout, text};

const KILLS: u64 = 12;
const IN_PASSING: [&str; 4] = [
    "<name>pending</name>",
    "<name>stopping</name>",
    "<name>shutting-down</name>",
    "<imageState>pending</imageState>",
];

fn push(server: &Server, home: &Path) -> String {
    let file = home.join("tiny.raw");
    std::fs::write(&file, disk_image("hello", Command::Wait)).unwrap();
    let pushed = server.client("default", &["push", file.to_str().unwrap(), "--name", "tiny"]);
    assert!(pushed.status.success(), "{pushed:?}");
    stdout(&pushed).trim().to_owned()
}

/// One change in turn; what the instance's state forbids is refused, which is an answer as well.
fn ask(api: &Api<'_>, turn: u64, image_id: &str, instance_id: &str) {
    let by_id = format!("InstanceId.1={instance_id}");
    let (action, parameters) = match turn % 6 {
        0 => ("RunInstances", format!("ImageId={image_id}&InstanceType=t3.nano&MinCount=1&MaxCount=1")),
        1 | 4 => ("CreateImage", format!("InstanceId={instance_id}&Name=made-{turn}")),
        2 => ("StopInstances", by_id),
        3 => ("StartInstances", by_id),
        _ => ("RebootInstances", by_id),
    };
    let (status, document) = api.call(action, &parameters);
    assert!(status < 500, "{action}: {document}");
}

fn settled(api: &Api<'_>) -> bool {
    let everything = api.ok("DescribeInstances", "") + &api.ok("DescribeImages", "Owner.1=self");
    IN_PASSING.iter().all(|state| !everything.contains(state))
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..900 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("it never comes true");
}

#[test]
fn a_server_that_is_killed_again_and_again_leaves_nothing_half_done() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mut server = Server::start(&data, &[]);
    let image_id = push(&server, home.path());
    let run = format!("ImageId={image_id}&InstanceType=t3.nano&MinCount=1&MaxCount=1");
    let instance_id = text(&Api::new(&server, "default").ok("RunInstances", &run), "instanceId");
    for kill in 0..KILLS {
        let api = Api::new(&server, "default");
        ask(&api, kill, &image_id, &instance_id);
        // At another point of the work each time.
        std::thread::sleep(Duration::from_millis(kill * 89 % 700));
        server.kill();
        server = Server::start(&data, &[]);
    }
    let api = Api::new(&server, "default");
    wait_until(|| settled(&api));
    let images = api.ok("DescribeImages", "Owner.1=self");
    assert!(!images.contains("<imageState>failed</imageState>"), "{images}");
    let instances = api.ok("DescribeInstances", "");
    for id in instances.split("<instanceId>").skip(1).filter_map(|rest| rest.split('<').next()) {
        api.ok("TerminateInstances", &format!("InstanceId.1={id}"));
    }
    let is_empty = |name| std::fs::read_dir(data.join(name)).unwrap().next().is_none();
    wait_until(|| is_empty("machines") && is_empty("volumes"));
}
