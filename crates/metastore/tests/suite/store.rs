use std::sync::Arc;

use futures::future::join_all;
use metastore::{AuditRow, Domain, ErrorKind, Keep, Metastore, Tx};
use model::{AccessKey, Account};

use crate::images::visible;
use crate::nouns::image;
use crate::{START, World, account, tokyo};

async fn set(tx: &mut Tx, value: &str) {
    tx.setting_set("k", value).await.unwrap();
}

async fn get(tx: &mut Tx) -> Option<String> {
    tx.setting_get("k").await.unwrap()
}

pub(crate) async fn a_dropped_transaction_leaves_nothing(world: World) {
    let before = world.metastore.dump().await.unwrap();
    let mut tx = world.write().await;
    tx.image_insert(&image(&world.ids, account(1), tokyo(), "base")).await.unwrap();
    tx.job_enqueue("k", "a", "{}").await.unwrap();
    drop(tx);
    let mut tx = world.write().await;
    set(&mut tx, "x").await;
    tx.rollback().await;
    assert_eq!(world.metastore.dump().await.unwrap(), before);
}

pub(crate) async fn a_reader_sees_one_moment(world: World) {
    let mut early = world.read().await;
    let mut writer = world.write().await;
    set(&mut writer, "new").await;
    let mut before_commit = world.read().await;
    writer.commit().await.unwrap();
    let mut after_commit = world.read().await;
    assert_eq!(get(&mut early).await, None, "though it had not read anything before the commit");
    assert_eq!(get(&mut before_commit).await, None);
    assert_eq!(get(&mut after_commit).await.as_deref(), Some("new"));
    early.commit().await.unwrap();
    assert_eq!(get(&mut world.read().await).await.as_deref(), Some("new"));
}

pub(crate) async fn readers_do_not_wait_for_the_writer(world: World) {
    let mut writer = world.write().await;
    set(&mut writer, "new").await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        readers.push(world.read().await);
    }
    for reader in &mut readers {
        assert_eq!(get(reader).await, None);
    }
    writer.commit().await.unwrap();
}

pub(crate) async fn writers_take_turns_in_order(world: World) {
    let first = world.write().await;
    let append = |n: usize| {
        let world = &world;
        async move {
            let mut tx = world.write().await;
            let text = get(&mut tx).await.unwrap_or_default();
            set(&mut tx, &format!("{text}{n}")).await;
            tx.commit().await.unwrap();
        }
    };
    let waiting = join_all((0..8).map(append));
    futures::future::join(waiting, async move { drop(first) }).await;
    assert_eq!(get(&mut world.read().await).await.as_deref(), Some("01234567"));
}

pub(crate) async fn a_read_transaction_cannot_write(world: World) {
    let mut tx = world.read().await;
    assert_eq!(tx.setting_set("k", "x").await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(get(&mut tx).await, None);
}

async fn fill(world: &World) {
    let mut tx = world.write().await;
    tx.account_insert(&Account { account_id: account(1), name: "default".to_owned(), create_time: START })
        .await
        .unwrap();
    tx.access_key_insert(&AccessKey {
        access_key_id: "AK1".to_owned(),
        secret_access_key: "hush-key".to_owned(),
        account_id: account(1),
        create_time: START,
    })
    .await
    .unwrap();
    let secret = *b"hush-domain-hush-domain-hush-dom";
    let domain = Domain { domain: "d".to_owned(), account_id: account(1), region: tokyo(), secret };
    tx.domain_insert(&domain).await.unwrap();
    tx.setting_set("page_token_key", "hush-setting").await.unwrap();
    tx.image_insert(&image(&world.ids, account(1), tokyo(), "base")).await.unwrap();
    tx.job_enqueue("k", "a", "{}").await.unwrap();
    let row = AuditRow {
        time: START,
        request_id: "r".to_owned(),
        account_id: None,
        region: None,
        action: "X".to_owned(),
        code: None,
        resource_ids: vec![],
    };
    tx.audit_insert(&row).await.unwrap();
    tx.commit().await.unwrap();
}

pub(crate) async fn reset_keeps_what_it_is_told(world: World) {
    let empty = world.metastore.dump().await.unwrap();
    fill(&world).await;
    world.metastore.reset(Keep::Identity).await.unwrap();
    let mut tx = world.read().await;
    assert!(tx.access_key_get("AK1").await.unwrap().is_some());
    assert!(tx.domain_get("d").await.unwrap().is_some());
    assert!(tx.setting_get("page_token_key").await.unwrap().is_some());
    assert_eq!(visible(&mut tx, &account(1), tokyo()).await, []);
    assert_eq!(tx.jobs_live().await.unwrap(), []);
    drop(tx);
    world.metastore.reset(Keep::Nothing).await.unwrap();
    let counted = empty.replace("last_value=0", "last_value=1");
    assert_ne!(counted, empty);
    assert_eq!(world.metastore.dump().await.unwrap(), counted, "job numbers go on");
}

pub(crate) async fn dumps_are_deterministic_and_hide_secrets(world: World) {
    fill(&world).await;
    let other = Metastore::in_memory(world.clock.clone()).await.unwrap();
    let other = World::over(other, Arc::clone(&world.clock), None);
    fill(&other).await;
    let dump = world.metastore.dump().await.unwrap();
    assert_eq!(other.metastore.dump().await.unwrap(), dump);
    assert_eq!(dump.matches("\n image_id=\"ami-").count(), 2, "the image and its snapshot: {dump}");
    assert_eq!(dump.matches("sha256:").count(), 3, "{dump}");
    assert!(!dump.contains("hush"), "{dump}");
    let mut tx = world.write().await;
    set(&mut tx, "changed").await;
    tx.commit().await.unwrap();
    assert_ne!(world.metastore.dump().await.unwrap(), dump);
}

fn is_send<T: Send>(value: T) -> T {
    value
}

pub(crate) async fn the_store_is_used_from_many_tasks(world: World) {
    const TASKS: u32 = 40;
    let tasks = (0..TASKS).map(|n| {
        let metastore = world.metastore.clone();
        tokio::spawn(is_send(async move {
            let mut tx = metastore.write().await.unwrap();
            tx.job_enqueue("k", &format!("key {n}"), "{}").await.unwrap();
            tx.commit().await.unwrap();
            let mut tx = metastore.read().await.unwrap();
            assert!(tx.job_by_key(&format!("key {n}")).await.unwrap().is_some(), "it reads its own commit");
        }))
    });
    for done in join_all(tasks).await {
        done.unwrap();
    }
    assert_eq!(world.read().await.jobs_live().await.unwrap().len(), TASKS as usize);
}
