//! Fixes a volume's content, stores what changed since the snapshot before, publishes the new root.

mod spans;
#[cfg(test)]
mod tests;

use std::ops::Range;

use blockstore::{Domain, Reader, Root, Writer};
use model::limits::EBS_BLOCK_BYTES;
use model::{Snapshot, SnapshotId, SnapshotOrigin, SnapshotState, StateReason};
use serde::{Deserialize, Serialize};

use self::spans::Span;
use super::abandon_upload::AbandonUpload;
use super::keep_record::KeepRecord;
use crate::failure::Failure;
use crate::ports::FrozenExtent;
use crate::spine::job::{Io, Job, JobKey, JobWrite, Next, Stop};

/// How much one turn stores before it saves where it is.
const TURN_BYTES: u64 = 256 << 20;
/// Changes that one turn reads: scattered small ones cost more than their bytes.
const TURN_PIECES: usize = 16 << 10;

/// Rows of blocks that are read at once.
const PUT_BLOCKS_PAGE: u32 = 10_000;

/// For snapshots of volumes and for uploads alike: an upload's blocks are in a staging volume of its own name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UploadSnapshot {
    snapshot_id: SnapshotId,
    step: Step,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Freeze,
    Store(Progress),
    Publish { root: String, parent: Option<String> },
    Release,
}

#[derive(Default, Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The content at `since`, on which the new root builds.
    base: Option<String>,
    since: Option<SnapshotId>,
    /// The root with everything below `done_bytes` in place.
    root: Option<String>,
    done_bytes: u64,
    /// For the log: bytes of blocks that the domain did not have, and of the objects that hold them.
    #[serde(default)]
    new_bytes: u64,
    #[serde(default)]
    stored_bytes: u64,
}

pub(crate) enum Outcome {
    /// The snapshot's row is gone: somebody deleted it meanwhile.
    Gone,
    Frozen(Progress),
    Stored {
        progress: Progress,
        percent: u8,
    },
    Complete(Root),
    Published {
        full_size_bytes: u64,
    },
    Released,
}

impl UploadSnapshot {
    pub(crate) fn of(snapshot_id: &SnapshotId) -> Self {
        Self { snapshot_id: snapshot_id.clone(), step: Step::Freeze }
    }
}

impl Job for UploadSnapshot {
    const KIND: &'static str = "upload_snapshot";
    /// Never: giving up would throw away blocks that were acknowledged, and a full disk passes.
    const ATTEMPTS_MAX: u32 = u32::MAX;
    type Outcome = Outcome;

    fn key(&self) -> JobKey {
        JobKey::snapshot(&self.snapshot_id)
    }

    async fn work(&self, io: &Io) -> Result<Outcome, Stop> {
        let Some(source) = Source::find(io, &self.snapshot_id).await? else { return Ok(Outcome::Gone) };
        match &self.step {
            Step::Freeze => source.freeze(io).await,
            Step::Store(progress) => source.store(io, progress).await,
            Step::Publish { root, parent } => source.publish(root, parent.as_deref()).await,
            Step::Release => source.release(io).await,
        }
    }

    async fn settle(&mut self, write: &mut JobWrite<'_>, done: Outcome) -> Result<Next, Stop> {
        self.step = match done {
            Outcome::Gone => return Ok(Next::Done),
            Outcome::Released => {
                write.tx.upload_blocks_delete_all(&self.snapshot_id).await?;
                return Ok(Next::Done);
            }
            Outcome::Frozen(progress) => Step::Store(progress),
            Outcome::Stored { progress, percent } => {
                self.set_progress(write, percent).await?;
                Step::Store(progress)
            }
            Outcome::Complete(root) => {
                let Step::Store(Progress { base, .. }) = &self.step else {
                    return Err(Stop::internal("a root from a step that stores none"));
                };
                Step::Publish { root: root.to_string(), parent: base.clone() }
            }
            Outcome::Published { full_size_bytes } => {
                self.complete(write, full_size_bytes).await?;
                Step::Release
            }
        };
        Ok(Next::Again)
    }

