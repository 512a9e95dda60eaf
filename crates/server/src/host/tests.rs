//! The volumes half on a real disk. Machines are tested with real guests by the clients' tests.

use bytes::Bytes;
use control::ports::Host as _;
use tempfile::TempDir;

use super::*;

const MIB: u64 = 1 << 20;

fn host() -> (Host, TempDir) {
    let home = tempfile::tempdir().unwrap();
    let data = DataDir::open(home.path()).unwrap();
    (Host::open(&data, None, "/nowhere".into(), DiskTransport::Auto).unwrap(), home)
}

fn volume(key: &str) -> VolumeSpec {
    VolumeSpec { key: key.to_owned(), size_bytes: 64 * MIB, base: None }
}

fn bytes(value: u8, len: usize) -> Bytes {
    vec![value; len].into()
}

#[tokio::test]
async fn what_was_written_is_in_the_freeze_and_later_writes_are_not() {
    let (host, _home) = host();
    let key = "snap-0123456789abcdef0";
    host.volume_create(volume(key)).await.unwrap();
    host.volume_create(volume(key)).await.unwrap();
    host.volume_write(key, 0, bytes(1, 4096)).await.unwrap();
    host.volume_write(key, 6 * MIB, bytes(2, 5 << 20)).await.unwrap();
    host.volume_freeze(key, "a").await.unwrap();
    host.volume_freeze(key, "a").await.unwrap();
    host.volume_write(key, 0, bytes(3, 512)).await.unwrap();
    host.volume_freeze(key, "b").await.unwrap();

    let extents = host.frozen_extents(key, "a", None).await.unwrap();
    let spans: Vec<_> = extents.iter().map(|e| (e.offset_bytes, e.len_bytes, e.is_zero)).collect();
    assert_eq!(spans, [(0, 4096, false), (6 * MIB, 4 * MIB, false), (10 * MIB, MIB, false)]);
    let mut content = Vec::new();
    for extent in extents {
        content.extend(host.frozen_read(key, "a", extent).await.unwrap());
    }
    assert_eq!(content, [vec![1; 4096], vec![2; 5 << 20]].concat());

    let since = host.frozen_extents(key, "b", Some("a")).await.unwrap();
    assert_eq!(since.iter().map(|e| (e.offset_bytes, e.len_bytes)).collect::<Vec<_>>(), [(0, 512)]);
    let unknown = host.frozen_extents(key, "b", Some("forgotten")).await.unwrap();
    assert_eq!(unknown.iter().map(|e| e.len_bytes).sum::<u64>(), 4096 + 5 * MIB, "everything");

    host.freeze_release(key, "a").await.unwrap();
    host.freeze_release(key, "a").await.unwrap();
    let gone = host.frozen_extents(key, "a", None).await.unwrap_err();
    assert_eq!(gone.kind, HostErrorKind::NotFound);
    let since = host.frozen_extents(key, "b", Some("a")).await.unwrap();
    assert_eq!(since.len(), 1, "a released freeze is still a starting point");
}

#[tokio::test]
async fn deleted_volumes_leave_nothing_and_deleting_is_repeatable() {
    let (host, home) = host();
    let key = "vol-0123456789abcdef0";
    host.volume_create(volume(key)).await.unwrap();
    host.volume_write(key, 0, bytes(1, 4096)).await.unwrap();
    host.volume_delete(key).await.unwrap();
    host.volume_delete(key).await.unwrap();
    assert_eq!(std::fs::read_dir(home.path().join("volumes")).unwrap().count(), 0);
    assert_eq!(host.volume_write(key, 0, bytes(1, 4096)).await.unwrap_err().kind, HostErrorKind::NotFound);
    assert_eq!(host.volume_create(volume("../x")).await.unwrap_err().kind, HostErrorKind::Failed);
}

#[tokio::test]
async fn more_volumes_than_are_kept_open_can_be_written_in_turns() {
    let (host, _home) = host();
    let keys: Vec<_> = (0..80).map(|n| format!("snap-{n:017x}")).collect();
    for round in 0..2_u8 {
        for key in &keys {
            host.volume_create(volume(key)).await.unwrap();
            host.volume_write(key, u64::from(round) * MIB, bytes(round + 1, 4096)).await.unwrap();
        }
    }
    for key in &keys {
        host.volume_freeze(key, "f").await.unwrap();
        assert_eq!(host.frozen_extents(key, "f", None).await.unwrap().len(), 2, "{key}");
    }
    host.clear().await.unwrap();
    assert_eq!(host.volume_freeze(&keys[0], "g").await.unwrap_err().kind, HostErrorKind::NotFound);
}

#[tokio::test]
async fn a_volume_that_a_restart_left_open_is_recovered_with_everything_that_was_answered() {
    let (host, home) = host();
    let key = "snap-0123456789abcdef0";
    host.volume_create(volume(key)).await.unwrap();
    host.volume_write(key, MIB, bytes(7, 4096)).await.unwrap();
    // The lock ends with the process; here with the handle.
    drop(host);
    let data = DataDir::open(home.path()).unwrap();
    let host = Host::open(&data, None, "/nowhere".into(), DiskTransport::Auto).unwrap();
    host.volume_freeze(key, "f").await.unwrap();
    let extents = host.frozen_extents(key, "f", None).await.unwrap();
    assert_eq!(host.frozen_read(key, "f", extents[0]).await.unwrap(), bytes(7, 4096));
}

#[tokio::test]
async fn of_a_machine_that_never_was_nothing_is_known_and_nothing_is_to_do() {
    let (host, _home) = host();
    let id: InstanceId = "i-0123456789abcdef0".parse().unwrap();
    assert_eq!(host.machine_status(&id).await.unwrap(), MachineStatus::Absent);
    host.machine_stop(&id, 1, Shutdown::Force).await.unwrap();
    host.machine_forget(&id).await.unwrap();
    assert_eq!(host.console_output(&id).await.unwrap(), None);
    assert_eq!(host.forwards(&id).await.unwrap(), []);
    assert_eq!(host.machine_reboot(&id).await.unwrap_err().kind, HostErrorKind::NotFound);
}

#[tokio::test]
async fn volumes_of_nobody_are_frozen_together_too() {
    let (host, _home) = host();
    let keys = ["vol-0123456789abcdef0", "vol-0123456789abcdef1"];
    for (value, key) in (1..).zip(keys) {
        host.volume_create(volume(key)).await.unwrap();
        host.volume_write(key, 0, bytes(value, 512)).await.unwrap();
    }
    let freezes = [(keys[1], "one"), (keys[0], "zero")];
    host.volumes_freeze(&freezes).await.unwrap();
    host.volume_write(keys[0], 0, bytes(9, 512)).await.unwrap();
    host.volumes_freeze(&freezes).await.unwrap();
    for (value, (key, freeze)) in [2, 1].into_iter().zip(freezes) {
        let extents = host.frozen_extents(key, freeze, None).await.unwrap();
        assert_eq!(host.frozen_read(key, freeze, extents[0]).await.unwrap(), bytes(value, 512));
    }
    let missing = host.volumes_freeze(&[(keys[0], "two"), ("vol-0123456789abcdef9", "two")]).await;
    assert_eq!(missing.unwrap_err().kind, HostErrorKind::NotFound);
    host.volumes_freeze(&[]).await.unwrap();
}
