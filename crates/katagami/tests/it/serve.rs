use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::rig::{Server, run, stderr, stdout};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_first_start_leaves_keys_for_the_owner_alone_and_later_ones_keep_them() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path(), &[]);
    assert_eq!(server.request("GET", "/_katagami/health").0, 200);
    assert_eq!(mode(&home.path().join("credentials")), 0o600);
    assert_eq!(mode(&home.path().join("admin.sock")), 0o600);
    let first = std::fs::read_to_string(home.path().join("credentials")).unwrap();
    assert!(first.starts_with("[default]\naws_access_key_id = AKIA"), "{first}");
    let config = std::fs::read_to_string(home.path().join("config")).unwrap();
    assert!(config.contains(&format!("endpoint_url = {}\n", server.endpoint)), "{config}");
    assert!(server.terminate());
    let again = Server::start(home.path(), &[]);
    assert_eq!(std::fs::read_to_string(home.path().join("credentials")).unwrap(), first);
    again.kill();
    std::fs::remove_file(home.path().join("credentials")).unwrap();
    let _third = Server::start(home.path(), &[]);
    assert_eq!(
        std::fs::read_to_string(home.path().join("credentials")).unwrap(),
        first,
        "lost keys come back"
    );
}

#[test]
fn a_second_server_on_the_same_directory_is_refused_even_after_a_kill() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().to_str().unwrap();
    let server = Server::start(home.path(), &[]);
    let second = run(home.path(), &["serve", "--data", data, "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(5), "{second:?}");
    assert!(stderr(&second).contains("another server uses"), "{second:?}");
    server.kill();
    let next = Server::start(home.path(), &[]);
    assert_eq!(next.request("GET", "/_katagami/health").0, 200);
}

#[test]
fn a_port_in_use_is_told_with_the_way_out() {
    let home = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = home.path().to_str().unwrap();
    let refused = run(home.path(), &["serve", "--data", data, "--listen", &address]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(stderr(&refused).contains("--listen"), "{refused:?}");
}

#[test]
fn an_emulator_says_what_it_is_and_stays_on_loopback() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().to_str().unwrap();
    let open = run(home.path(), &["serve", "--emulator", "--data", data, "--listen", "0.0.0.0:0"]);
    assert_eq!(open.status.code(), Some(2));
    assert_eq!(stdout(&open), "");
    let server = Server::start(home.path(), &["--emulator"]);
    let (status, regions) = server.request("GET", "/?Action=DescribeRegions&Version=2016-11-15");
    assert_eq!(status, 200);
    assert!(regions.contains("us-east-1"), "{regions}");
    assert_eq!(server.request("POST", "/_katagami/reset").0, 200);
    let strict = tempfile::tempdir().unwrap();
    let strict = Server::start(strict.path(), &[]);
    assert_eq!(strict.request("POST", "/_katagami/reset").0, 403);
    assert_eq!(strict.request("GET", "/?Action=DescribeRegions&Version=2016-11-15").0, 403);
}

#[test]
fn an_idle_server_is_small() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path(), &[]);
    assert_eq!(server.request("GET", "/_katagami/health").0, 200);
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 60 << 10, "{line}");
}

#[test]
fn a_data_directory_with_a_long_path_works() {
    let home = tempfile::tempdir().unwrap();
    let long = home.path().join("d".repeat(200)).join("e".repeat(100));
    let server = Server::start(&long, &[]);
    assert_eq!(server.request("GET", "/_katagami/health").0, 200);
    let data = long.to_str().unwrap();
    let created = run(home.path(), &["account", "create", "dev", "--data", data]);
    assert!(created.status.success(), "{created:?}");
}
