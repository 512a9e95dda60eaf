//! Snapshots: the owner's alone, until sharing of snapshots exists.

use std::collections::BTreeSet;

use model::{Snapshot, SnapshotId, SnapshotOrigin};

use super::super::cx::Cx;
use super::super::granted::{Creation, Granted};
use super::super::write::Write;
use crate::failure::Failure;
use crate::jobs::delete_snapshot::DeleteSnapshot;
use crate::jobs::keep_record::KeepRecord;

/// How far back a lineage is looked at.
const LINEAGE_MAX: usize = 10_000;

impl Cx<'_> {
    pub(crate) async fn snapshot(&mut self, id: &SnapshotId) -> Result<Granted<Snapshot>, Failure> {
        let found = self.tx.snapshot_get(id).await?;
        let own = found.filter(|s| s.owner_id == self.caller.account && s.region == self.caller.region);
        own.map(Granted::new).ok_or_else(|| Failure::snapshot_not_found(id))
    }

    pub(crate) async fn snapshots(&mut self) -> Result<Vec<Snapshot>, Failure> {
        Ok(self.tx.snapshots_owned(&self.caller.account, self.caller.region).await?)
    }

    /// Ids of the volumes and snapshots that a snapshot comes from, itself included. Two snapshots
    /// that share one have a common history.
    pub(crate) async fn lineage(&mut self, snapshot: &Snapshot) -> Result<BTreeSet<String>, Failure> {
        let mut lineage = BTreeSet::new();
        let mut next = Some(snapshot.clone());
        while let Some(snapshot) = next.take().filter(|_| lineage.len() < LINEAGE_MAX) {
            lineage.insert(snapshot.snapshot_id.to_string());
            let parent = match &snapshot.origin {
                SnapshotOrigin::Volume { .. } => {
                    lineage.insert(snapshot.volume_id.to_string());
                    let volume = self.tx.volume_get(&snapshot.volume_id).await?;
                    volume.and_then(|volume| volume.snapshot_id)
                }
                SnapshotOrigin::Upload { parent_snapshot_id, .. } => parent_snapshot_id.clone(),
                SnapshotOrigin::Copy { source_snapshot_id, .. } => Some(source_snapshot_id.clone()),
            };
            if let Some(parent) = parent {
                lineage.insert(parent.to_string());
                next = self.tx.snapshot_get(&parent).await?;
            }
        }
        Ok(lineage)
    }

    /// The snapshot below a device of an image that the caller may launch, whoever owns it.
    pub(crate) async fn snapshot_of_image(
        &mut self,
        image: &Granted<model::Image>,
        id: &SnapshotId,
    ) -> Result<Granted<Snapshot>, Failure> {
        let named = image.snapshot_ids().any(|snapshot_id| snapshot_id == id);
        let found = if named { self.tx.snapshot_get(id).await? } else { None };
        found.map(Granted::new).ok_or_else(|| Failure::snapshot_not_found(id))
    }
}

impl Write<'_, '_> {
    pub(crate) async fn snapshot_insert(
        &mut self,
        creation: Creation,
        snapshot: &Snapshot,
    ) -> Result<(), Failure> {
        self.cx.tx.snapshot_insert(snapshot).await?;
        self.created_tags_put(&creation, snapshot.snapshot_id.as_str()).await
    }

    pub(crate) async fn snapshot_update(&mut self, snapshot: Granted<Snapshot>) -> Result<(), Failure> {
        Ok(self.cx.tx.snapshot_update(&snapshot).await?)
    }

    /// The row goes now; a job removes what stands behind it.
    pub(crate) async fn snapshot_delete(&mut self, snapshot: Granted<Snapshot>) -> Result<(), Failure> {
        self.cx.tx.tags_delete_all(snapshot.snapshot_id.as_str()).await?;
        self.cx.tx.snapshot_delete(&snapshot.snapshot_id).await?;
        let Snapshot { snapshot_id, owner_id, region, .. } = &*snapshot;
        self.enqueue(&KeepRecord::of_snapshot(snapshot_id, owner_id, *region)).await?;
        self.enqueue(&DeleteSnapshot::of(&snapshot)).await
    }
}
