//! Texts about snapshots. Clients take ids out of single quotes.

use model::{Code, ImageId, SnapshotId};

use super::Failure;

impl Failure {
    pub(crate) fn snapshot_not_found(id: &SnapshotId) -> Self {
        Self::new(Code::InvalidSnapshotNotFound, format!("The snapshot '{id}' does not exist."))
    }

    pub(crate) fn snapshot_in_use(id: &SnapshotId, image: &ImageId) -> Self {
        Self::new(Code::InvalidSnapshotInUse, format!("The snapshot {id} is currently in use by {image}"))
    }

    pub(crate) fn snapshot_not_completed(id: &SnapshotId) -> Self {
        Self::new(Code::IncorrectState, format!("Snapshot '{id}' is not 'completed'."))
    }
}
