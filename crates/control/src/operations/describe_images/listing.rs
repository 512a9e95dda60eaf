//! Listings that name no ids: read from the database in batches, only as far as the page goes.
//!
//! The search narrows, the operation decides: whatever the database leaves out could not match, and whatever it
//! brings is matched as if it had brought everything.

use metastore::{ImageKey, Whose};
use model::AccountId;
use wire::filter::{Filters, Name};
use wire::page::Page;

use super::{Item, Request, key_of, matching};
use crate::failure::Failure;
use crate::spine::cx::Cx;

/// Images in memory before they are matched.
const BATCH_MAX: usize = 2000;
/// More values than these are not worth a statement of their own.
const VALUES_MAX: usize = 200;

pub(super) async fn page(
    cx: &mut Cx<'_>,
    req: &Request,
    filters: &Filters<Item>,
) -> Result<Page<Item>, Failure> {
    let window = cx.window(&req.paging)?;
    // One more than the page holds tells whether there is another page.
    let wanted = window.size.map_or(usize::MAX, |size| size + 1);
    let caller = cx.account().clone();
    let grantees = grantees(req, &caller);
    let (whose, having) = (whose(req, filters, &caller), having(filters, &grantees));
    let mut items: Vec<Item> = Vec::new();
    let mut after = window.after.clone();
    let mut batch = wanted.min(BATCH_MAX);
    loop {
        let images = cx.images_visible(whose, &having, after.as_deref(), batch).await?;
        let is_last = images.len() < batch;
        after = images.last().map(|image| image.image_id.to_string());
        items.extend(matching(cx, req, filters, images).await?);
        if is_last || items.len() >= wanted {
            return Ok(cx.cut(&window, items, key_of));
        }
        // Few matched: the next page's worth is probably further away.
        batch = (batch * 2).min(BATCH_MAX);
    }
}

fn whose(req: &Request, filters: &Filters<Item>, caller: &AccountId) -> Whose {
    let mut owners: Vec<&str> = req.owners.iter().map(String::as_str).collect();
    if owners.is_empty() {
        let by_filter = filters.exact().find(|(name, _)| *name == Name::Listed("owner-id"));
        owners = by_filter.map(|(_, values)| values).unwrap_or_default();
    }
    let own = owners.iter().filter(|owner| matches!(**owner, "self") || **owner == caller.as_str()).count();
    if owners.is_empty() || own != 0 && own != owners.len() {
        Whose::Anyones
    } else if own == 0 {
        Whose::Others
    } else {
        Whose::Own
    }
}

/// Whom the request's `ExecutableBy` names, as permissions name them.
fn grantees<'a>(req: &'a Request, caller: &'a AccountId) -> Vec<&'a str> {
    let named = |who: &'a String| if who == "self" { caller.as_str() } else { who };
    req.executable_users.iter().map(named).collect()
}

fn having<'a>(filters: &'a Filters<Item>, grantees: &[&'a str]) -> Vec<(ImageKey<'a>, Vec<&'a str>)> {
    let by_filters = filters.exact().filter_map(|(name, values)| match name {
        Name::Tag(key) => Some((ImageKey::Tag(key), values)),
        Name::Listed("block-device-mapping.snapshot-id") => Some((ImageKey::Snapshot, values)),
        Name::Listed("image-id") => Some((ImageKey::Id, values)),
        Name::Listed("is-public") if values == ["true"] => Some((ImageKey::Grantee, vec!["all"])),
        Name::Listed("name") => Some((ImageKey::Name, values)),
        Name::Listed("state") => Some((ImageKey::State, values)),
        Name::Listed(_) => None,
    });
    let by_grantee = (ImageKey::Grantee, grantees.to_vec());
    by_filters.chain([by_grantee]).filter(|(_, values)| (1..=VALUES_MAX).contains(&values.len())).collect()
}

#[cfg(test)]
mod tests {
    use testkit::{Account, REGION, World};

    type Params = Vec<(String, String)>;

    async fn ids_as(world: &World, account: &Account, params: &Params) -> (Vec<String>, Option<String>) {
        let params: Vec<(&str, &str)> = params.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let reply = world.call_as(account, REGION, "DescribeImages", &params).await.ok();
        (reply.values("imageId"), reply.values("nextToken").pop())
    }

