//! Makes the rows of snapshots and images anew from the store alone, after the database was lost.

use std::collections::{BTreeMap, BTreeSet};

use blockstore::{Domain, DomainSecret, Root, Store};
use metastore::{Metastore, Tx};
use model::{
    AccessKey, AccountId, Image, Region, ResourceType, Snapshot, SnapshotId, SnapshotOrigin, SnapshotState,
    Tag, Timestamp,
};

use super::record::{Content, Record};
use crate::failure::Failure;
use crate::spine::accounts::{FIRST_ACCOUNT, account_insert, new_key};
use crate::spine::env::Env;
use crate::spine::resources::domains::service_domain;

/// An account that clients still have the key of.
#[derive(Debug, Clone)]
pub struct KnownAccount {
    pub name: String,
    pub key: AccessKey,
}

/// What was made anew, and what could not be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    pub accounts: u64,
    pub images: u64,
    pub snapshots: u64,
    /// Of these: snapshots of which the store had the content, and no record.
    pub bare_snapshots: u64,
    /// One line for each thing that was left out, and why.
    pub left_out: Vec<String>,
}

/// What one domain of the store holds.
struct Found {
    account_id: AccountId,
    region: Region,
    secret: [u8; 32],
    snapshots: Vec<(Snapshot, Vec<Tag>)>,
    images: Vec<(Image, Vec<Tag>)>,
}

/// Fills a database without accounts, in one transaction. None where it has some: nothing is lost then.
pub async fn rebuild(
    metastore: &Metastore,
    store: &Store,
    env: &Env,
    secret_of: impl Fn(&str) -> [u8; 32],
    known: Vec<KnownAccount>,
) -> Result<Option<Rebuilt>, Failure> {
    let mut rebuilt = Rebuilt::default();
    let mut found = Vec::new();
    for name in store.domain_ids().await? {
        let secret = secret_of(&name);
        let domain = store.domain(&name, &DomainSecret::new(secret));
        match parse_domain(&name) {
            Some((account_id, region)) => {
                let mut of_domain =
                    Found { account_id, region, secret, snapshots: Vec::new(), images: Vec::new() };
                read(&domain, &mut of_domain, &mut rebuilt).await?;
                found.push(of_domain);
            }
            None => rebuilt.left_out.push(format!("the domain {name}: it is no account's")),
        }
    }
    let mut tx = metastore.write().await?;
    if !tx.accounts().await?.is_empty() {
        return Ok(None);
    }
    accounts(&mut tx, env, &found, known, &mut rebuilt).await?;
    for of_domain in found {
        insert(&mut tx, of_domain, &mut rebuilt).await?;
    }
    tx.commit().await?;
    Ok(Some(rebuilt))
}

fn parse_domain(name: &str) -> Option<(AccountId, Region)> {
    let (account_id, region) = name.split_once('.')?;
    Some((account_id.parse().ok()?, region.parse().ok()?))
}

async fn read(domain: &Domain, found: &mut Found, rebuilt: &mut Rebuilt) -> Result<(), Failure> {
    let mut records = BTreeMap::new();
    for key in domain.records().await? {
        let read = domain.record(&key).await.map_err(|e| explain(&e));
        match read.and_then(|bytes| Record::decode(&bytes)) {
            Ok(record) => drop(records.insert(key, record)),
            Err(why) => rebuilt.left_out.push(format!("the record of {key}: {why}")),
        }
    }
    for (key, stored) in domain.published().await? {
        let Ok(id) = key.parse::<SnapshotId>() else { continue };
        match snapshot(domain, found, id, stored, records.remove(&key)).await {
            Ok((snapshot, tags, is_bare)) => {
                rebuilt.bare_snapshots += u64::from(is_bare);
                found.snapshots.push((snapshot, tags));
            }
            Err(why) => rebuilt.left_out.push(format!("the snapshot {key}: {why}")),
        }
    }
    for (key, Record { tags, content }) in records {
        match content {
            Content::Image(image) if (&image.owner_id, image.region) == (&found.account_id, found.region) => {
                found.images.push((*image, tags));
            }
            Content::Image(_) => rebuilt.left_out.push(format!("the image {key}: it is another account's")),
            // Deleted, and the record was not removed yet; or its name in the store is lost.
            Content::Snapshot(_) => {
                rebuilt.left_out.push(format!("the snapshot {key}: its content has no name in the store"));
            }
        }
    }
    Ok(())
}

fn explain(error: &blockstore::Error) -> String {
    crate::spine::dispatcher::chain(error)
}

/// Whether it is bare: nothing is known but its content.
async fn snapshot(
    domain: &Domain,
    found: &Found,
    snapshot_id: SnapshotId,
    stored: Timestamp,
    record: Option<Record>,
) -> Result<(Snapshot, Vec<Tag>, bool), String> {
    let root = domain.load(snapshot_id.as_str()).await.map_err(|e| explain(&e))?;
    if let Some(Record { tags, content: Content::Snapshot(snapshot) }) = record {
        if snapshot.root.as_deref() == Some(root.to_string().as_str()) && snapshot.snapshot_id == snapshot_id
        {
            return Ok((*snapshot, tags, false));
        }
        return Err("its record is of another disk".to_owned());
    }
    let full_size_bytes = domain.reader(&root).await.map_err(|e| explain(&e))?.full_size_bytes();
    Ok((bare(found, snapshot_id, stored, &root, full_size_bytes), Vec::new(), true))
}

