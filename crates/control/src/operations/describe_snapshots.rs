//! `DescribeSnapshots`: the snapshots that the caller may make volumes from.

use model::{AccountId, Code, Snapshot, SnapshotId};
use wire::filter::{Filters, Table, one};
use wire::page::Paging;
use wire::shapes::{self, Filter};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::rules::once::each_once;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::{Tagged, tag_pairs};

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("SnapshotId")]
    snapshot_ids: Vec<SnapshotId>,
    /// Account ids, `self`, or `amazon`.
    #[query("Owner")]
    owners: Vec<String>,
    /// Account ids, `self`, or `all`.
    #[query("RestorableBy")]
    restorable_by: Vec<String>,
    #[query("Filter")]
    filters: Vec<Filter>,
    #[query(flatten)]
    paging: Paging,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("snapshotSet")]
    snapshots: Vec<shapes::Snapshot>,
    next_token: Option<String>,
}

const FILTERS: Table<Tagged<Snapshot>> = Table {
    names: &[
        ("description", |s| one(&s.item.description)),
        ("encrypted", |_| one(false)),
        ("owner-alias", |_| Vec::new()),
        ("owner-id", |s| one(&s.item.owner_id)),
        ("progress", |s| one(format!("{}%", s.item.progress_percent))),
        ("snapshot-id", |s| one(&s.item.snapshot_id)),
        ("start-time", |s| one(s.item.start_time)),
        ("status", |s| one(s.item.state)),
        ("storage-tier", |_| one("standard")),
        ("transfer-type", |_| Vec::new()),
        ("volume-id", |s| one(&s.item.volume_id)),
        ("volume-size", |s| one(s.item.volume_size_gib)),
    ],
    tags: Some(|s| tag_pairs(&s.tags)),
};

pub(super) struct DescribeSnapshots;
impl Operation for DescribeSnapshots {
    const ACTION: &'static str = "DescribeSnapshots";
    const ACCESS: Access = Access::Read("ec2:DescribeSnapshots");
    const ERRORS: &'static [Code] = &[Code::InvalidSnapshotNotFound];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        req.paging.refuse_with_ids("snapshotSet", !req.snapshot_ids.is_empty())?;
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        let mut snapshots = Vec::new();
        for id in each_once(&req.snapshot_ids) {
            snapshots.push(cx.snapshot(id).await?.into_inner());
        }
        if req.snapshot_ids.is_empty() {
            snapshots = cx.snapshots().await?;
        }
        let account = cx.account().clone();
        snapshots.retain(|s| asked_for(req, &account, s));
        let mut tagged = cx.tagged(snapshots, |s| s.snapshot_id.as_str()).await?;
        tagged.retain(|s| filters.matches(s));
        let page = cx.page(tagged, &req.paging, |s| s.item.snapshot_id.to_string())?;
        Ok(Response {
            snapshots: page.items.iter().map(|s| shapes::Snapshot::of(&s.item, &s.tags)).collect(),
            next_token: page.next_token,
        })
    }
}

fn asked_for(req: &Request, account: &AccountId, snapshot: &Snapshot) -> bool {
    let owner_is = |who: &String| match who.as_str() {
        "self" => snapshot.owner_id == *account,
        id => snapshot.owner_id.as_str() == id,
    };
    let restorable = |who: &String| who == "all" || owner_is(who);
    (req.owners.is_empty() || req.owners.iter().any(owner_is))
        && (req.restorable_by.is_empty() || req.restorable_by.iter().any(restorable))
}

#[cfg(test)]
mod tests {
    use testkit::World;

    async fn listed(world: &World, params: &[(&str, &str)]) -> Vec<String> {
        let mut ids = world.call("DescribeSnapshots", params).await.ok().values("snapshotId");
        ids.sort();
        ids
    }

    #[tokio::test]
    async fn a_completed_snapshot_shows_what_it_is() {
        let world = World::new().await;
        let id = world.seed_snapshot(2, &[7; 8192]).await;
        let reply = world.call("DescribeSnapshots", &[("SnapshotId.1", id.as_str())]).await.ok();
        for (element, value) in [
            ("snapshotId", id.as_str()),
            ("volumeId", "vol-ffffffff"),
            ("status", "completed"),
            ("startTime", "2026-11-21T08:00:00.000Z"),
            ("completionTime", "2026-11-21T08:00:00.000Z"),
            ("progress", "100%"),
            ("ownerId", world.owner.id.as_str()),
            ("volumeSize", "2"),
            ("fullSnapshotSizeInBytes", "8192"),
            ("encrypted", "false"),
            ("storageTier", "standard"),
        ] {
            assert_eq!(reply.value(element), value, "{element}");
        }
    }

