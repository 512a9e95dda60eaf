use std::time::Duration;

use metastore::ErrorKind;
use model::{Clock, Image, ImageId, ImageState, LaunchPermission, SnapshotId, SystemClock};

use crate::nouns::{image, mapping};
use crate::{START, World, account, tokyo, virginia};

pub(crate) async fn an_image_round_trips(world: World) {
    let mut wanted = image(&world.ids, account(1), tokyo(), "base");
    let mut tx = world.write().await;
    tx.image_insert(&wanted).await.unwrap();
    assert_eq!(tx.image_get(&wanted.image_id).await.unwrap().as_ref(), Some(&wanted));
    assert_eq!(tx.image_insert(&wanted).await.unwrap_err().kind, ErrorKind::Conflict);
    wanted.state = ImageState::Disabled;
    wanted.description = None;
    tx.image_update(&wanted).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.read().await;
    assert_eq!(tx.image_get(&wanted.image_id).await.unwrap(), Some(wanted));
    assert_eq!(tx.image_get(&ImageId::generate(&world.ids)).await.unwrap(), None);
}

pub(crate) async fn names_are_unique_in_an_owners_region(world: World) {
    let first = image(&world.ids, account(1), tokyo(), "base");
    let mut tx = world.write().await;
    tx.image_insert(&first).await.unwrap();
    tx.image_insert(&image(&world.ids, account(2), tokyo(), "base")).await.unwrap();
    tx.image_insert(&image(&world.ids, account(1), virginia(), "base")).await.unwrap();
    tx.image_insert(&image(&world.ids, account(1), tokyo(), "Base")).await.unwrap();
    let taken = tx.image_insert(&image(&world.ids, account(1), tokyo(), "base")).await;
    assert_eq!(taken.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tx.image_by_name(&account(1), tokyo(), "base").await.unwrap(), Some(first.clone()));
    assert_eq!(tx.image_count(&account(1), tokyo()).await.unwrap(), 2);
    assert!(tx.image_delete(&first.image_id).await.unwrap());
    assert_eq!(tx.image_by_name(&account(1), tokyo(), "base").await.unwrap(), None);
    tx.image_insert(&image(&world.ids, account(1), tokyo(), "base")).await.unwrap();
}

fn ids_of(images: &[Image]) -> Vec<&str> {
    images.iter().map(|image| image.name.as_str()).collect()
}

