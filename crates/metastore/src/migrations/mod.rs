//! Numbered steps that bring a database to the schema of this program. A step that was released never changes.

use model::Clock;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};

struct Migration {
    version: i64,
    name: &'static str,
    /// `{blob}` stands for the engine's type of byte strings.
    sql: &'static str,
}

const ALL: &[Migration] = &[Migration { version: 1, name: "initial", sql: include_str!("0001_initial.sql") }];

/// Applies what is missing, each step in its own transaction together with the record of it.
pub(crate) async fn apply(engine: &Engine, clock: &dyn Clock) -> Result<()> {
    let newest = ALL.last().map_or(0, |migration| migration.version);
    let current = current_version(engine).await?;
    if current > newest {
        let context = format!(
            "open the metastore: it was written by a newer program (schema {current}; this one knows up to {newest})"
        );
        return Err(Error::new(ErrorKind::Invalid, context));
    }
    for migration in ALL.iter().filter(|migration| migration.version > current) {
        step(engine, clock, migration).await?;
    }
    Ok(())
}

async fn current_version(engine: &Engine) -> Result<i64> {
    let mut session = engine.write().await?;
    session
        .batch(
            "CREATE TABLE IF NOT EXISTS schema_migrations \
             (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, apply_time BIGINT NOT NULL)",
        )
        .await?;
    let rows = session.query("SELECT COALESCE(MAX(version), 0) FROM schema_migrations", &[]).await?;
    let version = rows.optional(|row| row.int(0))?.unwrap_or(0);
    session.commit().await?;
    Ok(version)
}

async fn step(engine: &Engine, clock: &dyn Clock, migration: &Migration) -> Result<()> {
    let sql = migration.sql.replace("{blob}", engine.dialect().blob);
    let mut session = engine.write().await?;
    session.batch(&sql).await.map_err(|e| e.doing(format!("migrate to schema {}", migration.version)))?;
    let record = [migration.version.into(), migration.name.into(), clock.now().into()];
    session
        .execute("INSERT INTO schema_migrations (version, name, apply_time) VALUES ($1, $2, $3)", &record)
        .await?;
    session.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_without_gaps() {
        let versions: Vec<_> = ALL.iter().map(|migration| migration.version).collect();
        let expected: Vec<_> = (1..).take(ALL.len()).collect();
        assert_eq!(versions, expected);
    }
}