    #[tokio::test]
    async fn filters_choose_among_the_own_snapshots() {
        let world = World::new().await;
        let volume = world.seed_volume(3, None).await;
        let create = [("VolumeId", volume.as_str()), ("Description", "of a volume")];
        let pending = world.call("CreateSnapshot", &create).await.ok().value("snapshotId");
        let done = world.seed_snapshot(2, b"x").await.to_string();
        let tag = [("ResourceId.1", done.as_str()), ("Tag.1.Key", "role"), ("Tag.1.Value", "base")];
        world.call("CreateTags", &tag).await.ok();
        for (name, value, expected) in [
            ("description", "of a*", &[&pending][..]),
            ("encrypted", "false", &[&pending, &done]),
            ("encrypted", "true", &[]),
            ("owner-alias", "amazon", &[]),
            ("owner-id", world.owner.id.as_str(), &[&pending, &done]),
            ("progress", "100%", &[&done]),
            ("snapshot-id", &done, &[&done]),
            ("start-time", "2026-11-*", &[&pending, &done]),
            ("status", "pending", &[&pending]),
            ("storage-tier", "standard", &[&pending, &done]),
            ("tag:role", "base", &[&done]),
            ("tag-key", "role", &[&done]),
            ("transfer-type", "standard", &[]),
            ("volume-id", volume.as_str(), &[&pending]),
            ("volume-size", "2", &[&done]),
        ] {
            let mut expected: Vec<String> = expected.iter().map(|id| (*id).clone()).collect();
            expected.sort();
            let filter = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
            assert_eq!(listed(&world, &filter).await, expected, "{name} {value}");
        }
        let unknown = [("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")];
        assert_eq!(world.call("DescribeSnapshots", &unknown).await.error_code(), "InvalidParameterValue");
    }

    #[tokio::test]
    async fn only_own_snapshots_are_there_whoever_is_asked_for() {
        let world = World::new().await;
        let other = world.account("other").await;
        let own = world.seed_snapshot(1, b"x").await.to_string();
        let foreign = world.seed_snapshot_of(&other, 1, b"x").await;
        let (me, them) = (world.owner.id.to_string(), other.id.to_string());
        for (name, who, count) in [
            ("Owner.1", "self", 1),
            ("Owner.1", me.as_str(), 1),
            ("Owner.1", them.as_str(), 0),
            ("Owner.1", "amazon", 0),
            ("RestorableBy.1", "self", 1),
            ("RestorableBy.1", "all", 1),
            ("RestorableBy.1", them.as_str(), 0),
        ] {
            assert_eq!(listed(&world, &[(name, who)]).await.len(), count, "{name} {who}");
        }
        assert_eq!(listed(&world, &[]).await, [own.as_str()]);
        let missing = world.call("DescribeSnapshots", &[("SnapshotId.1", foreign.as_str())]).await;
        assert_eq!(missing.error_code(), "InvalidSnapshot.NotFound");
        assert_eq!(missing.error_message(), format!("The snapshot '{foreign}' does not exist."));
        let elsewhere = world.call_as(&world.owner, "eu-west-1", "DescribeSnapshots", &[]).await.ok();
        assert!(!elsewhere.has("snapshotId"));
    }

    #[tokio::test]
    async fn pages_hold_what_was_asked_for() {
        let world = World::new().await;
        let mut ids = Vec::new();
        for _ in 0..7 {
            ids.push(world.seed_snapshot(1, b"x").await.to_string());
        }
        ids.sort();
        let first = world.call("DescribeSnapshots", &[("MaxResults", "5")]).await.ok();
        let token = first.value("nextToken");
        let rest = world.call("DescribeSnapshots", &[("MaxResults", "5"), ("NextToken", &token)]).await.ok();
        assert!(!rest.has("nextToken"));
        assert_eq!([first.values("snapshotId"), rest.values("snapshotId")].concat(), ids);
        let both = [("MaxResults", "5"), ("SnapshotId.1", ids[0].as_str())];
        let refused = world.call("DescribeSnapshots", &both).await;
        assert_eq!(refused.error_code(), "InvalidParameterCombination");
    }
}
