use metastore::{ErrorKind, ImageKey, ImageSearch, Tx, Whose};
use model::tag::ResourceType;
use model::{
    AccountId, Clock, Image, ImageId, ImageState, LaunchPermission, Region, SnapshotId, SystemClock, Tag,
};

use crate::nouns::{image, mapping};
use crate::{World, account, tokyo, virginia};

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

/// Everything that the account may see in the region.
pub(crate) async fn visible(tx: &mut Tx, account: &AccountId, region: Region) -> Vec<Image> {
    let search = ImageSearch { account, region, whose: Whose::Anyones, having: &[] };
    tx.images_search(&search, None, usize::MAX).await.unwrap()
}

/// The names of the images by pages of two, sorted; the pages are in order of the ids.
async fn found(tx: &mut Tx, search: &ImageSearch<'_>) -> Vec<String> {
    let mut images: Vec<Image> = Vec::new();
    loop {
        let last = images.last().map(|image| image.image_id.to_string());
        let page = tx.images_search(search, last.as_deref(), 2).await.unwrap();
        let is_last = page.len() < 2;
        images.extend(page);
        if is_last {
            break;
        }
    }
    assert!(images.is_sorted_by(|a, b| a.image_id < b.image_id), "{search:?}");
    let mut names: Vec<String> = images.into_iter().map(|image| image.name).collect();
    names.sort_unstable();
    names
}

/// Images of accounts 1 and 2 in Tokyo, each shared as its name says, and a public one elsewhere.
async fn shared_images(world: &World, tx: &mut Tx) {
    let everybody = LaunchPermission::All;
    let to_one = LaunchPermission::Account(account(1));
    for (owner, name, permissions) in [
        (1, "own", vec![]),
        (1, "own public", vec![everybody.clone(), to_one.clone()]),
        (2, "private", vec![]),
        (2, "public", vec![everybody.clone()]),
        (2, "shared", vec![to_one.clone()]),
        (2, "shared with another", vec![LaunchPermission::Account(account(3))]),
    ] {
        let mut image = image(&world.ids, account(owner), tokyo(), name);
        image.launch_permissions = permissions;
        tx.image_insert(&image).await.unwrap();
    }
    let mut elsewhere = image(&world.ids, account(1), virginia(), "elsewhere");
    elsewhere.launch_permissions = vec![everybody];
    tx.image_insert(&elsewhere).await.unwrap();
}

pub(crate) async fn visible_images_are_owned_public_or_shared(world: World) {
    let mut tx = world.write().await;
    shared_images(&world, &mut tx).await;
    for (n, whose, wanted) in [
        (1, Whose::Anyones, &["own", "own public", "public", "shared"][..]),
        (1, Whose::Own, &["own", "own public"]),
        (1, Whose::Others, &["public", "shared"]),
        (2, Whose::Others, &["own public"]),
        (4, Whose::Anyones, &["own public", "public"]),
        (4, Whose::Own, &[]),
    ] {
        let account = account(n);
        let mut search = ImageSearch { account: &account, region: tokyo(), whose, having: &[] };
        assert_eq!(found(&mut tx, &search).await, wanted, "{n} {whose:?}");
        // The same by the way that starts from the keys.
        let all = ["own", "own public", "private", "public", "shared", "shared with another", "elsewhere"];
        let named = [(ImageKey::Name, all.to_vec())];
        search.having = &named;
        assert_eq!(found(&mut tx, &search).await, wanted, "{n} {whose:?}");
    }
}

pub(crate) async fn images_are_searched_by_their_keys(world: World) {
    let mut tx = world.write().await;
    shared_images(&world, &mut tx).await;
    let owner = account(1);
    let mut own = tx.image_by_name(&owner, tokyo(), "own").await.unwrap().unwrap();
    own.state = ImageState::Disabled;
    tx.image_update(&own).await.unwrap();
    let snapshot = own.snapshot_ids().next().unwrap().to_string();
    for image in visible(&mut tx, &owner, tokyo()).await {
        // What another account notes about the image is none of this one's business.
        for (n, key) in [(1, "mine"), (2, "theirs")] {
            let tag = Tag { key: key.to_owned(), value: image.name.clone() };
            let id = image.image_id.as_str();
            tx.tag_put(&account(n), tokyo(), ResourceType::Image, id, &tag).await.unwrap();
        }
    }
    for (having, wanted) in [
        (vec![(ImageKey::Name, vec!["own", "shared", "private", "none"])], &["own", "shared"][..]),
        (vec![(ImageKey::Id, vec![own.image_id.as_str()])], &["own"]),
        (vec![(ImageKey::State, vec!["available"])], &["own public", "public", "shared"]),
        (vec![(ImageKey::State, vec!["disabled"])], &["own"]),
        (vec![(ImageKey::Snapshot, vec![&snapshot])], &["own"]),
        (vec![(ImageKey::Grantee, vec!["all"])], &["own public", "public"]),
        (vec![(ImageKey::Grantee, vec![owner.as_str()])], &["own public", "shared"]),
        (vec![(ImageKey::Grantee, vec!["000000000003"])], &[]),
        (vec![(ImageKey::Tag("mine"), vec!["own", "public"])], &["own", "public"]),
        (vec![(ImageKey::Tag("Mine"), vec!["own"])], &[]),
        (vec![(ImageKey::Tag("theirs"), vec!["own"])], &[]),
        (vec![(ImageKey::Name, vec!["own", "shared"]), (ImageKey::State, vec!["available"])], &["shared"]),
        (vec![(ImageKey::Name, vec!["own"]), (ImageKey::Name, vec!["shared"])], &[]),
        (vec![(ImageKey::Grantee, vec!["all"]), (ImageKey::Tag("mine"), vec!["public"])], &["public"]),
    ] {
        let search = ImageSearch { account: &owner, region: tokyo(), whose: Whose::Anyones, having: &having };
        assert_eq!(found(&mut tx, &search).await, wanted, "{search:?}");
    }
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
            let seen = !visible(&mut tx, &account(n), tokyo()).await.is_empty();
            assert_eq!(seen, image.may_be_launched_by(&account(n)), "account {n}: {image:?}");
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
    assert_eq!(visible(&mut tx, &account(2), tokyo()).await, []);
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
    let listing = visible(&mut tx, &account(1), tokyo()).await;
    assert_eq!(listing.len(), OWNED + PUBLIC);
    let listed = clock.monotonic();
    drop(tx);
    world.metastore.reset(metastore::Keep::Identity).await.unwrap();
    assert_eq!(visible(&mut world.read().await, &account(1), tokyo()).await, []);
    let reset = clock.monotonic();
    let (list, reset) = (listed.saturating_sub(inserted), reset.saturating_sub(listed));
    eprintln!("10,000 images: insert {inserted:?}, list {list:?}, reset {reset:?}");
}
