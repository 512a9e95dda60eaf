//! Snapshots: the owner's alone, until sharing of snapshots exists.

use model::{Snapshot, SnapshotId};

use super::super::cx::Cx;
use super::super::granted::{Creation, Granted};
use super::super::write::Write;
use crate::failure::Failure;

impl Cx<'_> {
    pub(crate) async fn snapshot(&mut self, id: &SnapshotId) -> Result<Granted<Snapshot>, Failure> {
        let found = self.tx.snapshot_get(id).await?;
        let own = found.filter(|s| s.owner_id == self.caller.account && s.region == self.caller.region);
        own.map(Granted::new).ok_or_else(|| Failure::snapshot_not_found(id))
    }

    pub(crate) async fn snapshots(&mut self) -> Result<Vec<Snapshot>, Failure> {
        Ok(self.tx.snapshots_owned(&self.caller.account, self.caller.region).await?)
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

    pub(crate) async fn snapshot_delete(&mut self, snapshot: Granted<Snapshot>) -> Result<(), Failure> {
        self.cx.tx.tags_delete_all(snapshot.snapshot_id.as_str()).await?;
        self.cx.tx.snapshot_delete(&snapshot.snapshot_id).await?;
        Ok(())
    }
}
