//! Searches of `images`: what an account may see in a region, by pages in order of the ids.
//!
//! Invariant: a search costs by what it answers with, not by how many images there are. Its statements are
//! written so that each part of them is driven by an index; a test reads the plans.

use model::{AccountId, Image, Region};

use super::images::EVERYBODY;
use crate::Tx;
use crate::engine::Value;
use crate::error::Result;

/// Images that an account may launch: its own, public ones, and those shared with it.
#[derive(Debug, Clone)]
pub struct ImageSearch<'a> {
    pub account: &'a AccountId,
    pub region: Region,
    pub whose: Whose,
    /// Every key has one of its values.
    pub having: &'a [(ImageKey<'a>, Vec<&'a str>)],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Anyones,
    Own,
    Others,
}

/// What images can be searched by, apart from their owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKey<'a> {
    Id,
    Name,
    State,
    /// A snapshot of the block device mappings.
    Snapshot,
    /// An account of the launch permissions, or `all`.
    Grantee,
    /// The value of the searching account's tag with this key.
    Tag(&'a str),
}

impl ImageKey<'_> {
    /// Whether an index leads from the values to the images.
    const fn is_indexed(self) -> bool {
        !matches!(self, Self::State)
    }
}

impl Tx {
    /// The first `limit` images after the id `after`, or from the first one on.
    pub async fn images_search(
        &mut self,
        search: &ImageSearch<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Image>> {
        let statement = Statement::of(search, after, limit);
        self.nouns_where(&statement.condition, &statement.args).await
    }
}

/// A condition on `images`, and its arguments: `$1` the account, `$2` the region, `$3` the id to go on after,
/// `$4` the group of everybody, and so on.
struct Statement {
    condition: String,
    args: Vec<Value>,
}

/// That a permission lets the account see the image, given one image.
const IS_SHARED: &str = "EXISTS (SELECT 1 FROM image_launch_permissions p \
                         WHERE p.image_id = i.image_id AND p.grantee IN ($1, $4))";

impl Statement {
    fn of(search: &ImageSearch<'_>, after: Option<&str>, limit: usize) -> Self {
        let args = vec![
            search.account.as_str().into(),
            search.region.into(),
            after.unwrap_or_default().into(),
            EVERYBODY.into(),
        ];
        let mut statement = Self { condition: String::new(), args };
        let having = statement.having(search);
        let ids = if search.having.iter().any(|(key, _)| key.is_indexed()) {
            selected(search.whose, &having)
        } else {
            listed(search.whose, &having)
        };
        let limit = statement.arg(i64::try_from(limit).unwrap_or(i64::MAX).into());
        // Only the ids are sorted and cut; documents are read of those that are left.
        statement.condition =
            format!("image_id IN ({ids} ORDER BY image_id LIMIT {limit}) ORDER BY image_id");
        statement
    }

    /// The place of a new argument.
    fn arg(&mut self, value: Value) -> String {
        self.args.push(value);
        format!("${}", self.args.len())
    }

    fn args(&mut self, values: &[&str]) -> String {
        let places: Vec<String> = values.iter().map(|value| self.arg((*value).into())).collect();
        places.join(", ")
    }

    /// Conditions on `images i`, each with an AND before it.
    fn having(&mut self, search: &ImageSearch<'_>) -> String {
        let conditions: Vec<String> =
            search.having.iter().map(|(key, values)| self.one_of(*key, values)).collect();
        conditions.iter().flat_map(|condition| [" AND ", condition]).collect()
    }

