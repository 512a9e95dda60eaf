use std::os::unix::fs::PermissionsExt;

use super::*;

fn open() -> (tempfile::TempDir, PathBuf, Sqlite) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a/b/katagami.db");
    let engine = Sqlite::open(&path).unwrap();
    (directory, path, engine)
}

fn pragma(session: &mut Session, name: &str) -> Value {
    session.query(&format!("PRAGMA {name}"), &[]).unwrap().first().unwrap().values()[0].clone()
}

/// Anything weaker loses acknowledged commits in a power cut.
#[tokio::test]
async fn commits_survive_power_cuts() {
    let (_directory, _, engine) = open();
    for mut session in [engine.write().await.unwrap(), engine.read().await.unwrap()] {
        assert_eq!(pragma(&mut session, "journal_mode"), Value::from("wal"));
        assert_eq!(pragma(&mut session, "synchronous"), Value::Int(2), "2 is FULL");
        assert_eq!(pragma(&mut session, "foreign_keys"), Value::Int(1));
        assert_eq!(pragma(&mut session, "trusted_schema"), Value::Int(0));
    }
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let (_directory, path, engine) = open();
    let mut session = engine.write().await.unwrap();
    session.batch("CREATE TABLE t (a BIGINT)").unwrap();
    session.commit().await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for file in ["katagami.db", "katagami.db-wal", "katagami.db-shm"] {
        assert_eq!(mode(&path.with_file_name(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn placeholders_are_numbered_whatever_their_order() {
    let (_directory, _, engine) = open();
    let mut session = engine.read().await.unwrap();
    let rows = session.query("SELECT $2, $1, $2", &["a".into(), "b".into()]).unwrap();
    assert_eq!(rows.rows, [Row(vec!["b".into(), "a".into(), "b".into()])]);
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_leaves_the_engine_usable() {
    let (_directory, _, engine) = open();
    let mut session = engine.write().await.unwrap();
    session.batch("CREATE TABLE t (a BLOB)").unwrap();
    session.commit().await.unwrap();
    let mut session = engine.write().await.unwrap();
    session.query("PRAGMA max_page_count = 10", &[]).unwrap();
    let big = Value::Blob(vec![1; 1 << 20]);
    let error = session.execute("INSERT INTO t (a) VALUES ($1)", &[big]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    drop(session);
    let mut session = engine.write().await.unwrap();
    session.execute("INSERT INTO t (a) VALUES ($1)", &[Value::Blob(vec![1; 10])]).unwrap();
    session.commit().await.unwrap();
    let mut session = engine.read().await.unwrap();
    assert_eq!(session.query("SELECT COUNT(*) FROM t", &[]).unwrap().count().unwrap(), 1);
}

#[test]
fn a_file_of_another_kind_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("katagami.db");
    fs::write(&path, "not a database, though long enough to have a header\n".repeat(100)).unwrap();
    assert_eq!(Sqlite::open(&path).unwrap_err().kind, ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_temporary_database_leaves_no_files() {
    let engine = Sqlite::open_temporary().unwrap();
    let directory = engine.readers.place.path.parent().unwrap().to_owned();
    let session = engine.read().await.unwrap();
    assert!(directory.is_dir());
    drop(engine);
    assert!(directory.is_dir(), "the reader still uses it");
    drop(session);
    assert!(!directory.exists());
}

#[tokio::test]
async fn readers_go_back_to_the_pool() {
    let (_directory, _, engine) = open();
    let sessions = futures::future::try_join_all((0..20).map(|_| engine.read())).await.unwrap();
    drop(sessions);
    assert_eq!(engine.readers.idle.lock().unwrap().len(), IDLE_READERS_MAX);
    assert_eq!(engine.readers.permits.available_permits(), READERS_MAX);
    let mut session = engine.read().await.unwrap();
    assert_eq!(engine.readers.idle.lock().unwrap().len(), IDLE_READERS_MAX - 1);
    session.batch("COMMIT").unwrap();
    session.batch("BEGIN").unwrap();
    drop(session);
    assert!(engine.readers.idle.lock().unwrap().iter().all(Connection::is_autocommit));
}