    async fn give_up(&self, write: &mut JobWrite<'_>, reason: &StateReason) -> Result<(), Failure> {
        if let Some(mut snapshot) = write.tx.snapshot_get(&self.snapshot_id).await?
            && snapshot.state == SnapshotState::Pending
        {
            snapshot.state = SnapshotState::Error;
            snapshot.state_message = Some(reason.message.clone());
            write.tx.snapshot_update(&snapshot).await?;
            if matches!(snapshot.origin, SnapshotOrigin::Upload { .. }) {
                write.enqueue(&AbandonUpload::of(&self.snapshot_id)).await?;
            }
        }
        Ok(())
    }
}

impl UploadSnapshot {
    async fn set_progress(&self, write: &mut JobWrite<'_>, percent: u8) -> Result<(), Stop> {
        if let Some(mut snapshot) = write.tx.snapshot_get(&self.snapshot_id).await? {
            snapshot.progress_percent = percent;
            write.tx.snapshot_update(&snapshot).await?;
        }
        Ok(())
    }

    /// The snapshot is completed, and its volume's next snapshot builds upon it.
    async fn complete(&self, write: &mut JobWrite<'_>, full_size_bytes: u64) -> Result<(), Stop> {
        let Step::Publish { root, .. } = &self.step else {
            return Err(Stop::internal("published by a step that publishes nothing"));
        };
        let Some(mut snapshot) = write.tx.snapshot_get(&self.snapshot_id).await? else { return Ok(()) };
        snapshot.state = SnapshotState::Completed;
        snapshot.completion_time = Some(write.now());
        snapshot.progress_percent = 100;
        snapshot.full_snapshot_size_bytes = Some(full_size_bytes);
        snapshot.root = Some(root.clone());
        write.tx.snapshot_update(&snapshot).await?;
        let Snapshot { snapshot_id, owner_id, region, .. } = &snapshot;
        write.enqueue(&KeepRecord::of_snapshot(snapshot_id, owner_id, *region)).await?;
        if let Some(mut volume) = write.tx.volume_get(&snapshot.volume_id).await? {
            volume.checkpoint = Some(model::volume::VolumeCheckpoint {
                snapshot_id: snapshot.snapshot_id,
                root: root.clone(),
            });
            write.tx.volume_update(&volume).await?;
        }
        Ok(())
    }
}

/// The snapshot's row, the volume that it is taken of, and the domain that takes its bytes.
struct Source {
    snapshot: Snapshot,
    /// The host's name of the volume.
    key: String,
    size_bytes: u64,
    domain: Domain,
}

impl Source {
    async fn find(io: &Io, id: &SnapshotId) -> Result<Option<Self>, Stop> {
        let mut tx = io.read().await?;
        let Some(snapshot) = tx.snapshot_get(id).await? else { return Ok(None) };
        let key = match &snapshot.origin {
            SnapshotOrigin::Upload { .. } => snapshot.snapshot_id.to_string(),
            SnapshotOrigin::Volume { .. } | SnapshotOrigin::Copy { .. } => snapshot.volume_id.to_string(),
        };
        let domain = io.domain(&mut tx, &snapshot.domain).await?;
        let size_bytes = u64::from(snapshot.volume_size_gib) << 30;
        Ok(Some(Self { snapshot, key, size_bytes, domain }))
    }

    fn freeze_name(&self) -> &str {
        self.snapshot.snapshot_id.as_str()
    }

    async fn freeze(&self, io: &Io) -> Result<Outcome, Stop> {
        io.host.volume_freeze(&self.key, self.freeze_name()).await?;
        let (base, since) = self.base(io).await?;
        Ok(Outcome::Frozen(Progress { base, since, ..Progress::default() }))
    }