pub(crate) async fn visible_images_are_owned_public_or_shared(world: World) {
    let mut tx = world.write().await;
    let everybody = LaunchPermission::All;
    let to_one = LaunchPermission::Account(account(1));
    for (n, (owner, name, permissions)) in [
        (1, "own", vec![]),
        (1, "own public", vec![everybody.clone(), to_one.clone()]),
        (2, "private", vec![]),
        (2, "public", vec![everybody.clone()]),
        (2, "shared", vec![to_one.clone()]),
        (2, "shared with another", vec![LaunchPermission::Account(account(3))]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut image = image(&world.ids, account(owner), tokyo(), name);
        image.launch_permissions = permissions;
        image.creation_date = START.plus(Duration::from_secs(100 - n as u64));
        tx.image_insert(&image).await.unwrap();
    }
    let mut elsewhere = image(&world.ids, account(1), virginia(), "elsewhere");
    elsewhere.launch_permissions = vec![everybody];
    tx.image_insert(&elsewhere).await.unwrap();
    let visible = tx.images_visible(&account(1), tokyo()).await.unwrap();
    assert_eq!(ids_of(&visible), ["shared", "public", "own public", "own"]);
    let visible = tx.images_visible(&account(4), tokyo()).await.unwrap();
    assert_eq!(ids_of(&visible), ["public", "own public"]);
    let owned = tx.images_owned(&account(1), tokyo()).await.unwrap();
    assert_eq!(ids_of(&owned), ["own public", "own"]);
}

pub(crate) async fn permissions_follow_the_noun(world: World) {
    let mut image = image(&world.ids, account(1), tokyo(), "base");
    let mut tx = world.write().await;
    tx.image_insert(&image).await.unwrap();
    let nobody: Vec<LaunchPermission> = vec![];
    let one = LaunchPermission::Account(account(2));
    let other = LaunchPermission::Account(account(3));
    for permissions in [vec![one.clone(), one.clone()], vec![other, one], vec![LaunchPermission::All], nobody]
    {
        image.launch_permissions = permissions;
        tx.image_update(&image).await.unwrap();
        for n in [2, 3, 4] {
            let visible = !tx.images_visible(&account(n), tokyo()).await.unwrap().is_empty();
            assert_eq!(visible, image.may_be_launched_by(&account(n)), "account {n}: {image:?}");
        }
    }
}

pub(crate) async fn a_deleted_image_leaves_a_tombstone(world: World) {
    let mut image = image(&world.ids, account(1), tokyo(), "base");
    image.launch_permissions = vec![LaunchPermission::All];
    let mut tx = world.write().await;
    tx.image_insert(&image).await.unwrap();
    assert_eq!(tx.image_tombstone(&image.image_id).await.unwrap(), None);
    world.advance(60);
    assert!(tx.image_delete(&image.image_id).await.unwrap());
    assert!(!tx.image_delete(&image.image_id).await.unwrap());
    assert_eq!(tx.image_get(&image.image_id).await.unwrap(), None);
    assert_eq!(tx.images_visible(&account(2), tokyo()).await.unwrap(), []);
    let tombstone = tx.image_tombstone(&image.image_id).await.unwrap().unwrap();
    assert_eq!(tombstone.owner_id, account(1));
    assert_eq!(tombstone.region, tokyo());
    assert_eq!(tombstone.deregistration_time, world.clock.now());
    assert_eq!(tx.image_tombstone(&ImageId::generate(&world.ids)).await.unwrap(), None);
}

pub(crate) async fn images_are_found_by_snapshot(world: World) {
    let snapshot = SnapshotId::generate(&world.ids);
    let mut image = image(&world.ids, account(1), tokyo(), "base");
    image.block_device_mappings = vec![mapping(snapshot.clone()), mapping(SnapshotId::generate(&world.ids))];
    let mut tx = world.write().await;
    tx.image_insert(&image).await.unwrap();
    assert_eq!(tx.images_using_snapshot(&snapshot).await.unwrap(), [image.clone()]);
    image.block_device_mappings.remove(0);
    tx.image_update(&image).await.unwrap();
    assert_eq!(tx.images_using_snapshot(&snapshot).await.unwrap(), []);
    let used = image.snapshot_ids().next().unwrap().clone();
    assert_eq!(tx.images_using_snapshot(&used).await.unwrap().len(), 1);
    tx.image_delete(&image.image_id).await.unwrap();
    assert_eq!(tx.images_using_snapshot(&used).await.unwrap(), []);
}

pub(crate) async fn updating_a_missing_image_is_not_found(world: World) {
    let image = image(&world.ids, account(1), tokyo(), "base");
    let mut tx = world.write().await;
    let error = tx.image_update(&image).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert_eq!(error.to_string(), format!("update {} in images", image.image_id));
}

/// Prints how long a large account waits; the number depends on the machine, so nothing is asserted of it.
pub(crate) async fn ten_thousand_visible_images(world: World) {
    const OWNED: usize = 9000;
    const PUBLIC: usize = 1000;
    let clock = SystemClock::new();
    let mut tx = world.write().await;
    for n in 0..OWNED + PUBLIC {
        let owner = if n < OWNED { account(1) } else { account(2) };
        let mut image = image(&world.ids, owner, tokyo(), &format!("image {n}"));
        if n >= OWNED {
            image.launch_permissions = vec![LaunchPermission::All];
        }
        tx.image_insert(&image).await.unwrap();
    }
    tx.commit().await.unwrap();
    let inserted = clock.monotonic();
    let mut tx = world.read().await;
    let visible = tx.images_visible(&account(1), tokyo()).await.unwrap();
    assert_eq!(visible.len(), OWNED + PUBLIC);
    let listed = clock.monotonic();
    drop(tx);
    world.metastore.reset(metastore::Keep::Identity).await.unwrap();
    assert_eq!(world.read().await.images_visible(&account(1), tokyo()).await.unwrap(), []);
    let reset = clock.monotonic();
    let (list, reset) = (listed.saturating_sub(inserted), reset.saturating_sub(listed));
    eprintln!("10,000 images: insert {inserted:?}, list {list:?}, reset {reset:?}");
}