    fn one_of(&mut self, key: ImageKey<'_>, values: &[&str]) -> String {
        let places = self.args(values);
        match key {
            ImageKey::Id => format!("i.image_id IN ({places})"),
            ImageKey::Name => format!("i.name IN ({places})"),
            ImageKey::State => format!("i.state IN ({places})"),
            ImageKey::Snapshot => format!(
                "i.image_id IN (SELECT s.image_id FROM image_snapshots s WHERE s.snapshot_id IN ({places}))"
            ),
            ImageKey::Grantee => format!(
                "i.image_id IN (SELECT g.image_id FROM image_launch_permissions g WHERE g.grantee IN ({places}))"
            ),
            ImageKey::Tag(tag) => {
                let tag = self.arg(tag.into());
                format!(
                    "i.image_id IN (SELECT t.resource_id FROM tags t WHERE t.account_id = $1 \
                     AND t.region = $2 AND t.tag_key = {tag} AND t.tag_value IN ({places}))"
                )
            }
        }
    }
}

/// The ids of all visible images: a walk along an index for each reason to see them, merged.
fn listed(whose: Whose, having: &str) -> String {
    let own = format!(
        "SELECT i.image_id AS image_id FROM images i \
         WHERE i.owner_id = $1 AND i.region = $2 AND i.image_id > $3{having}"
    );
    let shared = |grantee: &str| {
        let others = if whose == Whose::Others { " AND i.owner_id <> $1" } else { "" };
        format!(
            "SELECT p.image_id AS image_id FROM image_launch_permissions p JOIN images i ON i.image_id = p.image_id \
             WHERE p.grantee = {grantee} AND p.image_id > $3 AND i.region = $2{others}{having}"
        )
    };
    let reasons = match whose {
        Whose::Anyones => vec![own, shared("$1"), shared("$4")],
        Whose::Own => vec![own],
        Whose::Others => vec![shared("$1"), shared("$4")],
    };
    reasons.join(" UNION ")
}

/// The ids of the images that the keys select, as far as they are visible.
fn selected(whose: Whose, having: &str) -> String {
    let visible = match whose {
        Whose::Anyones => format!("(i.owner_id = $1 OR {IS_SHARED})"),
        // Not `=`: that would offer the walk along all of the owner's images, which looks cheap to a planner.
        Whose::Own => "NOT i.owner_id <> $1".to_owned(),
        Whose::Others => format!("i.owner_id <> $1 AND {IS_SHARED}"),
    };
    format!(
        "SELECT i.image_id AS image_id FROM images i WHERE i.region = $2 AND i.image_id > $3{having} AND {visible}"
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{ManualClock, Timestamp};

    use super::*;
    use crate::Metastore;

    const KEYS: [ImageKey<'_>; 6] = [
        ImageKey::Id,
        ImageKey::Name,
        ImageKey::State,
        ImageKey::Snapshot,
        ImageKey::Grantee,
        ImageKey::Tag("Name"),
    ];

    async fn plan(tx: &mut Tx, search: &ImageSearch<'_>) -> Vec<String> {
        let Statement { condition, args } = Statement::of(search, Some("ami-1"), 9);
        let sql = format!("EXPLAIN QUERY PLAN SELECT doc FROM images WHERE {condition}");
        tx.query(&sql, &args).await.unwrap().map(|row| row.text(3).map(str::to_owned)).unwrap()
    }

    /// The smallest database tells: without statistics, the planner chooses by the form of a statement alone.
    #[tokio::test]
    async fn no_search_walks_more_than_it_answers_with() {
        let store = Metastore::in_memory(Arc::new(ManualClock::at(Timestamp(0)))).await.unwrap();
        let mut tx = store.read().await.unwrap();
        let account = "000000000001".parse().unwrap();
        let region = "us-east-1".parse().unwrap();
        let combinations = (0..1_u32 << KEYS.len()).map(|set| {
            let chosen = KEYS.iter().enumerate().filter(move |(at, _)| set >> at & 1 == 1);
            chosen.map(|(_, key)| (*key, vec!["a", "b"])).collect::<Vec<_>>()
        });
        for having in combinations {
            let selects = having.iter().any(|(key, _)| key.is_indexed());
            for whose in [Whose::Anyones, Whose::Own, Whose::Others] {
                let search = ImageSearch { account: &account, region, whose, having: &having };
                let steps = plan(&mut tx, &search).await;
                let bad = |step: &String| {
                    let walks_owner = selects && step.contains("images_by_owner");
                    let walks_ids = step.contains("(image_id>?)");
                    step.starts_with("SCAN") || walks_owner || walks_ids
                };
                assert_eq!(steps.iter().find(|step| bad(step)), None, "{search:?}: {steps:#?}");
                let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE FOR ORDER BY"));
                assert!(selects || !sorts, "{search:?}: {steps:#?}");
            }
        }
    }
}