    /// What the new root builds on: the volume's snapshot before, else what the volume was made from.
    async fn base(&self, io: &Io) -> Result<(Option<String>, Option<SnapshotId>), Stop> {
        let mut tx = io.read().await?;
        let (root, domain) = match &self.snapshot.origin {
            SnapshotOrigin::Upload { parent_root, .. } => return Ok((parent_root.clone(), None)),
            SnapshotOrigin::Volume { checkpoint: Some(before) } => {
                return Ok((Some(before.root.clone()), Some(before.snapshot_id.clone())));
            }
            SnapshotOrigin::Volume { checkpoint: None } => {
                let Some(volume) = tx.volume_get(&self.snapshot.volume_id).await? else {
                    return Err(Stop::give_up("Client.InvalidVolume.NotFound", "The volume is gone."));
                };
                (volume.base_root, volume.base_domain)
            }
            SnapshotOrigin::Copy { .. } => return Err(Stop::internal("an upload job of a copy")),
        };
        let (Some(root), Some(domain)) = (root, domain) else { return Ok((None, None)) };
        if domain == self.snapshot.domain {
            return Ok((Some(root), None));
        }
        // The image was shared by another account: its blocks move into this account's domain once.
        let source = io.domain(&mut tx, &domain).await?;
        let (root, _) = self.domain.copy_from(&source, &parse_root(&root)?, None).await?;
        Ok((Some(root.to_string()), None))
    }

    async fn store(&self, io: &Io, progress: &Progress) -> Result<Outcome, Stop> {
        let since = progress.since.as_ref().map(SnapshotId::as_str);
        let extents = self.extents(io, since).await?;
        let base = progress.base.as_deref().map(parse_root).transpose()?;
        let reader = match &base {
            Some(base) => Some(self.domain.reader(base).await?),
            None => None,
        };
        let start = progress.root.as_deref().map(parse_root).transpose()?.or(base);
        let mut writer = self.domain.writer(start.as_ref(), self.size_bytes).await?;
        let spans = spans::of(&extents);
        let total: u64 = spans.iter().map(Span::len_bytes).sum();
        let (mut turn_bytes, mut turn_pieces) = (0, 0);
        let mut done_bytes = progress.done_bytes;
        for span in spans.iter().filter(|span| span.start_bytes >= progress.done_bytes) {
            self.store_span(io, &mut writer, reader.as_ref(), span).await?;
            done_bytes = span.end_bytes;
            turn_bytes += if span.is_zero() { 0 } else { span.len_bytes() };
            turn_pieces += span.pieces.len();
            if turn_bytes >= TURN_BYTES || turn_pieces >= TURN_PIECES {
                break;
            }
        }
        let (root, stats) = writer.commit().await?;
        let new_bytes = progress.new_bytes + stats.new_blocks * blockstore::BLOCK_BYTES;
        let stored_bytes = progress.stored_bytes + stats.stored_bytes;
        if spans.last().is_none_or(|last| last.end_bytes <= done_bytes) {
            tracing::info!(
                snapshot = %self.snapshot.snapshot_id,
                changed_bytes = total,
                new_bytes,
                stored_bytes,
                "stored the content of a snapshot"
            );
            return Ok(Outcome::Complete(root));
        }
        let stored: u64 = spans.iter().filter(|s| s.end_bytes <= done_bytes).map(Span::len_bytes).sum();
        let percent = u8::try_from(stored * 99 / total.max(1)).unwrap_or(99);
        let root = Some(root.to_string());
        let progress = Progress { root, done_bytes, new_bytes, stored_bytes, ..progress.clone() };
        Ok(Outcome::Stored { progress, percent })
    }

    async fn extents(&self, io: &Io, since: Option<&str>) -> Result<Vec<FrozenExtent>, Stop> {
        let extents = io.host.frozen_extents(&self.key, self.freeze_name(), since).await?;
        match &self.snapshot.origin {
            // A block whose put was cut short may have left bytes, but was never acknowledged.
            SnapshotOrigin::Upload { .. } => Ok(spans::within(&extents, &self.put_runs(io).await?)),
            SnapshotOrigin::Volume { .. } | SnapshotOrigin::Copy { .. } => Ok(extents),
        }
    }

