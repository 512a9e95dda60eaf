//! The narrow waist to a database engine: statement text with `$1` placeholders, values, rows by position.
//!
//! Statements keep to what SQLite and PostgreSQL both understand; what differs between engines stays in
//! an engine's own module.

mod sqlite;
mod value;

use std::path::Path;

pub(crate) use value::{Row, Rows, Value};

use crate::error::Result;

/// A database that sessions are opened on.
#[derive(Debug)]
pub(crate) enum Engine {
    Sqlite(sqlite::Sqlite),
}

/// One open transaction. Dropping it rolls it back.
pub(crate) enum Session {
    Sqlite(sqlite::Session),
}

/// Spellings that differ between engines, for statements that define tables.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    /// The type of a byte string column.
    pub(crate) blob: &'static str,
}

impl Engine {
    pub(crate) fn open_file(path: &Path) -> Result<Self> {
        sqlite::Sqlite::open(path).map(Self::Sqlite)
    }

    pub(crate) fn open_temporary() -> Result<Self> {
        sqlite::Sqlite::open_temporary().map(Self::Sqlite)
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => sqlite::DIALECT,
        }
    }

    /// A transaction that sees one moment of the data and cannot change it.
    pub(crate) async fn read(&self) -> Result<Session> {
        match self {
            Self::Sqlite(engine) => engine.read().await.map(Session::Sqlite),
        }
    }

    /// A transaction that may write; waits in line for its turn.
    pub(crate) async fn write(&self) -> Result<Session> {
        match self {
            Self::Sqlite(engine) => engine.write().await.map(Session::Sqlite),
        }
    }
}

#[expect(clippy::unused_async, reason = "statements of an engine behind a network wait for it")]
impl Session {
    pub(crate) async fn query(&mut self, sql: &str, args: &[Value]) -> Result<Rows> {
        match self {
            Self::Sqlite(session) => session.query(sql, args),
        }
    }

    /// Runs a statement and returns how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: &str, args: &[Value]) -> Result<u64> {
        match self {
            Self::Sqlite(session) => session.execute(sql, args),
        }
    }

    /// Runs several statements without arguments.
    pub(crate) async fn batch(&mut self, sql: &str) -> Result<()> {
        match self {
            Self::Sqlite(session) => session.batch(sql),
        }
    }

    pub(crate) async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(session) => session.commit().await,
        }
    }
}
