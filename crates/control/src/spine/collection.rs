//! What the snapshot store's collector must know of rows, and rounds of it over all domains.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use blockstore::{BLOCK_BYTES, Collected, DomainSecret, Policy, Repacked, Root, Store};
use metastore::{Metastore, Tx};
use model::{AccountId, Clock, Region, Snapshot, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;

/// Rows that are read at once.
const PAGE: u32 = 1000;
/// Rounds of one request: each deletes a bounded number of objects.
const ROUNDS_MAX: u32 = 100;
/// Blocks that one batch of repacking moves: nothing of a batch that is cut short counts.
const REPACKED_BYTES: u64 = 1 << 30;
/// A little more than the time for which the collector takes a root to be on its way between rows.
const HANDOVER: Duration = Duration::from_millis(5_100);

/// The collector as an administrator asks for it.
#[derive(Debug, Clone)]
pub struct Collection {
    metastore: Metastore,
    store: Store,
    clock: Arc<dyn Clock>,
}

/// When to collect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// One round, as the timer does it.
    Due,
    /// What is dead now is condemned at once, and rounds go on while there is something to delete.
    Now,
}

/// Which packs are rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repack {
    /// Those of which little is needed.
    Sparse,
    /// All, as small as can be.
    All,
}

/// How far repacking is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepackProgress {
    pub domain: String,
    pub moved_bytes: u64,
}

/// One storage domain: what is in it for its users, and what the collector finds.
#[derive(Debug, Clone)]
pub struct DomainUsage {
    pub domain: String,
    pub account_id: AccountId,
    pub region: Region,
    pub snapshots: u64,
    pub images: u64,
    /// Bytes of all snapshots, as if each were stored by itself.
    pub logical_bytes: u64,
    pub found: Collected,
}

impl Collection {
    pub fn new(metastore: Metastore, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { metastore, store, clock }
    }

    /// Collects in all domains; None as `retire_time` is the usual one.
    pub async fn collect(
        &self,
        when: When,
        retire_time: Option<Duration>,
    ) -> Result<Vec<(String, Collected)>, Failure> {
        let mut policy = Policy::default();
        policy.retire_time = retire_time.unwrap_or(policy.retire_time);
        if when == When::Due {
            return self.round(&policy).await;
        }
        policy.dead_time = Duration::ZERO;
        // What the first round finds dead, the second condemns, and the third deletes.
        let mut totals = self.round(&policy).await?;
        for _ in 0..ROUNDS_MAX {
            let waits = |(_, found): &(String, Collected)| found.retired_objects > 0 && !found.is_alarmed;
            let is_waiting = policy.retire_time <= HANDOVER && totals.iter().any(waits);
            if is_waiting {
                tokio::time::sleep(HANDOVER.max(policy.retire_time)).await;
            }
            let round = self.round(&policy).await?;
            // What was deleted a moment ago may have become dead between two rounds.
            let has_news = round.iter().zip(&totals).any(|((_, new), (_, old))| {
                new.condemned_objects + new.deleted_objects > 0 || new.dead_objects != old.dead_objects
            });
            add(&mut totals, &round);
            if !has_news && !is_waiting {
                break;
            }
        }
        Ok(totals)
    }

    /// Rewrites packs of all domains. What that leaves behind is collected later.
    pub async fn repack(
        &self,
        what: Repack,
        tell: &(dyn Fn(RepackProgress) + Send + Sync),
    ) -> Result<Vec<(String, Repacked)>, Failure> {
        let which = match what {
            Repack::Sparse => blockstore::Repack::Sparse,
            Repack::All => blockstore::Repack::All,
        };
        let mut done = Vec::new();
        for (row, domain) in self.domains().await? {
            let mut total = Repacked::default();
            while !total.is_done {
                let (read_at, roots) = self.live_roots().await?;
                let batch = domain.repack(&roots, read_at, &Policy::default(), which, REPACKED_BYTES).await?;
                let Some(batch) = batch else { continue };
                total = total.and(&batch);
                let moved_bytes = total.moved_blocks * BLOCK_BYTES;
                tell(RepackProgress { domain: row.domain.clone(), moved_bytes });
            }
            done.push((row.domain, total));
        }
        Ok(done)
    }

    /// Lets deletion go on where an alarm has stopped it.
    pub async fn acknowledge(&self) -> Result<(), Failure> {
        for (_, domain) in self.domains().await? {
            domain.acknowledge().await?;
        }
        Ok(())
    }

    pub async fn usage(&self) -> Result<Vec<DomainUsage>, Failure> {
        let mut usages = Vec::new();
        let policy = Policy::default();
        for (row, domain) in self.domains().await? {
            let found = loop {
                let (read_at, roots) = self.live_roots().await?;
                if let Some(found) = domain.measure(&roots, read_at, &policy).await? {
                    break found;
                }
            };
            usages.push(DomainUsage {
                domain: row.domain,
                account_id: row.account_id,
                region: row.region,
                snapshots: 0,
                images: 0,
                logical_bytes: 0,
                found,
            });
        }
        self.count(&mut usages).await?;
        Ok(usages)
    }

