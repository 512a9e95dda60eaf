//! What only a database in files does: it outlives the program, whatever way that ends.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use metastore::{ErrorKind, Metastore};
use model::{Image, SeededIdGen};

use crate::every_table;
use crate::images::visible;
use crate::nouns::image;
use crate::{account, clock, tokyo};

async fn open(path: &Path) -> Metastore {
    Metastore::open(path, clock()).await.unwrap()
}

async fn insert(store: &Metastore, image: &Image) {
    let mut tx = store.write().await.unwrap();
    tx.image_insert(image).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn commits_survive_a_kill_and_open_transactions_do_not() {
    let place = tempfile::tempdir().unwrap();
    let ids = SeededIdGen::new(1);
    let store = open(&place.path().join("db")).await;
    let committed = image(&ids, account(1), tokyo(), "committed");
    insert(&store, &committed).await;
    let mut tx = store.write().await.unwrap();
    tx.image_insert(&image(&ids, account(1), tokyo(), "open")).await.unwrap();

    // A kill leaves the files as they are, with no connection closed.
    let killed = tempfile::tempdir().unwrap();
    for file in ["db", "db-wal"] {
        fs::copy(place.path().join(file), killed.path().join(file)).unwrap();
    }
    let after = open(&killed.path().join("db")).await;
    let images = visible(&mut after.read().await.unwrap(), &account(1), tokyo()).await;
    assert_eq!(images, [committed]);
    let mut tx = after.write().await.unwrap();
    assert!(tx.job_enqueue("k", "a", "{}").await.unwrap());
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_store_opens_again_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("db");
    let store = open(&path).await;
    every_table::fill(&store, &SeededIdGen::new(1)).await;
    let dump = store.dump().await.unwrap();
    drop(store);
    assert_eq!(open(&path).await.dump().await.unwrap(), dump);
}

/// Each text is what a store of that schema with a row in every table held. It never changes.
const SCHEMAS: [&str; 2] = [
    include_str!("../../../../tests/formats/metastore-v1/katagami.sql"),
    include_str!("../../../../tests/formats/metastore-v2/katagami.sql"),
];

#[tokio::test]
async fn data_of_every_schema_opens() {
    for schema in SCHEMAS {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("db");
        rusqlite::Connection::open(&path).unwrap().execute_batch(schema).unwrap();
        every_table::check(&open(&path).await).await;
    }
}

/// A program that reads a row of another form must say so, never guess.
#[tokio::test]
async fn damaged_and_newer_rows_are_told_apart() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("db");
    let image = image(&SeededIdGen::new(1), account(1), tokyo(), "base");
    let store = open(&path).await;
    insert(&store, &image).await;
    let outside = rusqlite::Connection::open(&path).unwrap();
    for (change, kind) in [
        ("doc_version = 99", ErrorKind::Invalid),
        ("doc_version = 1, doc = '{\"image_id\":7}'", ErrorKind::Corrupt),
        ("doc = x'00'", ErrorKind::Corrupt),
    ] {
        outside.execute(&format!("UPDATE images SET {change}"), []).unwrap();
        let mut tx = store.read().await.unwrap();
        assert_eq!(tx.image_get(&image.image_id).await.unwrap_err().kind, kind, "{change}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_unavailable() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("file"), "").unwrap();
    let error =
        Metastore::open(&place.path().join("file/meta/db"), Arc::clone(&clock()) as _).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
}
