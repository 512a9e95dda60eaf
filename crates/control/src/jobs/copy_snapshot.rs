//! Brings a snapshot's content into another domain, then publishes the root there.

use blockstore::{Domain, Root};
use model::{Snapshot, SnapshotId, SnapshotOrigin, SnapshotState, StateReason};
use serde::{Deserialize, Serialize};

use super::keep_record::KeepRecord;
use crate::failure::Failure;
use crate::spine::job::{Io, Job, JobKey, JobWrite, Next, Stop};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CopySnapshot {
    target: SnapshotId,
    step: Step,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Copy,
    Publish { root: String },
}

pub(crate) enum Outcome {
    /// The target's row is gone: somebody deleted it meanwhile.
    Gone,
    Copied(Root),
    Published {
        full_size_bytes: u64,
    },
}

impl CopySnapshot {
    pub(crate) fn to(target: &SnapshotId) -> Self {
        Self { target: target.clone(), step: Step::Copy }
    }
}

impl Job for CopySnapshot {
    const KIND: &'static str = "copy_snapshot";
    type Outcome = Outcome;

    fn key(&self) -> JobKey {
        JobKey::snapshot(&self.target)
    }

    async fn work(&self, io: &Io) -> Result<Outcome, Stop> {
        let mut tx = io.read().await?;
        let Some(target) = tx.snapshot_get(&self.target).await? else { return Ok(Outcome::Gone) };
        let domain = io.domain(&mut tx, &target.domain).await?;
        match &self.step {
            Step::Copy => {
                let (source, root) = source_of(io, &mut tx, &target).await?;
                tx.rollback().await;
                copy(&domain, &source, &root).await
            }
            Step::Publish { root } => {
                tx.rollback().await;
                let root = root.parse().map_err(|e: blockstore::Error| Stop::internal(e.to_string()))?;
                domain.publish(self.target.as_str(), &root, None).await?;
                let full_size_bytes = domain.reader(&root).await?.full_size_bytes();
                Ok(Outcome::Published { full_size_bytes })
            }
        }
    }

    async fn settle(&mut self, write: &mut JobWrite<'_>, done: Outcome) -> Result<Next, Stop> {
        match done {
            Outcome::Gone => Ok(Next::Done),
            Outcome::Copied(root) => {
                self.step = Step::Publish { root: root.to_string() };
                Ok(Next::Again)
            }
            Outcome::Published { full_size_bytes } => {
                self.complete(write, full_size_bytes).await?;
                Ok(Next::Done)
            }
        }
    }

    async fn give_up(&self, write: &mut JobWrite<'_>, reason: &StateReason) -> Result<(), Failure> {
        if let Some(mut target) = write.tx.snapshot_get(&self.target).await?
            && target.state == SnapshotState::Pending
        {
            target.state = SnapshotState::Error;
            target.state_message = Some(reason.message.clone());
            write.tx.snapshot_update(&target).await?;
        }
        Ok(())
    }
}

impl CopySnapshot {
    async fn complete(&self, write: &mut JobWrite<'_>, full_size_bytes: u64) -> Result<(), Stop> {
        let Step::Publish { root } = &self.step else {
            return Err(Stop::internal("published by a step that publishes nothing"));
        };
        let Some(mut target) = write.tx.snapshot_get(&self.target).await? else { return Ok(()) };
        target.state = SnapshotState::Completed;
        target.completion_time = Some(write.now());
        target.progress_percent = 100;
        target.full_snapshot_size_bytes = Some(full_size_bytes);
        target.root = Some(root.clone());
        write.tx.snapshot_update(&target).await?;
        let Snapshot { snapshot_id, owner_id, region, .. } = &target;
        Ok(write.enqueue(&KeepRecord::of_snapshot(snapshot_id, owner_id, *region)).await?)
    }
}

async fn source_of(io: &Io, tx: &mut metastore::Tx, target: &Snapshot) -> Result<(Domain, Root), Stop> {
    let SnapshotOrigin::Copy { source_snapshot_id, .. } = &target.origin else {
        return Err(Stop::internal("a copy job of a snapshot that is no copy"));
    };
    let gone = || Stop::give_up("Client.InvalidSnapshot.NotFound", "The source snapshot is gone.");
    let source = tx.snapshot_get(source_snapshot_id).await?.ok_or_else(gone)?;
    let root = source.root.as_deref().ok_or_else(gone)?;
    let root = root.parse().map_err(|e: blockstore::Error| Stop::internal(e.to_string()))?;
    Ok((io.domain(tx, &source.domain).await?, root))
}

/// Within one domain the content is there already, under the same root.
async fn copy(target: &Domain, source: &Domain, root: &Root) -> Result<Outcome, Stop> {
    if target.id() == source.id() {
        // The row that it was read from may go before this job has written it down.
        target.hold(root).await?;
        return Ok(Outcome::Copied(root.clone()));
    }
    let (copied, stats) = target.copy_from(source, root, None).await?;
    tracing::info!(?stats, "copied the content of a snapshot");
    Ok(Outcome::Copied(copied))
}
