//! The store and its transactions.

use std::fmt;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use model::{Clock, Timestamp};
use sha2::{Digest, Sha256};

use crate::engine::{Engine, Row, Rows, Session, Value};
use crate::error::Result;
use crate::migrations;
use crate::schema::{self, Table};

/// The durable state of the service. Clones are handles to the same store.
#[derive(Clone)]
pub struct Metastore {
    engine: Arc<Engine>,
    clock: Arc<dyn Clock>,
}

/// What a reset leaves in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// Accounts, access keys, storage domains and settings: clients stay signed in.
    Identity,
}

impl Metastore {
    /// Opens the store in the file `path`, made (with its directories) where missing and brought to this
    /// program's schema. Data of a newer program is refused.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::prepare(Engine::open_file(path)?, clock).await
    }

    /// A store that vanishes with its last handle and never waits for a disk.
    pub async fn in_memory(clock: Arc<dyn Clock>) -> Result<Self> {
        Self::prepare(Engine::open_temporary()?, clock).await
    }

    async fn prepare(engine: Engine, clock: Arc<dyn Clock>) -> Result<Self> {
        migrations::apply(&engine, &*clock).await?;
        Ok(Self { engine: Arc::new(engine), clock })
    }

    /// A transaction that sees one moment of the data, whatever is written meanwhile. Writing in it is an
    /// `Invalid` error.
    pub async fn read(&self) -> Result<Tx> {
        Ok(Tx { session: self.engine.read().await?, clock: Arc::clone(&self.clock) })
    }

    /// A transaction that may write. There is one at a time; callers get their turn in the order they came.
    pub async fn write(&self) -> Result<Tx> {
        Ok(Tx { session: self.engine.write().await?, clock: Arc::clone(&self.clock) })
    }

    /// Empties the tables but for what `keep` names. Job numbers go on counting, so that a worker that still
    /// runs for a job of the time before cannot settle a new one.
    pub async fn reset(&self, keep: Keep) -> Result<()> {
        let mut tx = self.write().await?;
        // Last to first: rows go before the rows that they refer to.
        for table in schema::TABLES.iter().rev().filter(|table| table.is_reset(keep)) {
            tx.execute(&format!("DELETE FROM {}", table.name), &[]).await?;
        }
        tx.commit().await
    }

    /// Every row of every table as text in a fixed order, for comparing states. Secrets show as digests.
    pub async fn dump(&self) -> Result<String> {
        let mut tx = self.read().await?;
        let mut text = String::new();
        for table in schema::TABLES {
            let sql = format!("SELECT * FROM {} ORDER BY {}", table.name, table.key);
            let rows = tx.query(&sql, &[]).await?;
            write_table(&mut text, table, &rows);
        }
        Ok(text)
    }
}

impl fmt::Debug for Metastore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metastore").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// One transaction. Dropping it undoes what it wrote.
pub struct Tx {
    session: Session,
    clock: Arc<dyn Clock>,
}

impl Tx {
    /// Makes the writes durable and visible.
    pub async fn commit(self) -> Result<()> {
        self.session.commit().await.map_err(|e| e.doing("commit"))
    }

    /// Undoes the writes, as dropping does.
    #[expect(clippy::unused_async, reason = "an engine behind a network waits for it")]
    pub async fn rollback(self) {
        drop(self);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) async fn query(&mut self, sql: &str, args: &[Value]) -> Result<Rows> {
        self.session.query(sql, args).await
    }

    pub(crate) async fn execute(&mut self, sql: &str, args: &[Value]) -> Result<u64> {
        self.session.execute(sql, args).await
    }
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").finish_non_exhaustive()
    }
}

fn write_table(text: &mut String, table: &Table, rows: &Rows) {
    text.push_str("== ");
    text.push_str(table.name);
    text.push('\n');
    for row in &rows.rows {
        write_row(text, table, &rows.columns, row);
        text.push('\n');
    }
}

fn write_row(text: &mut String, table: &Table, columns: &[String], row: &Row) {
    for (column, value) in columns.iter().zip(row.values()) {
        let shown = match value {
            Value::Text(secret) if table.secrets.contains(&column.as_str()) => digest(secret.as_bytes()),
            Value::Blob(bytes) => digest(bytes),
            Value::Text(plain) => format!("{plain:?}"),
            Value::Int(number) => number.to_string(),
            Value::Null => "null".to_owned(),
        };
        write!(text, " {column}={shown}").expect("writing to a string cannot fail");
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