fn bare(
    found: &Found,
    snapshot_id: SnapshotId,
    stored: Timestamp,
    root: &Root,
    full_size_bytes: u64,
) -> Snapshot {
    Snapshot {
        snapshot_id,
        owner_id: found.account_id.clone(),
        region: found.region,
        volume_id: Snapshot::no_volume(),
        state: SnapshotState::Completed,
        state_message: None,
        start_time: stored,
        completion_time: Some(stored),
        progress_percent: 100,
        description: "Found in the store after the database was lost".to_owned(),
        volume_size_gib: u32::try_from(root.size_bytes().div_ceil(1 << 30)).unwrap_or(u32::MAX),
        full_snapshot_size_bytes: Some(full_size_bytes),
        origin: SnapshotOrigin::Volume { checkpoint: None },
        domain: service_domain(&found.account_id, found.region),
        root: Some(root.to_string()),
    }
}

/// Those that clients still have keys of keep names and keys; for the others there are new ones.
async fn accounts(
    tx: &mut Tx,
    env: &Env,
    found: &[Found],
    known: Vec<KnownAccount>,
    rebuilt: &mut Rebuilt,
) -> Result<(), Failure> {
    let mut lost: BTreeSet<AccountId> = found.iter().map(|found| found.account_id.clone()).collect();
    let mut has_first = false;
    for KnownAccount { name, key } in known {
        let account_id = key.account_id.clone();
        if tx.account_get(&account_id).await?.is_some() || tx.account_by_name(&name).await?.is_some() {
            continue;
        }
        has_first |= name == FIRST_ACCOUNT;
        lost.remove(&account_id);
        account_insert(tx, env, &name, key).await?;
        rebuilt.accounts += 1;
    }
    for account_id in lost {
        let name = if has_first { format!("recovered-{account_id}") } else { FIRST_ACCOUNT.to_owned() };
        has_first = true;
        account_insert(tx, env, &name, new_key(env, &account_id)).await?;
        rebuilt.accounts += 1;
    }
    Ok(())
}

