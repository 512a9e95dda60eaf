use blockstore::{ErrorKind, Options};

use crate::support::{BLOCK, MIB, noise, objects, open, read_all, secret, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_same_disk_and_stores_only_what_is_missing() {
    let store = open(&objects(), 1, Options::default()).await;
    let other = open(&objects(), 2, Options::default()).await;
    let (source, target) = (store.domain("eu", &secret(1)), other.domain("us", &secret(2)));
    let (v1, _) =
        write(&source, None, 16 * MIB, &[(0, &noise(1, 5 << 20)), (12 * MIB, &noise(2, 8 * BLOCK))]).await;
    let mut writer = source.writer(Some(&v1), 24 * MIB).await.unwrap();
    writer.write(MIB, &noise(3, 4 * BLOCK)).await.unwrap();
    writer.zero(12 * MIB, 4 * BLOCK as u64).await.unwrap();
    let (v2, _) = writer.commit().await.unwrap();

    let (copy1, stats) = target.copy_from(&source, &v1, None).await.unwrap();
    assert_eq!(stats.bytes_read, (5 << 20) + 8 * BLOCK as u64);
    assert_eq!(stats.written.new_blocks, 1280 + 8);
    assert_eq!(read_all(&target, &copy1).await.unwrap(), read_all(&source, &v1).await.unwrap());

    let (copy2, stats) = target.copy_from(&source, &v2, Some((&v1, &copy1))).await.unwrap();
    assert_eq!((stats.bytes_read, stats.written.new_blocks), (4 * BLOCK as u64, 4));
    assert_eq!(read_all(&target, &copy2).await.unwrap(), read_all(&source, &v2).await.unwrap());
    target.verify(&copy2).await.unwrap();

    // Begun again, it finds everything there.
    let (again, stats) = target.copy_from(&source, &v2, None).await.unwrap();
    assert_eq!(stats.written.new_blocks, 0);
    assert_eq!(read_all(&target, &again).await.unwrap(), read_all(&source, &v2).await.unwrap());
}

/// Bytes that compress, no two blocks alike.
fn text(blocks: usize) -> Vec<u8> {
    let line =
        |n: usize| format!("{n:09} a line of a log, as there are many of them in every disk\n").into_bytes();
    let mut bytes: Vec<u8> = (0..blocks * BLOCK / 60).flat_map(line).collect();
    bytes.resize(blocks * BLOCK, b'.');
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_whole_is_moved_as_it_was_compressed() {
    let store = open(&objects(), 1, Options::default()).await;
    let (source, target) = (store.domain("eu", &secret(1)), store.domain("us", &secret(2)));
    let data = text(1000);
    let (v1, stored) = write(&source, None, 16 * MIB, &[(MIB, &data)]).await;
    assert!(stored.stored_bytes < data.len() as u64 / 2);
    let (copy, stats) = target.copy_from(&source, &v1, None).await.unwrap();
    assert_eq!(stats.written.new_blocks, 1000);
    assert!(stats.fetched_bytes <= stored.stored_bytes);
    // But for the sealed tables' own compression it is the same bytes under other keys.
    assert!(stats.written.stored_bytes.abs_diff(stored.stored_bytes) < 64, "{stats:?} {stored:?}");
    assert_eq!(read_all(&target, &copy).await.unwrap(), read_all(&source, &v1).await.unwrap());
    target.verify(&copy).await.unwrap();

    // The target has a part of the next frame already, and half of another is not wanted at all.
    let (partly, _) = write(&target, None, 4 * MIB, &[(0, &noise(8, 20 * BLOCK))]).await;
    let (v2, _) = write(&source, Some(&v1), 16 * MIB, &[(8 * MIB, &noise(8, 64 * BLOCK))]).await;
    let (v3, _) = write(&source, Some(&v2), 16 * MIB, &[(8 * MIB, &vec![0; 30 * BLOCK])]).await;
    for (root, new) in [(&v3, 34), (&v2, 10)] {
        let (again, stats) = target.copy_from(&source, root, Some((&v1, &copy))).await.unwrap();
        assert_eq!(stats.written.new_blocks, new);
        assert_eq!(read_all(&target, &again).await.unwrap(), read_all(&source, root).await.unwrap());
        target.verify(&again).await.unwrap();
    }
    assert_eq!(read_all(&target, &partly).await.unwrap()[..20 * BLOCK], noise(8, 20 * BLOCK));
}

#[tokio::test]
async fn a_base_must_be_a_pair() {
    let store = open(&objects(), 1, Options::default()).await;
    let (source, target) = (store.domain("a", &secret(1)), store.domain("b", &secret(2)));
    let (small, _) = write(&source, None, MIB, &[]).await;
    let (large, _) = write(&source, None, 2 * MIB, &[]).await;
    let (copy, _) = target.copy_from(&source, &large, None).await.unwrap();
    let refused = target.copy_from(&source, &large, Some((&small, &copy))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn zeros_at_the_end_of_a_small_disk_are_copied_on_a_base() {
    let store = open(&objects(), 1, Options::default()).await;
    let (source, target) = (store.domain("eu", &secret(1)), store.domain("us", &secret(2)));
    let size = 12 * BLOCK as u64;
    let (v1, _) = write(&source, None, size, &[(0, &noise(1, 12 * BLOCK))]).await;
    let (copy1, _) = target.copy_from(&source, &v1, None).await.unwrap();
    let (v2, _) = write(&source, Some(&v1), size, &[(9 * BLOCK as u64, &[0; 3 * BLOCK])]).await;
    let (copy2, _) = target.copy_from(&source, &v2, Some((&v1, &copy1))).await.unwrap();
    assert_eq!(read_all(&target, &copy2).await.unwrap(), read_all(&source, &v2).await.unwrap());
}
