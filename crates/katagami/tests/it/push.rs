use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Stdio;

use crate::rig::{Server, run, stderr, stdout};

const MIB: u64 = 1 << 20;

/// A sparse disk with a little in it; the content depends on `seed`.
fn disk(path: &Path, size_bytes: u64, seed: u8) {
    let file = std::fs::File::create(path).unwrap();
    file.set_len(size_bytes).unwrap();
    for (n, place) in (0_u8..).zip([0, 3 * MIB + 512, size_bytes / 2, size_bytes - 4096]) {
        let bytes: Vec<u8> = (0..4096_u32).map(|i| (i % 251) as u8 ^ seed ^ n).collect();
        file.write_all_at(&bytes, place).unwrap();
    }
}

#[test]
fn a_pushed_disk_becomes_an_image_and_its_id_is_all_that_stdout_says() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path(), &[]);
    let file = home.path().join("disk.raw");
    disk(&file, 700 * MIB, 1);
    let path = file.to_str().unwrap();
    let pushed = server.client("default", &["push", path, "--name", "one", "--tag", "stage=test"]);
    assert!(pushed.status.success(), "{pushed:?}");
    let id = stdout(&pushed).strip_suffix('\n').unwrap();
    assert!(id.starts_with("ami-") && !id.contains('\n'), "{id}");
    assert!(stderr(&pushed).contains("2.00 MiB sent"), "four blocks and no hole: {}", stderr(&pushed));
    let again = server.client("default", &["push", path, "--name", "one", "--progress", "json"]);
    assert_eq!(again.status.code(), Some(5), "the name is taken: {again:?}");
    assert_eq!(stdout(&again), "");
    assert!(stderr(&again).contains(id) && !stderr(&again).contains("sent"), "before the upload: {again:?}");
    let misnamed = server.client("default", &["push", path, "--name", "one!"]);
    assert!(!misnamed.status.success() && stderr(&misnamed).contains("is kept"), "{misnamed:?}");
}

#[test]
fn a_push_outlives_a_server_that_is_killed_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path(), &[]);
    let (address, data) = (server.address().to_owned(), server.data.clone());
    let file = home.path().join("disk.raw");
    // Every block has content.
    let block: Vec<u8> = (0..1_u32 << 19).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let disk = std::fs::File::create(&file).unwrap();
    for index in 0..200 {
        disk.write_all_at(&block, index << 19).unwrap();
    }
    let path = file.to_str().unwrap();
    let mut push = server.client_command("default", &["push", path, "--name", "one", "--parallel", "4"]);
    let push = push.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for_upload(&data);
    server.kill();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let _server = Server::start_with(&data, &address, &[], |_| {});
    let pushed = push.wait_with_output().unwrap();
    assert!(pushed.status.success(), "{pushed:?}");
    assert!(stderr(&pushed).contains("100.00 MiB sent"), "{pushed:?}");
}

/// Until some blocks of an upload are there.
fn wait_for_upload(data: &Path) {
    for _ in 0..1000 {
        let volumes = std::fs::read_dir(data.join("volumes")).unwrap().flatten();
        let mut files = volumes.flat_map(|volume| std::fs::read_dir(volume.path()).unwrap().flatten());
        if files.any(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 4 << 20)) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    panic!("the upload never begins");
}

#[test]
fn what_cannot_be_pushed_is_refused_before_anything_is_sent() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("disk.qcow2");
    std::fs::write(&file, b"QFI\xfb\0\0\0\x03").unwrap();
    let refused = run(home.path(), &["push", file.to_str().unwrap(), "--name", "web"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(stderr(&refused).contains("qemu-img convert -f qcow2 -O raw"), "{refused:?}");
    let missing = run(home.path(), &["push", "/nowhere/disk.raw", "--name", "web"]);
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
}

#[test]
fn without_a_server_the_hint_says_how_to_start_one() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("disk.raw");
    disk(&file, 4 * MIB, 2);
    let mut command = crate::rig::katagami(
        home.path(),
        &["forwards", "i-0123456789abcdef0", "--endpoint", "http://127.0.0.1:1"],
    );
    command.env("AWS_ACCESS_KEY_ID", "a").env("AWS_SECRET_ACCESS_KEY", "b");
    let lost = command.output().unwrap();
    assert_eq!(lost.status.code(), Some(1), "{lost:?}");
    assert!(stderr(&lost).contains("katagami serve"), "{lost:?}");
}
