//! SQLite: one writing connection that transactions take in turn, and a pool of reading ones.
//!
//! Invariant: write-ahead log with `synchronous=FULL`. With anything less a power cut loses commits that
//! were already acknowledged.

use std::fmt;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::ffi;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, ToSql};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::{Dialect, Row, Rows, Value};
use crate::error::{Error, ErrorKind, Result};

pub(super) const DIALECT: Dialect = Dialect { blob: "BLOB" };

/// Read transactions open at once; more wait. Bounds open files (three a connection).
const READERS_MAX: usize = 64;
/// Idle reading connections kept, with their prepared statements.
const IDLE_READERS_MAX: usize = 8;
const STATEMENTS_CACHED_MAX: usize = 256;
/// Pages that a connection keeps, in KiB.
const CACHE_KIB_MAX: i64 = 16 << 10;
/// Only another program (a backup, an inspection by hand) ever makes this crate wait for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// A log that a burst of writes or a long reader made large is cut back to this.
const LOG_BYTES_KEPT_MAX: i64 = 64 << 20;

/// Whether commits must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    Full,
    /// For stores that vanish with the process.
    None,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    durability: Durability,
    /// Removed together with the last user of the database.
    _temporary: Option<tempfile::TempDir>,
}

#[derive(Debug)]
pub(crate) struct Sqlite {
    writer: Arc<AsyncMutex<Connection>>,
    readers: Arc<Readers>,
}

#[derive(Debug)]
struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    // After the connections: fields are dropped in order, and files go after those who hold them open.
    place: Place,
}

/// One transaction on one connection.
pub(crate) struct Session {
    lease: Lease,
    readers: Arc<Readers>,
}

enum Lease {
    Writer(OwnedMutexGuard<Connection>),
    /// `None` only while dropping.
    Reader(Option<Connection>, #[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self> {
        create_file(path)
            .map_err(|e| Error::caused(ErrorKind::Unavailable, format!("create {}", path.display()), e))?;
        Self::open_at(Place { path: path.to_owned(), durability: Durability::Full, _temporary: None })
    }

    pub(super) fn open_temporary() -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("katagami-")
            .tempdir()
            .map_err(|e| Error::caused(ErrorKind::Unavailable, "create a temporary directory", e))?;
        let path = directory.path().join("katagami.db");
        Self::open_at(Place { path, durability: Durability::None, _temporary: Some(directory) })
    }

    fn open_at(place: Place) -> Result<Self> {
        let writer = connect(&place, Access::Write)?;
        let permits = Arc::new(Semaphore::new(READERS_MAX));
        let readers = Arc::new(Readers { idle: Mutex::default(), permits, place });
        Ok(Self { writer: Arc::new(AsyncMutex::new(writer)), readers })
    }

    pub(super) async fn read(&self) -> Result<Session> {
        let permit = Arc::clone(&self.readers.permits)
            .acquire_owned()
            .await
            .map_err(|e| Error::caused(ErrorKind::Invalid, "wait for a reader", e))?;
        let connection = match self.readers.take_idle() {
            Some(connection) => connection,
            None => connect(&self.readers.place, Access::Read)?,
        };
        let lease = Lease::Reader(Some(connection), permit);
        let mut session = Session { lease, readers: Arc::clone(&self.readers) };
        session.batch("BEGIN")?;
        // A deferred transaction chooses its moment at the first read, which must not come later than this.
        session.query("SELECT 1 FROM sqlite_schema LIMIT 1", &[])?;
        Ok(session)
    }

    pub(super) async fn write(&self) -> Result<Session> {
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        if !writer.is_autocommit() {
            // The last transaction could not even be rolled back: do not build upon that connection.
            *writer = connect(&self.readers.place, Access::Write)?;
        }
        let mut session = Session { lease: Lease::Writer(writer), readers: Arc::clone(&self.readers) };
        session.batch("BEGIN IMMEDIATE")?;
        Ok(session)
    }
}

impl Readers {
    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS_MAX && connection.is_autocommit() {
            idle.push(connection);
        }
    }
}

impl Session {
    fn connection(&self) -> Result<&Connection> {
        match &self.lease {
            Lease::Writer(connection) => Ok(connection),
            Lease::Reader(connection, _) => connection
                .as_ref()
                .ok_or_else(|| Error::new(ErrorKind::Invalid, "use a connection that was given back")),
        }
    }

    pub(super) fn query(&mut self, sql: &str, args: &[Value]) -> Result<Rows> {
        self.connection().and_then(|connection| query(connection, sql, args).map_err(|e| failed(sql, e)))
    }