    async fn register(world: &World, account: &Account, name: &str, snapshot: &str) -> String {
        let params = [
            ("Name", name),
            ("VirtualizationType", "hvm"),
            ("BlockDeviceMapping.1.DeviceName", "/dev/sda1"),
            ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot),
            ("TagSpecification.1.ResourceType", "image"),
            ("TagSpecification.1.Tag.1.Key", "Name"),
            ("TagSpecification.1.Tag.1.Value", name),
        ];
        world.call_as(account, REGION, "RegisterImage", &params).await.ok().value("imageId")
    }

    fn filter(n: usize, name: &str, values: &[&str]) -> Params {
        let values =
            (1..).zip(values).map(|(m, value)| (format!("Filter.{n}.Value.{m}"), (*value).to_owned()));
        [(format!("Filter.{n}.Name"), name.to_owned())].into_iter().chain(values).collect()
    }

    /// A value with a wildcard keeps a filter out of the search, and this one matches nothing.
    const NOTHING: &str = "no image has this*";

    /// What is asked, and the same said so that the search cannot narrow by it.
    fn spellings(n: usize, name: &str, value: &str) -> [Params; 2] {
        [filter(n, name, &[value]), filter(n, name, &[value, NOTHING])]
    }

    #[tokio::test]
    async fn a_narrow_search_finds_what_matching_finds_in_everything() {
        let world = World::new().await;
        let accounts = [world.owner.clone(), world.account("other").await, world.account("stranger").await];
        let mut values = vec![("is-public", "true".to_owned()), ("is-public", "false".to_owned())];
        for account in accounts.iter().take(2) {
            let snapshot = world.seed_snapshot_of(account, 1, b"x").await.to_string();
            for (at, name) in ["private", "public", "shared"].into_iter().enumerate() {
                let id = register(&world, account, name, &snapshot).await;
                values.extend([("image-id", id.clone()), ("name", name.to_owned())]);
                values.push(("tag:Name", name.to_owned()));
                let group = ("LaunchPermission.Add.1.Group", "all");
                let first = ("LaunchPermission.Add.1.UserId", world.owner.id.as_str());
                if let Some(permission) = [None, Some(group), Some(first)][at] {
                    let params = [("ImageId", id.as_str()), permission];
                    world.call_as(account, REGION, "ModifyImageAttribute", &params).await.ok();
                }
            }
            values.push(("block-device-mapping.snapshot-id", snapshot));
            values.push(("owner-id", account.id.to_string()));
        }
        values.extend([("state", "available".to_owned()), ("state", "pending".to_owned())]);
        let mut found = 0;
        for account in &accounts {
            for (at, (name, value)) in values.iter().enumerate() {
                for (other_name, other_value) in values.iter().skip(at).step_by(6) {
                    let [narrow, wide] = spellings(1, name, value);
                    let [more, wide_more] = spellings(2, other_name, other_value);
                    let by_search = ids_as(&world, account, &[narrow, more].concat()).await;
                    let by_matching = ids_as(&world, account, &[wide, wide_more].concat()).await;
                    let asked = format!("{name}={value} {other_name}={other_value}");
                    assert_eq!(by_search, by_matching, "{} {asked}", account.id);
                    found += by_search.0.len();
                }
            }
        }
        assert!(found > 50, "{found}");
    }

    #[tokio::test]
    async fn pages_are_full_however_few_images_match() {
        let world = World::new().await;
        let snapshot = world.seed_snapshot(1, b"x").await.to_string();
        for n in 0..60 {
            register(&world, &world.owner, &format!("n-{n:02}"), &snapshot).await;
        }
        for (name, values, wanted) in [
            ("name", &["*3", "*7"][..], 12),
            ("tag:Name", &["*3", "*7"], 12),
            ("tag-value", &["n-5?"], 10),
            ("name", &["n-01", "n-02"], 2),
            ("name", &["*"], 60),
        ] {
            let asked = filter(1, name, values);
            let (whole, _) = ids_as(&world, &world.owner, &asked).await;
            assert_eq!(whole.len(), wanted, "{name} {values:?}");
            let (mut paged, mut token) = (Vec::new(), None::<String>);
            loop {
                let mut params = asked.clone();
                params.push(("MaxResults".to_owned(), "5".to_owned()));
                params.extend(token.map(|token| ("NextToken".to_owned(), token)));
                let (ids, next) = ids_as(&world, &world.owner, &params).await;
                assert_eq!(ids.len(), (wanted - paged.len()).min(5), "{name} {values:?}");
                paged.extend(ids);
                token = next;
                if token.is_none() {
                    break;
                }
            }
            assert_eq!(paged, whole, "{name} {values:?}");
        }
    }
}