async fn insert(tx: &mut Tx, found: Found, rebuilt: &mut Rebuilt) -> Result<(), Failure> {
    let Found { account_id, region, secret, snapshots, images } = found;
    let domain = service_domain(&account_id, region);
    tx.domain_insert(&metastore::Domain { domain, account_id: account_id.clone(), region, secret }).await?;
    let mut present = BTreeSet::new();
    for (snapshot, tags) in snapshots {
        tx.snapshot_insert(&snapshot).await?;
        let id = snapshot.snapshot_id;
        for tag in &tags {
            tx.tag_put(&account_id, region, ResourceType::Snapshot, id.as_str(), tag).await?;
        }
        rebuilt.snapshots += 1;
        present.insert(id);
    }
    for (image, tags) in images {
        if let Some(gone) = image.snapshot_ids().find(|id| !present.contains(id)) {
            rebuilt.left_out.push(format!("the image {}: its snapshot {gone} is lost", image.image_id));
            continue;
        }
        tx.image_insert(&image).await?;
        for tag in &tags {
            tx.tag_put(&account_id, region, ResourceType::Image, image.image_id.as_str(), tag).await?;
        }
        rebuilt.images += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use testkit::World;

    use super::*;

    /// The world's, as this build of the crate knows it.
    fn env(world: &World) -> Env {
        let (clock, ids) = (world.clock.clone(), world.ids.clone());
        let domain_master = world.env.domain_master;
        Env { clock, ids, token_key: [0; 32], domain_master, endpoint: String::new() }
    }

    async fn rebuilt(world: &World, known: Vec<KnownAccount>) -> (Metastore, Rebuilt) {
        let metastore = Metastore::in_memory(Arc::clone(&world.env.clock)).await.unwrap();
        let secret_of = |name: &str| *DomainSecret::derive(&world.env.domain_master, name).expose();
        let done = rebuild(&metastore, &world.store, &env(world), secret_of, known.clone()).await.unwrap();
        let again = rebuild(&metastore, &world.store, &env(world), secret_of, known).await.unwrap();
        assert_eq!(again, None, "a database with accounts is not lost");
        (metastore, done.unwrap())
    }

    async fn known(world: &World) -> Vec<KnownAccount> {
        let mut tx = world.metastore.read().await.unwrap();
        let mut known = Vec::new();
        for account in tx.accounts().await.unwrap() {
            let key = tx.access_keys_of(&account.account_id).await.unwrap().remove(0);
            known.push(KnownAccount { name: account.name, key });
        }
        known
    }

    /// Everything of images, snapshots and their tags, as it can be compared.
    async fn nouns(metastore: &Metastore) -> String {
        let mut tx = metastore.read().await.unwrap();
        let (mut images, mut snapshots) =
            (tx.images().await.unwrap(), tx.snapshots_in_state(SnapshotState::Completed).await.unwrap());
        images.sort_by(|a, b| a.image_id.cmp(&b.image_id));
        snapshots.sort_by(|a, b| a.snapshot_id.cmp(&b.snapshot_id));
        let mut tags = Vec::new();
        for image in &images {
            tags.extend(tx.tags_of(image.image_id.as_str()).await.unwrap());
        }
        let accounts = tx.accounts().await.unwrap();
        let names: Vec<_> = accounts.iter().map(|it| (&it.account_id, &it.name)).collect();
        format!("{images:#?}{snapshots:#?}{tags:?}{names:?}")
    }

    async fn scene() -> (World, String) {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let tag = [("ResourceId.1", image.as_str()), ("Tag.1.Key", "colour"), ("Tag.1.Value", "red")];
        world.call("CreateTags", &tag).await.ok();
        let share = [("ImageId", image.as_str()), ("LaunchPermission.Add.1.Group", "all")];
        world.call("ModifyImageAttribute", &share).await.ok();
        let other = world.account("other").await;
        world.seed_image_of(&other, "theirs", b"y").await;
        let copy = [("SourceImageId", image.as_str()), ("SourceRegion", "us-east-1"), ("Name", "copied")];
        world.call_as(&world.owner, "eu-west-1", "CopyImage", &copy).await.ok();
        let gone = world.seed_image("gone", b"z").await;
        world.call("DeregisterImage", &[("ImageId", &gone)]).await.ok();
        world.settle().await;
        crate::upkeep::record::keep_records(&world.metastore, &env(&world)).await.unwrap();
        world.settle().await;
        (world, image)
    }

    #[tokio::test]
    async fn all_images_and_snapshots_come_back_as_they_were() {
        let (world, _) = scene().await;
        let (metastore, rebuilt) = rebuilt(&world, known(&world).await).await;
        assert_eq!(nouns(&metastore).await, nouns(&world.metastore).await);
        assert_eq!((rebuilt.accounts, rebuilt.images, rebuilt.snapshots), (2, 3, 4));
        assert_eq!((rebuilt.bare_snapshots, rebuilt.left_out), (0, Vec::new()));
    }

    #[tokio::test]
    async fn without_records_and_keys_the_content_comes_back() {
        let (world, _) = scene().await;
        world.tamper("record", |_, _| None).await;
        let (metastore, rebuilt) = rebuilt(&world, Vec::new()).await;
        assert_eq!((rebuilt.accounts, rebuilt.images), (2, 0));
        assert_eq!((rebuilt.snapshots, rebuilt.bare_snapshots), (4, 4));
        let mut tx = metastore.read().await.unwrap();
        for account in tx.accounts().await.unwrap() {
            assert!(
                account.name == FIRST_ACCOUNT || account.name == format!("recovered-{}", account.account_id)
            );
            assert_eq!(tx.access_keys_of(&account.account_id).await.unwrap().len(), 1);
        }
        for found in tx.snapshots_in_state(SnapshotState::Completed).await.unwrap() {
            let mut old = world.metastore.read().await.unwrap();
            let old = old.snapshot_get(&found.snapshot_id).await.unwrap().unwrap();
            assert_eq!((found.root, found.owner_id, found.region), (old.root, old.owner_id, old.region));
            assert_eq!(found.full_snapshot_size_bytes, old.full_snapshot_size_bytes);
            assert_eq!(found.volume_size_gib, old.volume_size_gib);
        }
    }

    #[tokio::test]
    async fn damaged_objects_are_left_out_and_told() {
        let (world, image) = scene().await;
        let damage = |path: &str, mut bytes: Vec<u8>| {
            if path.ends_with(&image) {
                bytes[60] ^= 1;
            }
            Some(bytes)
        };
        world.tamper("record", damage).await;
        let mut is_first = true;
        world.tamper("snap", |_, bytes| (!std::mem::take(&mut is_first)).then_some(bytes)).await;
        let (_, rebuilt) = rebuilt(&world, known(&world).await).await;
        assert_eq!(rebuilt.snapshots, 3);
        assert!(rebuilt.left_out.iter().any(|line| line.contains(&format!("the record of {image}"))));
        assert!(rebuilt.left_out.iter().any(|line| line.contains("no name in the store")));
    }

    #[tokio::test]
    async fn another_master_secret_opens_nothing() {
        let (world, _) = scene().await;
        let metastore = Metastore::in_memory(Arc::clone(&world.env.clock)).await.unwrap();
        let done =
            rebuild(&metastore, &world.store, &env(&world), |_| [1; 32], Vec::new()).await.unwrap().unwrap();
        assert_eq!((done.images, done.snapshots), (0, 0));
        assert!(!done.left_out.is_empty());
    }
}
