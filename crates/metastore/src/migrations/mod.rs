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

const ALL: &[Migration] = &[
    Migration { version: 1, name: "initial", sql: include_str!("0001_initial.sql") },
    Migration { version: 2, name: "image_search", sql: include_str!("0002_image_search.sql") },
];

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
    use model::{ManualClock, Timestamp};

    use super::*;

    #[test]
    fn versions_count_up_without_gaps() {
        let versions: Vec<_> = ALL.iter().map(|migration| migration.version).collect();
        let expected: Vec<_> = (1..).take(ALL.len()).collect();
        assert_eq!(versions, expected);
    }

    async fn recorded(engine: &Engine) -> Vec<(i64, i64)> {
        let mut session = engine.read().await.unwrap();
        let sql = "SELECT version, apply_time FROM schema_migrations ORDER BY version";
        let rows = session.query(sql, &[]).await.unwrap();
        rows.map(|row| Ok((row.int(0)?, row.int(1)?))).unwrap()
    }

    #[tokio::test]
    async fn each_step_is_applied_once() {
        let engine = Engine::open_temporary().unwrap();
        apply(&engine, &ManualClock::at(Timestamp(5))).await.unwrap();
        let once = recorded(&engine).await;
        assert_eq!(once, (1..).take(ALL.len()).map(|version| (version, 5)).collect::<Vec<_>>());
        apply(&engine, &ManualClock::at(Timestamp(6))).await.unwrap();
        assert_eq!(recorded(&engine).await, once);
    }

    #[tokio::test]
    async fn data_of_a_newer_program_is_refused() {
        let engine = Engine::open_temporary().unwrap();
        let clock = ManualClock::at(Timestamp(5));
        apply(&engine, &clock).await.unwrap();
        let mut session = engine.write().await.unwrap();
        session.batch("INSERT INTO schema_migrations VALUES (999, 'later', 0)").await.unwrap();
        session.commit().await.unwrap();
        let error = apply(&engine, &clock).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.to_string().contains("newer program (schema 999; this one knows up to "), "{error}");
    }

    #[tokio::test]
    async fn a_step_that_fails_leaves_nothing() {
        let engine = Engine::open_temporary().unwrap();
        let clock = ManualClock::at(Timestamp(5));
        apply(&engine, &clock).await.unwrap();
        let bad = Migration { version: 900, name: "bad", sql: "CREATE TABLE half (a BIGINT); CREATE TABLE" };
        let error = step(&engine, &clock, &bad).await.unwrap_err();
        assert_eq!(error.to_string(), "migrate to schema 900");
        assert_eq!(recorded(&engine).await.len(), ALL.len());
        let mut session = engine.read().await.unwrap();
        assert_eq!(session.query("SELECT * FROM half", &[]).await.unwrap_err().kind, ErrorKind::Invalid);
    }
}
