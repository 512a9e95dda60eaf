use blockstore::{ErrorKind, Options};

use crate::support::{
    BLOCK, MIB, memory_domain, noise, objects, open, read_all, restore, secret, small, write,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_back() {
    let domain = memory_domain(1, small()).await;
    let data = noise(7, 300 * BLOCK);
    let (root, stats) = write(&domain, None, 16 * MIB, &[(3 * MIB, &data)]).await;
    let mut expected = vec![0; 16 << 20];
    expected[3 << 20..][..data.len()].copy_from_slice(&data);
    assert_eq!(read_all(&domain, &root).await.unwrap(), expected);
    assert_eq!(restore(&domain, &root).await.unwrap(), expected);
    assert_eq!((stats.bytes_written, stats.new_blocks), (data.len() as u64, 300));
    let reader = domain.reader(&root).await.unwrap();
    assert_eq!((reader.size_bytes(), reader.full_size_bytes()), (16 * MIB, data.len() as u64));
    let mut odd = vec![0; 5000];
    reader.read_at(3 * MIB - 77, &mut odd).await.unwrap();
    assert_eq!(odd, expected[(3 << 20) - 77..][..5000]);
}

/// Blocks of one frame all over a disk, twice and in any order, beside blocks that are gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_the_disk_however_its_blocks_are_scattered() {
    let domain = memory_domain(5, small()).await;
    let data = noise(3, 200 * BLOCK);
    let (base, _) = write(&domain, None, 40 * MIB, &[(0, &data)]).await;
    let mut writer = domain.writer(Some(&base), 40 * MIB).await.unwrap();
    for (n, block) in data.chunks(BLOCK).rev().enumerate() {
        writer.write((9 * MIB) + (n * 3 * BLOCK) as u64, block).await.unwrap();
    }
    writer.zero(10 * BLOCK as u64, 50 * BLOCK as u64).await.unwrap();
    let (root, stats) = writer.commit().await.unwrap();
    assert_eq!(stats.new_blocks, 0);
    assert_eq!(restore(&domain, &root).await.unwrap(), read_all(&domain, &root).await.unwrap());
    let (empty, _) = write(&domain, None, MIB, &[]).await;
    assert_eq!(restore(&domain, &empty).await.unwrap(), vec![0; 1 << 20]);
}

#[tokio::test]
async fn a_change_is_small_and_no_change_is_nothing() {
    let domain = memory_domain(2, Options::default()).await;
    let data = noise(1, 8 << 20);
    let (base, first) = write(&domain, None, 64 * MIB, &[(0, &data)]).await;
    let (same, stats) = write(&domain, Some(&base), 64 * MIB, &[(MIB, &data[1 << 20..2 << 20])]).await;
    assert_eq!(same, base);
    assert_eq!((stats.stored_bytes, stats.new_blocks), (0, 0));
    let (next, stats) = write(&domain, Some(&base), 64 * MIB, &[(MIB, &noise(9, BLOCK))]).await;
    assert_eq!(stats.new_blocks, 1);
    assert!(stats.stored_bytes < 6000 && first.stored_bytes > 8 << 20, "{stats:?}");
    assert_eq!(domain.diff(&base, &next, 512 << 10, 0, 10).await.unwrap(), [2]);
}

#[tokio::test]
async fn a_published_root_is_loaded_and_never_replaced() {
    let domain = memory_domain(3, small()).await;
    let (a, _) = write(&domain, None, MIB, &[(0, &noise(1, BLOCK))]).await;
    let (b, _) = write(&domain, Some(&a), MIB, &[(0, &noise(2, BLOCK))]).await;
    assert_eq!(domain.load("k/1").await.unwrap_err().kind(), ErrorKind::NotFound);
    domain.publish("k/1", &a, None).await.unwrap();
    domain.publish("k/1", &a, None).await.unwrap();
    assert_eq!(domain.publish("k/1", &b, Some(&a)).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(domain.load("k/1").await.unwrap(), a);
}

#[tokio::test]
async fn a_retracted_name_is_gone_and_what_it_named_stays() {
    let domain = memory_domain(3, small()).await;
    let (a, _) = write(&domain, None, MIB, &[(0, &noise(1, BLOCK))]).await;
    domain.publish("k/1", &a, None).await.unwrap();
    domain.publish("k/2", &a, None).await.unwrap();
    domain.retract("k/1").await.unwrap();
    domain.retract("k/1").await.unwrap();
    assert_eq!(domain.load("k/1").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(domain.load("k/2").await.unwrap(), a);
    assert_eq!(read_all(&domain, &a).await.unwrap()[..BLOCK], noise(1, BLOCK));
}

#[tokio::test]
async fn calls_that_make_no_sense_are_invalid() {
    let domain = memory_domain(4, small()).await;
    let kind = |result: blockstore::Result<()>| result.unwrap_err().kind();
    assert_eq!(domain.writer(None, 100).await.unwrap_err().kind(), ErrorKind::Invalid);
    let mut writer = domain.writer(None, MIB).await.unwrap();
    assert_eq!(kind(writer.write(1, &[1; BLOCK]).await), ErrorKind::Invalid);
    assert_eq!(kind(writer.write(0, &[1; 5]).await), ErrorKind::Invalid);
    assert_eq!(kind(writer.write(MIB, &[1; BLOCK]).await), ErrorKind::Invalid);
    assert_eq!(kind(writer.zero(MIB, u64::MAX - 4095).await), ErrorKind::Invalid);
    let (root, _) = writer.commit().await.unwrap();
    let reader = domain.reader(&root).await.unwrap();
    assert_eq!(kind(reader.read_at(MIB - 1, &mut [0; 2]).await), ErrorKind::Invalid);
    assert_eq!(domain.writer(Some(&root), 4096).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(reader.present(0, 0, 1).await.unwrap_err().kind(), ErrorKind::Invalid);
    let stranger = open(&objects(), 1, small()).await.domain("x", &secret(1));
    assert_eq!(stranger.reader(&root).await.unwrap_err().kind(), ErrorKind::Invalid);
}

/// Callers nest these futures; large ones would overflow small stacks.
fn assert_send<T: Send>(value: T) -> T {
    assert!(size_of_val(&value) < 10_000);
    value
}

#[tokio::test]
async fn every_future_is_small_and_can_move_between_threads() {
    let domain = memory_domain(5, small()).await;
    let mut writer = assert_send(domain.writer(None, 8 * MIB)).await.unwrap();
    assert_send(writer.write(0, &[1; BLOCK])).await.unwrap();
    assert_send(writer.zero(0, 8 * MIB)).await.unwrap();
    let (root, _) = assert_send(writer.commit()).await.unwrap();
    let reader = assert_send(domain.reader(&root)).await.unwrap();
    assert_send(reader.read_at(0, &mut [0; 10])).await.unwrap();
    assert_send(reader.present(4096, 0, 1)).await.unwrap();
    assert_send(domain.diff(&root, &root, 4096, 0, 1)).await.unwrap();
    assert_send(domain.publish("a", &root, None)).await.unwrap();
    assert_send(domain.verify(&root)).await.unwrap();
    assert_send(domain.copy_from(&domain, &root, None)).await.unwrap();
}
