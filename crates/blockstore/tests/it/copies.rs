use blockstore::{ErrorKind, Options, Store};

use crate::support::{BLOCK, MIB, noise, open, read_all, secret, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_same_disk_and_stores_only_what_is_missing() {
    let store = open(&Store::in_memory(), 1, Options::default()).await;
    let other = open(&Store::in_memory(), 2, Options::default()).await;
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

#[tokio::test]
async fn a_base_must_be_a_pair() {
    let store = open(&Store::in_memory(), 1, Options::default()).await;
    let (source, target) = (store.domain("a", &secret(1)), store.domain("b", &secret(2)));
    let (small, _) = write(&source, None, MIB, &[]).await;
    let (large, _) = write(&source, None, 2 * MIB, &[]).await;
    let (copy, _) = target.copy_from(&source, &large, None).await.unwrap();
    let refused = target.copy_from(&source, &large, Some((&small, &copy))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}
