//! What the tables of nouns have in common: key, queried columns, and the noun as JSON.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Tx;
use crate::engine::{Row, Value};
use crate::error::{Error, ErrorKind, Result};

/// A noun of the model as rows of one table.
pub(crate) trait Noun: Serialize + DeserializeOwned + Sync {
    const TABLE: &'static str;
    /// The name of the key column.
    const KEY: &'static str;
    /// The names of the queried columns.
    const COLUMNS: &'static [&'static str];
    /// Raised when the JSON changes so that serde's defaults are not enough to read the older form.
    const DOC_VERSION: i64 = 1;

    fn key(&self) -> &str;
    /// The values of `COLUMNS`, in that order.
    fn columns(&self) -> Vec<Value>;
}

/// Key, queried columns, version and JSON: the arguments `$1`, `$2`... of writing statements.
fn row_of<N: Noun>(noun: &N) -> Result<Vec<Value>> {
    let doc = serde_json::to_string(noun)
        .map_err(|e| Error::caused(ErrorKind::Invalid, format!("encode {} {}", N::TABLE, noun.key()), e))?;
    let mut row = vec![Value::from(noun.key())];
    row.extend(noun.columns());
    row.push(N::DOC_VERSION.into());
    row.push(doc.into());
    Ok(row)
}

fn column_names<N: Noun>() -> impl Iterator<Item = &'static str> {
    [N::KEY].into_iter().chain(N::COLUMNS.iter().copied()).chain(["doc_version", "doc"])
}

fn insert_sql<N: Noun>() -> String {
    let columns: Vec<_> = column_names::<N>().collect();
    format!("INSERT INTO {} ({}) VALUES ({})", N::TABLE, columns.join(", "), placeholders(columns.len()))
}

fn update_sql<N: Noun>() -> String {
    let assignments: Vec<_> =
        column_names::<N>().zip(1..).skip(1).map(|(column, n)| format!("{column} = ${n}")).collect();
    format!("UPDATE {} SET {} WHERE {} = $1", N::TABLE, assignments.join(", "), N::KEY)
}

/// `$1, $2, ...`, `count` of them.
pub(crate) fn placeholders(count: usize) -> String {
    (1..=count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

fn decode<N: Noun>(row: &Row) -> Result<N> {
    let version = row.int(0)?;
    if version > N::DOC_VERSION {
        let context = format!("decode a row of {}: written by a newer program (form {version})", N::TABLE);
        return Err(Error::new(ErrorKind::Invalid, context));
    }
    serde_json::from_str(row.text(1)?)
        .map_err(|e| Error::caused(ErrorKind::Corrupt, format!("decode a row of {}", N::TABLE), e))
}

impl Tx {
    pub(crate) async fn noun_insert<N: Noun>(&mut self, noun: &N) -> Result<()> {
        let inserted = self.execute(&insert_sql::<N>(), &row_of(noun)?).await;
        inserted.map_err(|e| e.doing(format!("insert {} into {}", noun.key(), N::TABLE)))?;
        Ok(())
    }

    pub(crate) async fn noun_update<N: Noun>(&mut self, noun: &N) -> Result<()> {
        let context = || format!("update {} in {}", noun.key(), N::TABLE);
        match self.execute(&update_sql::<N>(), &row_of(noun)?).await {
            Ok(0) => Err(Error::not_found(context())),
            Ok(_) => Ok(()),
            Err(e) => Err(e.doing(context())),
        }
    }

    pub(crate) async fn noun_get<N: Noun>(&mut self, key: &str) -> Result<Option<N>> {
        self.noun_where(&format!("{} = $1", N::KEY), &[key.into()]).await
    }

    /// The noun that `condition` picks, which has to name at most one.
    pub(crate) async fn noun_where<N: Noun>(&mut self, condition: &str, args: &[Value]) -> Result<Option<N>> {
        let sql = format!("SELECT doc_version, doc FROM {} WHERE {condition}", N::TABLE);
        let rows = self.query(&sql, args).await?;
        rows.optional(decode)
    }

    /// The nouns that `condition` picks; it ends in an ORDER BY clause.
    pub(crate) async fn nouns_where<N: Noun>(&mut self, condition: &str, args: &[Value]) -> Result<Vec<N>> {
        let sql = format!("SELECT doc_version, doc FROM {} WHERE {condition}", N::TABLE);
        let rows = self.query(&sql, args).await?;
        rows.map(decode)
    }

    /// Deletes the row; false when there was none.
    pub(crate) async fn noun_delete<N: Noun>(&mut self, key: &str) -> Result<bool> {
        let sql = format!("DELETE FROM {} WHERE {} = $1", N::TABLE, N::KEY);
        Ok(self.execute(&sql, &[key.into()]).await? > 0)
    }

    /// Makes a side table hold exactly the pairs of `from` and `wanted`. Writes only what differs, because a
    /// noun with thousands of pairs is updated for other reasons too.
    pub(crate) async fn links_set(
        &mut self,
        links: &Links,
        from: &str,
        wanted: BTreeSet<&str>,
    ) -> Result<()> {
        let Links { table, from: from_column, to } = links;
        let select = format!("SELECT {to} FROM {table} WHERE {from_column} = $1");
        let rows = self.query(&select, &[from.into()]).await?;
        let present = rows.map(|row| row.text(0).map(str::to_owned))?;
        let present: BTreeSet<&str> = present.iter().map(String::as_str).collect();
        let delete = format!("DELETE FROM {table} WHERE {from_column} = $1 AND {to} = $2");
        for gone in present.difference(&wanted) {
            self.execute(&delete, &[from.into(), (*gone).into()]).await?;
        }
        let insert = format!("INSERT INTO {table} ({from_column}, {to}) VALUES ($1, $2)");
        for new in wanted.difference(&present) {
            self.execute(&insert, &[from.into(), (*new).into()]).await?;
        }
        Ok(())
    }
}

/// A side table of pairs that are also in the nouns, for queries from the other end.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) table: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}
