//! Finds uploads that stand still for longer than their clients said.

use std::time::Duration;

use crate::failure::Failure;
use crate::jobs::abandon_upload::{AbandonUpload, has_expired};
use crate::spine::job::{Io, JobWrite};
use crate::spine::runner::Sweep;

pub(super) const SWEEP: Sweep =
    Sweep { name: "expired_uploads", every: Duration::from_mins(1), run: |io| Box::pin(sweep(io)) };

async fn sweep(io: &Io) -> Result<bool, Failure> {
    let now = io.env.clock.now();
    let mut tx = io.metastore.read().await?;
    let mut uploads = tx.snapshots_pending_upload().await?;
    tx.rollback().await;
    uploads.retain(|upload| has_expired(upload, now));
    if uploads.is_empty() {
        return Ok(false);
    }
    let mut tx = io.metastore.write().await?;
    let mut write = JobWrite::new(&mut tx, &io.env);
    for upload in &uploads {
        write.enqueue(&AbandonUpload::of(&upload.snapshot_id)).await?;
    }
    tx.commit().await?;
    Ok(true)
}
