use blockstore::Options;

use crate::support::{BLOCK, MIB, memory_domain, noise, objects, open, secret, write};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_image_stores_only_what_changed_even_after_a_restart() {
    let bucket = objects();
    let mut image = noise(1, 24 << 20);
    let first = open(&bucket, 1, Options::default()).await.domain("d", &secret(1));
    let (_, stats) = write(&first, None, 32 * MIB, &[(0, &image)]).await;
    assert!(stats.stored_bytes > 24 * MIB && stats.packs == 2, "{stats:?}");
    // An edit, and everything after 10 MiB moved by 3 blocks, as a rebuilt file system does.
    image[5 << 20..][..BLOCK].fill(7);
    let moved = [&image[..10 << 20], &noise(2, 3 * BLOCK), &image[10 << 20..]].concat();
    for domain in [first, open(&bucket, 2, Options::default()).await.domain("d", &secret(1))] {
        let (root, stats) = write(&domain, None, 32 * MIB, &[(0, &moved)]).await;
        assert!(stats.new_blocks <= 4 && stats.stored_bytes < 40 << 10, "{stats:?}");
        assert_eq!(crate::support::read_all(&domain, &root).await.unwrap()[..moved.len()], moved);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_far_below_the_data_still_finds_nearly_everything() {
    let options = Options { index_entries_max: 200, pack_bytes: 1 << 20, ..Options::default() };
    let bucket = objects();
    let image = noise(1, 12 << 20);
    let domain = open(&bucket, 1, options.clone()).await.domain("d", &secret(1));
    write(&domain, None, 12 * MIB, &[(0, &image)]).await;
    let domain = open(&bucket, 2, options).await.domain("d", &secret(1));
    let (_, stats) = write(&domain, None, 12 * MIB, &[(0, &image)]).await;
    assert!(stats.new_blocks < 3072 / 10, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_neighbourhood_of_the_base_is_known_beyond_the_seed() {
    let options = Options { index_seed_packs_max: 0, ..Options::default() };
    let bucket = objects();
    let image = noise(1, 4 << 20);
    let domain = open(&bucket, 1, options.clone()).await.domain("d", &secret(1));
    let (base, _) = write(&domain, None, 8 * MIB, &[(0, &image)]).await;
    let domain = open(&bucket, 2, options).await.domain("d", &secret(1));
    let (_, stats) = write(&domain, Some(&base), 8 * MIB, &[(BLOCK as u64, &image[..2 << 20])]).await;
    assert_eq!(stats.new_blocks, 0, "{stats:?}");
}

#[tokio::test]
async fn repeats_inside_one_upload_are_stored_once_and_zeros_never() {
    let domain = memory_domain(1, Options::default()).await;
    let once = noise(1, 40 * BLOCK);
    let image = [once.clone(), vec![0; 100 * BLOCK], once.clone(), once].concat();
    let (root, stats) = write(&domain, None, 4 * MIB, &[(0, &image)]).await;
    assert_eq!((stats.new_blocks, stats.bytes_written), (40, 120 * BLOCK as u64));
    let reader = domain.reader(&root).await.unwrap();
    let present = reader.present(BLOCK as u64, 0, 1000).await.unwrap();
    assert!(present.into_iter().eq((0..40).chain(140..220)));
}

#[tokio::test]
async fn domains_share_nothing() {
    let store = open(&objects(), 1, Options::default()).await;
    let image = noise(1, 20 * BLOCK);
    let (a, b) = (store.domain("a", &secret(1)), store.domain("b", &secret(2)));
    let (root, _) = write(&a, None, MIB, &[(0, &image)]).await;
    let (_, stats) = write(&b, None, MIB, &[(0, &image)]).await;
    assert_eq!(stats.new_blocks, 20);
    assert!(b.reader(&root).await.is_err());
    assert!(b.reader(&root.to_string().replace(".a", ".b").parse().unwrap()).await.is_err());
    // Another secret for the same name finds nothing either, not even in warm caches.
    a.reader(&root).await.unwrap();
    assert!(store.domain("a", &secret(2)).reader(&root).await.is_err());
}

/// Sizes on the measure of one small edit in a large image.
#[tokio::test(flavor = "multi_thread")]
async fn an_increment_costs_its_blocks_and_a_few_kilobytes() {
    let domain = memory_domain(1, Options::default()).await;
    let (base, _) =
        write(&domain, None, 1 << 40, &[(0, &noise(1, 40 << 20)), (900 << 30, &noise(2, 1 << 20))]).await;
    let edits: Vec<(u64, Vec<u8>)> = (0..8).map(|i| (i * 4 * MIB + MIB, noise(100 + i, 2 * BLOCK))).collect();
    let parts: Vec<(u64, &[u8])> = edits.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
    let (next, stats) = write(&domain, Some(&base), 1 << 40, &parts).await;
    assert_eq!((stats.new_blocks, stats.packs), (16, 1));
    assert!(stats.node_bytes < 2048, "{stats:?}");
    assert!(stats.stored_bytes < 16 * BLOCK as u64 + 3500, "{stats:?}");
    assert_eq!(domain.diff(&base, &next, 4 * MIB, 0, 100).await.unwrap().len(), 8);
}
