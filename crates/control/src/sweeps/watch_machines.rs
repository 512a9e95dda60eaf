//! Looks at every machine that should be up: guests that switched themselves off, machines that
//! died, first signs of life; and finds instances on their way that nobody drives.

use std::time::Duration;

use model::instance::ShutdownBehavior;
use model::{Instance, InstanceState};

use crate::failure::Failure;
use crate::jobs::drive_instance::{DriveInstance, reason_of, wants_driving};
use crate::ports::{ExitCause, MachineStatus};
use crate::spine::job::{Io, Job, JobWrite};
use crate::spine::runner::Sweep;

pub(super) const SWEEP: Sweep =
    Sweep { name: "watch_machines", every: Duration::from_secs(1), run: |io| Box::pin(sweep(io)) };

async fn sweep(io: &Io) -> Result<bool, Failure> {
    let mut tx = io.metastore.read().await?;
    let running = tx.instances_in_state(InstanceState::Running).await?;
    let mut drifting = Vec::new();
    for state in [InstanceState::Pending, InstanceState::Stopping, InstanceState::ShuttingDown] {
        for instance in tx.instances_in_state(state).await? {
            let key = DriveInstance::of(&instance.instance_id).key().to_string();
            if wants_driving(&instance) && tx.job_by_key(&key).await?.is_none() {
                drifting.push(instance);
            }
        }
    }
    tx.rollback().await;
    let mut changed = false;
    for instance in running.iter().filter(|instance| instance.imaging.is_none()) {
        changed |= look(io, instance).await?;
    }
    for instance in drifting {
        tracing::warn!(instance = %instance.instance_id, "an instance on its way had no job");
        update(io, &instance, |_| true).await?;
        changed = true;
    }
    Ok(changed)
}

async fn look(io: &Io, instance: &Instance) -> Result<bool, Failure> {
    let status = match io.host.machine_status(&instance.instance_id).await {
        Ok(status) => status,
        Err(error) => {
            tracing::warn!(instance = %instance.instance_id, %error, "could not look at a machine");
            return Ok(false);
        }
    };
    let now = io.env.clock.now();
    match status {
        MachineStatus::Running { reachable_since, accelerator } => {
            let known = reachable_since.is_none() || instance.health.reachable_since == reachable_since;
            if known {
                return Ok(false);
            }
            update(io, instance, |instance| {
                instance.health.reachable_since = reachable_since;
                instance.health.accelerator = Some(accelerator);
                false
            })
            .await
        }
        MachineStatus::Starting | MachineStatus::Stopping => Ok(false),
        MachineStatus::Exited { cause } => {
            update(io, instance, |instance| gone_down(instance, &cause, now)).await
        }
        MachineStatus::Absent => {
            let reason = model::StateReason::new("Server.InternalError", "The machine's process is gone.");
            update(io, instance, |instance| gone_down(instance, &ExitCause::Crashed(reason), now)).await
        }
    }
}

/// What an instance becomes whose machine went down by itself.
fn gone_down(instance: &mut Instance, cause: &ExitCause, now: model::Timestamp) -> bool {
    let by_guest = *cause == ExitCause::GuestShutdown;
    let terminates = by_guest && instance.instance_initiated_shutdown_behavior == ShutdownBehavior::Terminate;
    instance.state = if terminates { InstanceState::ShuttingDown } else { InstanceState::Stopping };
    let reason = reason_of(cause);
    instance.state_transition_reason = format!("{} ({})", reason.code, now);
    instance.state_reason = Some(reason);
    true
}

/// Changes the row as it is now, if it still is in the state that was looked at; drives it if `change` says so.
async fn update(
    io: &Io,
    seen: &Instance,
    change: impl FnOnce(&mut Instance) -> bool + Send,
) -> Result<bool, Failure> {
    let mut tx = io.metastore.write().await?;
    let Some(mut instance) = tx.instance_get(&seen.instance_id).await? else { return Ok(false) };
    if instance.state != seen.state || instance.generation != seen.generation || instance.imaging.is_some() {
        return Ok(false);
    }
    let drives = change(&mut instance);
    tx.instance_update(&instance).await?;
    if drives {
        JobWrite::new(&mut tx, &io.env).enqueue(&DriveInstance::of(&instance.instance_id)).await?;
    }
    tx.commit().await?;
    Ok(drives)
}
