//! Forgets terminated instances after the hour in which EC2 still shows them.

use std::time::Duration;

use model::InstanceState;
use model::limits::TERMINATED_VISIBLE_SECS;

use crate::failure::Failure;
use crate::spine::job::Io;
use crate::spine::runner::Sweep;

pub(super) const SWEEP: Sweep =
    Sweep { name: "purge_terminated", every: Duration::from_mins(1), run: |io| Box::pin(sweep(io)) };

async fn sweep(io: &Io) -> Result<bool, Failure> {
    let now = io.env.clock.now();
    let mut tx = io.metastore.read().await?;
    let terminated = tx.instances_in_state(InstanceState::Terminated).await?;
    tx.rollback().await;
    let visible = Duration::from_secs(TERMINATED_VISIBLE_SECS);
    let is_old = |at: Option<model::Timestamp>| at.is_none_or(|at| now.since(at) > visible);
    let old: Vec<_> = terminated.into_iter().filter(|instance| is_old(instance.terminated_at)).collect();
    if old.is_empty() {
        return Ok(false);
    }
    let mut tx = io.metastore.write().await?;
    for instance in old {
        tx.tags_delete_all(instance.instance_id.as_str()).await?;
        tx.instance_delete(&instance.instance_id).await?;
    }
    tx.commit().await?;
    Ok(false)
}