    /// Where the client has put blocks, as byte ranges in ascending order.
    async fn put_runs(&self, io: &Io) -> Result<Vec<Range<u64>>, Stop> {
        let mut tx = io.read().await?;
        let mut runs: Vec<Range<u64>> = Vec::new();
        let mut next = Some(0);
        while let Some(first) = next {
            let page = tx.upload_blocks_page(&self.snapshot.snapshot_id, first, PUT_BLOCKS_PAGE).await?;
            for (index, _) in &page {
                let start = u64::from(*index) * EBS_BLOCK_BYTES as u64;
                match runs.last_mut() {
                    Some(last) if last.end == start => last.end += EBS_BLOCK_BYTES as u64,
                    _ => runs.push(start..start + EBS_BLOCK_BYTES as u64),
                }
            }
            next = page.last().and_then(|(index, _)| index.checked_add(1));
        }
        Ok(runs)
    }

    async fn store_span(
        &self,
        io: &Io,
        writer: &mut Writer,
        base: Option<&Reader>,
        span: &Span,
    ) -> Result<(), Stop> {
        if span.is_zero() {
            writer.zero(span.start_bytes, span.len_bytes()).await?;
            return Ok(());
        }
        let mut bytes =
            vec![0; usize::try_from(span.len_bytes()).map_err(|e| Stop::internal(e.to_string()))?];
        if !span.is_covered() {
            read_base(base, span.start_bytes, &mut bytes).await?;
        }
        for piece in &span.pieces {
            let data = if piece.is_zero {
                None
            } else {
                Some(io.host.frozen_read(&self.key, self.freeze_name(), *piece).await?)
            };
            span.lay(piece, data.as_deref(), &mut bytes).map_err(Stop::internal)?;
        }
        writer.write_bytes(span.start_bytes, bytes.into()).await?;
        Ok(())
    }

    async fn publish(&self, root: &str, parent: Option<&str>) -> Result<Outcome, Stop> {
        let root = parse_root(root)?;
        let parent = parent.map(parse_root).transpose()?;
        self.domain.publish(self.snapshot.snapshot_id.as_str(), &root, parent.as_ref()).await?;
        let full_size_bytes = self.domain.reader(&root).await?.full_size_bytes();
        Ok(Outcome::Published { full_size_bytes })
    }

    async fn release(&self, io: &Io) -> Result<Outcome, Stop> {
        match &self.snapshot.origin {
            SnapshotOrigin::Upload { .. } => io.host.volume_delete(&self.key).await?,
            SnapshotOrigin::Volume { .. } | SnapshotOrigin::Copy { .. } => {
                match io.host.freeze_release(&self.key, self.freeze_name()).await {
                    // A volume that was deleted meanwhile holds nothing any more.
                    Err(error) if error.kind == crate::ports::HostErrorKind::NotFound => {}
                    released => released?,
                }
            }
        }
        Ok(Outcome::Released)
    }
}

/// Content of the base; what lies beyond its end is zeros, because volumes may be larger.
async fn read_base(base: Option<&Reader>, start_bytes: u64, bytes: &mut [u8]) -> Result<(), Stop> {
    let Some(base) = base else { return Ok(()) };
    let within = base.size_bytes().saturating_sub(start_bytes);
    let len = usize::try_from(within).unwrap_or(usize::MAX).min(bytes.len());
    if let Some(part) = bytes.get_mut(..len) {
        base.read_at(start_bytes, part).await?;
    }
    Ok(())
}

fn parse_root(text: &str) -> Result<Root, Stop> {
    text.parse().map_err(|e: blockstore::Error| Stop::internal(format!("read a root: {e}")))
}