    /// What users see of each domain.
    async fn count(&self, usages: &mut [DomainUsage]) -> Result<(), Failure> {
        let mut tx = self.metastore.read().await?;
        let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut next = Some(String::new());
        while let Some(after) = next {
            let page = tx.snapshots_page(&after, PAGE).await?;
            for snapshot in page.iter().filter(|snapshot| snapshot.root.is_some()) {
                if let Some(usage) = usages.iter_mut().find(|usage| usage.domain == snapshot.domain) {
                    usage.snapshots += 1;
                    usage.logical_bytes += snapshot.full_snapshot_size_bytes.unwrap_or(0);
                }
                let using = tx.images_using_snapshot(&snapshot.snapshot_id).await?;
                let using = using.into_iter().map(|image| image.image_id.to_string());
                images.entry(snapshot.domain.clone()).or_default().extend(using);
            }
            next = last_id(&page);
        }
        for usage in usages {
            usage.images = images.get(&usage.domain).map_or(0, |images| images.len() as u64);
        }
        Ok(())
    }

    async fn round(&self, policy: &Policy) -> Result<Vec<(String, Collected)>, Failure> {
        let mut done = Vec::new();
        for (row, domain) in self.domains().await? {
            loop {
                let (read_at, roots) = self.live_roots().await?;
                if let Some(found) = domain.collect(&roots, read_at, policy).await? {
                    done.push((row.domain, found));
                    break;
                }
            }
        }
        Ok(done)
    }

    async fn domains(&self) -> Result<Vec<(metastore::Domain, blockstore::Domain)>, Failure> {
        let rows = self.metastore.read().await?.domains().await?;
        let open = |row: metastore::Domain| {
            let domain = self.store.domain(&row.domain, &DomainSecret::new(row.secret));
            (row, domain)
        };
        Ok(rows.into_iter().map(open).collect())
    }

    async fn live_roots(&self) -> Result<(Timestamp, Vec<Root>), Failure> {
        let read_at = self.clock.now();
        Ok((read_at, live_roots(&self.metastore).await?))
    }
}

fn add(totals: &mut [(String, Collected)], round: &[(String, Collected)]) {
    for ((_, total), (_, found)) in totals.iter_mut().zip(round) {
        *total = Collected {
            condemned_objects: total.condemned_objects + found.condemned_objects,
            deleted_objects: total.deleted_objects + found.deleted_objects,
            deleted_bytes: total.deleted_bytes + found.deleted_bytes,
            ..*found
        };
    }
}

/// Every root that any row names, at one moment.
pub(crate) async fn live_roots(metastore: &Metastore) -> Result<Vec<Root>, Failure> {
    let mut tx = metastore.read().await?;
    let mut roots = HashSet::new();
    roots_of_snapshots(&mut tx, &mut roots).await?;
    let mut next = Some(String::new());
    while let Some(after) = next {
        let page = tx.volumes_page(&after, PAGE).await?;
        add_roots_of(&page, &mut roots)?;
        next = page.last().map(|volume| volume.volume_id.to_string());
    }
    for job in tx.jobs_live().await? {
        // Whatever this is, it could name anything: better to collect nothing.
        let payload: Value = serde_json::from_str(&job.payload).map_err(Failure::internal)?;
        find_roots(&payload, &mut roots);
    }
    Ok(roots.into_iter().collect())
}

async fn roots_of_snapshots(tx: &mut Tx, roots: &mut HashSet<Root>) -> Result<(), Failure> {
    let mut next = Some(String::new());
    while let Some(after) = next {
        let page = tx.snapshots_page(&after, PAGE).await?;
        add_roots_of(&page, roots)?;
        next = last_id(&page);
    }
    Ok(())
}

fn last_id(page: &[Snapshot]) -> Option<String> {
    page.last().map(|snapshot| snapshot.snapshot_id.to_string())
}

fn add_roots_of(rows: &impl Serialize, roots: &mut HashSet<Root>) -> Result<(), Failure> {
    find_roots(&serde_json::to_value(rows).map_err(Failure::internal)?, roots);
    Ok(())
}

/// Every string that is a root, wherever it stands: so a field or a job that comes later cannot be
/// forgotten here. Something else that looks like one keeps a few bytes too long at worst.
fn find_roots(value: &Value, roots: &mut HashSet<Root>) {
    match value {
        Value::String(text) => roots.extend(text.parse::<Root>()),
        Value::Array(values) => values.iter().for_each(|value| find_roots(value, roots)),
        Value::Object(fields) => fields.values().for_each(|value| find_roots(value, roots)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
