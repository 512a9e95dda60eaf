//! `DescribeSnapshots`: the snapshots that the caller may make volumes from.

use model::{AccountId, Code, Snapshot, SnapshotId};
use wire::filter::{Filters, Table, one};
use wire::page::Paging;
use wire::shapes::{self, Filter};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
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
        for id in &req.snapshot_ids {
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
