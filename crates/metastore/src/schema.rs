//! The list of tables, for what treats them all alike: dumps and resets.

use crate::store::Keep;

/// When a reset empties a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Identity,
    Resource,
    /// Never: numbers that must not be given out twice.
    Counter,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The columns of the primary key, as an ORDER BY clause.
    pub(crate) key: &'static str,
    /// Text columns that a dump shows as digests; byte strings it always does.
    pub(crate) secrets: &'static [&'static str],
    kind: Kind,
}

const fn resource(name: &'static str, key: &'static str) -> Table {
    Table { name, key, secrets: &[], kind: Kind::Resource }
}

const fn identity(name: &'static str, key: &'static str, secrets: &'static [&'static str]) -> Table {
    Table { name, key, secrets, kind: Kind::Identity }
}

/// A table stands after those that its rows refer to.
pub(crate) const TABLES: &[Table] = &[
    identity("accounts", "account_id", &[]),
    identity("access_keys", "access_key_id", &["secret_access_key"]),
    identity("domains", "domain", &[]),
    identity("settings", "name", &["setting"]),
    resource("images", "image_id"),
    resource("image_launch_permissions", "image_id, grantee"),
    resource("image_snapshots", "image_id, snapshot_id"),
    resource("image_tombstones", "image_id"),
    resource("snapshots", "snapshot_id"),
    resource("volumes", "volume_id"),
    resource("instances", "instance_id"),
    resource("instance_security_groups", "instance_id, group_id"),
    resource("key_pairs", "key_pair_id"),
    resource("vpcs", "vpc_id"),
    resource("subnets", "subnet_id"),
    resource("security_groups", "group_id"),
    resource("tags", "resource_id, tag_key"),
    resource("upload_blocks", "snapshot_id, block_index"),
    resource("client_tokens", "account_id, region, action, token"),
    resource("audit", "time, request_id"),
    resource("jobs", "job_id"),
    Table { name: "counters", key: "name", secrets: &[], kind: Kind::Counter },
];

impl Table {
    pub(crate) fn is_reset(&self, keep: Keep) -> bool {
        match self.kind {
            Kind::Resource => true,
            Kind::Identity => keep == Keep::Nothing,
            Kind::Counter => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use model::{ManualClock, Timestamp};

    use super::*;
    use crate::Metastore;

    /// A table that is missing here would survive resets and be absent from dumps.
    #[tokio::test]
    async fn every_table_is_listed() {
        let store = Metastore::in_memory(Arc::new(ManualClock::at(Timestamp(0)))).await.unwrap();
        let mut tx = store.read().await.unwrap();
        let rows = tx.query("SELECT name FROM sqlite_schema WHERE type = 'table'", &[]).await.unwrap();
        let present = rows.map(|row| row.text(0).map(str::to_owned)).unwrap();
        let present: BTreeSet<&str> = present.iter().map(String::as_str).collect();
        let listed: BTreeSet<&str> =
            TABLES.iter().map(|table| table.name).chain(["schema_migrations"]).collect();
        assert_eq!(present, listed);
        for table in TABLES {
            for secret in table.secrets {
                tx.query(&format!("SELECT {secret} FROM {}", table.name), &[]).await.unwrap();
            }
        }
    }
}
