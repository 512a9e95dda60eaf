//! `tags` of all kinds of resources.

use std::collections::BTreeMap;

use model::tag::ResourceType;
use model::{AccountId, Region, Tag};

use crate::Tx;
use crate::engine::{Row, Value};
use crate::error::Result;
use crate::noun::placeholders;

/// A tag and what it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagRow {
    pub resource_id: String,
    pub resource_type: ResourceType,
    pub tag: Tag,
}

/// Ids asked for in one statement: within every engine's limit of arguments. A shorter list is filled up
/// with its last id, so that there are only a few statements to prepare.
const IDS_IN_STATEMENT: [usize; 3] = [1, 16, 256];

impl Tx {
    /// The tags of a resource by key.
    pub async fn tags_of(&mut self, resource_id: &str) -> Result<Vec<Tag>> {
        let sql = "SELECT tag_key, tag_value FROM tags WHERE resource_id = $1 ORDER BY tag_key";
        let rows = self.query(sql, &[resource_id.into()]).await?;
        rows.map(|row| Ok(Tag { key: row.text(0)?.to_owned(), value: row.text(1)?.to_owned() }))
    }

    /// The tags of many resources, each by key; resources without tags are absent.
    pub async fn tags_of_many<S: AsRef<str> + Sync>(
        &mut self,
        resource_ids: &[S],
    ) -> Result<BTreeMap<String, Vec<Tag>>> {
        let mut tags: BTreeMap<String, Vec<Tag>> = BTreeMap::new();
        let mut ids: Vec<&str> = resource_ids.iter().map(AsRef::as_ref).collect();
        ids.sort_unstable();
        ids.dedup();
        for chunk in ids.chunks(IDS_IN_STATEMENT[2]) {
            for row in self.tags_of_chunk(chunk).await? {
                tags.entry(row.resource_id).or_default().push(row.tag);
            }
        }
        Ok(tags)
    }

    async fn tags_of_chunk(&mut self, ids: &[&str]) -> Result<Vec<TagRow>> {
        let count = IDS_IN_STATEMENT.into_iter().find(|count| *count >= ids.len()).unwrap_or(ids.len());
        let last = ids.last().copied().unwrap_or_default();
        let args: Vec<Value> =
            ids.iter().copied().chain(std::iter::repeat(last)).take(count).map(Value::from).collect();
        let sql = format!(
            "SELECT resource_id, resource_type, tag_key, tag_value FROM tags \
             WHERE resource_id IN ({}) ORDER BY resource_id, tag_key",
            placeholders(count)
        );
        self.query(&sql, &args).await?.map(decode)
    }

    /// Sets a tag; a value that the key had is replaced.
    pub async fn tag_put(
        &mut self,
        account: &AccountId,
        region: Region,
        resource_type: ResourceType,
        resource_id: &str,
        tag: &Tag,
    ) -> Result<()> {
        let sql = "INSERT INTO tags (resource_id, tag_key, tag_value, resource_type, account_id, region) \
                   VALUES ($1, $2, $3, $4, $5, $6) \
                   ON CONFLICT (resource_id, tag_key) DO UPDATE SET tag_value = excluded.tag_value";
        let row = [
            resource_id.into(),
            tag.key.as_str().into(),
            tag.value.as_str().into(),
            resource_type.as_str().into(),
            account.as_str().into(),
            region.into(),
        ];
        self.execute(sql, &row).await?;
        Ok(())
    }

    /// Removes a tag, only if it has the value where one is given; false when nothing was removed.
    pub async fn tag_delete(&mut self, resource_id: &str, key: &str, value: Option<&str>) -> Result<bool> {
        let mut sql = "DELETE FROM tags WHERE resource_id = $1 AND tag_key = $2".to_owned();
        let mut args = vec![Value::from(resource_id), key.into()];
        if let Some(value) = value {
            sql.push_str(" AND tag_value = $3");
            args.push(value.into());
        }
        Ok(self.execute(&sql, &args).await? > 0)
    }

    /// Every tag of an account in a region, by resource and key.
    pub async fn tags_in(&mut self, account: &AccountId, region: Region) -> Result<Vec<TagRow>> {
        let sql = "SELECT resource_id, resource_type, tag_key, tag_value FROM tags \
                   WHERE account_id = $1 AND region = $2 ORDER BY resource_id, tag_key";
        self.query(sql, &[account.as_str().into(), region.into()]).await?.map(decode)
    }

    /// Removes all tags of a resource that goes away.
    pub async fn tags_delete_all(&mut self, resource_id: &str) -> Result<()> {
        self.execute("DELETE FROM tags WHERE resource_id = $1", &[resource_id.into()]).await?;
        Ok(())
    }
}

fn decode(row: &Row) -> Result<TagRow> {
    Ok(TagRow {
        resource_id: row.text(0)?.to_owned(),
        resource_type: row.parsed(1)?,
        tag: Tag { key: row.text(2)?.to_owned(), value: row.text(3)?.to_owned() },
    })
}