    pub(super) fn execute(&mut self, sql: &str, args: &[Value]) -> Result<u64> {
        let changed = self.connection()?.prepare_cached(&numbered(sql)).and_then(|mut statement| {
            bind(&mut statement, args)?;
            statement.raw_execute()
        });
        let changed = changed.map_err(|e| failed(sql, e))?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    pub(super) fn batch(&mut self, sql: &str) -> Result<()> {
        self.connection()?.execute_batch(sql).map_err(|e| failed(sql, e))
    }

    /// Waits for the disk, so it runs where blocking is allowed.
    pub(super) async fn commit(mut self) -> Result<()> {
        if matches!(self.lease, Lease::Reader(..)) {
            return self.batch("COMMIT");
        }
        tokio::task::spawn_blocking(move || self.batch("COMMIT"))
            .await
            .map_err(|e| Error::caused(ErrorKind::Unavailable, "commit", e))?
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let connection = match &mut self.lease {
            Lease::Writer(writer) => &**writer,
            Lease::Reader(Some(reader), _) => reader,
            Lease::Reader(None, _) => return,
        };
        if !connection.is_autocommit() {
            // A failure shows in `is_autocommit`, which whoever takes the connection next looks at.
            drop(connection.execute_batch("ROLLBACK"));
        }
        if let Lease::Reader(reader, _) = &mut self.lease
            && let Some(connection) = reader.take()
        {
            self.readers.give_back(connection);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

fn query(connection: &Connection, sql: &str, args: &[Value]) -> rusqlite::Result<Rows> {
    let mut statement = connection.prepare_cached(&numbered(sql))?;
    bind(&mut statement, args)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut answer = Rows { rows: Vec::new(), columns };
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        let values = (0..answer.columns.len()).map(|i| row.get_ref(i).and_then(value_of));
        answer.rows.push(Row(values.collect::<rusqlite::Result<_>>()?));
    }
    Ok(answer)
}

/// SQLite takes `$1` for a name and numbers it by its first use; `?1` is the number one.
fn numbered(sql: &str) -> String {
    sql.replace('$', "?")
}

fn bind(statement: &mut rusqlite::Statement<'_>, args: &[Value]) -> rusqlite::Result<()> {
    (1..).zip(args).try_for_each(|(index, value)| statement.raw_bind_parameter(index, value))
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn value_of(value: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Text(_) => Value::Text(value.as_str()?.to_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
        ValueRef::Real(_) => {
            let column = rusqlite::types::Type::Real;
            return Err(rusqlite::Error::InvalidColumnType(0, "a fraction".to_owned(), column));
        }
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn connect(place: &Place, access: Access) -> Result<Connection> {
    let opened = open_connection(place, access);
    opened.map_err(|e| failed(&format!("open {}", place.path.display()), e))
}

fn open_connection(place: &Place, access: Access) -> rusqlite::Result<Connection> {
    // A connection is used by one thread at a time, which the type system proves.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
    let connection = Connection::open_with_flags(&place.path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| {
        let mode: String = row.get(0)?;
        if mode == "wal" { Ok(()) } else { Err(rusqlite::Error::InvalidPath(place.path.clone())) }
    })?;
    let synchronous = match place.durability {
        Durability::Full => "FULL",
        Durability::None => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Large listings are sorted; in a file that takes as long as all the rest.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB_MAX)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_KEPT_MAX, |_| Ok(()))?;
    if access == Access::Read {
        connection.pragma_update(None, "query_only", true)?;
    }
    Ok(connection)
}

/// Makes the file, readable by its owner only: it holds secrets. SQLite gives its log the same permissions.
fn create_file(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        create_directory(directory)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => sync_directory(path.parent()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

fn create_directory(directory: &Path) -> std::io::Result<()> {
    if directory.as_os_str().is_empty() || directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        create_directory(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => sync_directory(directory.parent()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// A name in a directory survives a power cut only once the directory itself is on the disk.
fn sync_directory(directory: Option<&Path>) -> std::io::Result<()> {
    let directory = directory.filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(directory)?.sync_all()
}

fn failed(doing: &str, error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error() {
        Some(code) => kind_of(*code),
        None => kind_without_code(&error),
    };
    Error::caused(kind, doing.lines().next().unwrap_or_default(), error)
}

fn kind_of(error: ffi::Error) -> ErrorKind {
    use ffi::ErrorCode as Code;
    const TAKEN: [i32; 2] = [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY];
    const LATER: [Code; 8] = [
        Code::DiskFull,
        Code::SystemIoFailure,
        Code::DatabaseBusy,
        Code::DatabaseLocked,
        Code::CannotOpen,
        Code::PermissionDenied,
        Code::OutOfMemory,
        Code::FileLockingProtocolFailed,
    ];
    const DAMAGE: [Code; 2] = [Code::DatabaseCorrupt, Code::NotADatabase];
    if TAKEN.contains(&error.extended_code) {
        ErrorKind::Conflict
    } else if LATER.contains(&error.code) {
        ErrorKind::Unavailable
    } else if DAMAGE.contains(&error.code) {
        ErrorKind::Corrupt
    } else {
        ErrorKind::Invalid
    }
}

fn kind_without_code(error: &rusqlite::Error) -> ErrorKind {
    if matches!(error, rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::Utf8Error(..)) {
        ErrorKind::Corrupt
    } else if matches!(error, rusqlite::Error::InvalidPath(_)) {
        // Only a file system without shared memory refuses the write-ahead log.
        ErrorKind::Unavailable
    } else {
        ErrorKind::Invalid
    }
}

#[cfg(test)]
mod tests;
