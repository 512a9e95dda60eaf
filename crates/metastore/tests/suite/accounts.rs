use metastore::{Domain, ErrorKind};
use model::{AccessKey, Account};

use crate::{START, World, account, tokyo, virginia};

pub(crate) fn named(n: u32, name: &str) -> Account {
    Account { account_id: account(n), name: name.to_owned(), create_time: START }
}

pub(crate) async fn names_and_ids_are_unique(world: World) {
    let mut tx = world.write().await;
    tx.account_insert(&named(2, "default")).await.unwrap();
    tx.account_insert(&named(1, "other")).await.unwrap();
    assert_eq!(tx.account_insert(&named(1, "third")).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tx.account_insert(&named(3, "default")).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tx.account_get(&account(2)).await.unwrap(), Some(named(2, "default")));
    assert_eq!(tx.account_by_name("other").await.unwrap(), Some(named(1, "other")));
    assert_eq!(tx.account_by_name("third").await.unwrap(), None);
    assert_eq!(tx.accounts().await.unwrap(), [named(1, "other"), named(2, "default")]);
}

pub(crate) fn key(id: &str, n: u32) -> AccessKey {
    AccessKey {
        access_key_id: id.to_owned(),
        secret_access_key: format!("secret of {id}"),
        account_id: account(n),
        create_time: START,
    }
}

pub(crate) async fn access_keys_belong_to_accounts(world: World) {
    let mut tx = world.write().await;
    assert_eq!(tx.access_key_insert(&key("AK1", 1)).await.unwrap_err().kind, ErrorKind::Invalid);
    tx.account_insert(&named(1, "default")).await.unwrap();
    tx.access_key_insert(&key("AK2", 1)).await.unwrap();
    tx.access_key_insert(&key("AK1", 1)).await.unwrap();
    assert_eq!(tx.access_key_insert(&key("AK1", 1)).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tx.access_key_get("AK1").await.unwrap(), Some(key("AK1", 1)));
    assert_eq!(tx.access_key_get("ak1").await.unwrap(), None);
    assert_eq!(tx.access_keys_of(&account(1)).await.unwrap(), [key("AK1", 1), key("AK2", 1)]);
    assert_eq!(tx.access_keys_of(&account(2)).await.unwrap(), []);
}

pub(crate) fn domain() -> Domain {
    Domain { domain: "d-1".to_owned(), account_id: account(1), region: tokyo(), secret: [0xa5; 32] }
}

pub(crate) async fn domains_keep_their_secrets(world: World) {
    let mut tx = world.write().await;
    tx.account_insert(&named(1, "default")).await.unwrap();
    let domain = domain();
    tx.domain_insert(&domain).await.unwrap();
    assert_eq!(tx.domain_insert(&domain).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tx.domain_get("d-1").await.unwrap(), Some(domain.clone()));
    assert_eq!(tx.domain_get("d-2").await.unwrap(), None);
    assert!(!format!("{domain:?}").contains("165"), "{domain:?}");
    assert_eq!(tx.domains_of(&account(1), tokyo()).await.unwrap(), [domain]);
    assert_eq!(tx.domains_of(&account(1), virginia()).await.unwrap(), []);
}

pub(crate) async fn settings_are_replaced(world: World) {
    let mut tx = world.write().await;
    assert_eq!(tx.setting_get("store_id").await.unwrap(), None);
    tx.setting_set("store_id", "one").await.unwrap();
    tx.setting_set("store_id", "two").await.unwrap();
    assert_eq!(tx.setting_get("store_id").await.unwrap().as_deref(), Some("two"));
}
