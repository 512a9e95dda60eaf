//! Brings a machine to where its instance's state wants it: up, down, or gone.
//!
//! One job for all three, so that at most one hand is on a machine, and a change of mind on the
//! way (terminate while starting) is seen at the next turn.

pub(crate) mod spec;
#[cfg(test)]
mod tests;

use std::time::Duration;

use model::volume::AttachmentState;
use model::{Instance, InstanceId, InstanceState, StateReason, VolumeState};
use serde::{Deserialize, Serialize};

use super::delete_volume::DeleteVolume;
use crate::failure::Failure;
use crate::ports::{ExitCause, MachineStatus, Shutdown};
use crate::spine::job::{Io, Job, JobKey, JobWrite, Next, Stop};

/// How often a machine on its way is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How long a guest may take to shut down before the plug is pulled.
const STOP_DEADLINE: Duration = Duration::from_mins(3);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DriveInstance {
    instance_id: InstanceId,
}

impl DriveInstance {
    pub(crate) fn of(instance_id: &InstanceId) -> Self {
        Self { instance_id: instance_id.clone() }
    }
}

pub(crate) enum Outcome {
    /// Nothing to drive: the row is gone or its state is one of rest.
    AtRest,
    /// What the machine of this generation does after it was told where the state wants it.
    Seen { generation: u32, state: InstanceState, status: MachineStatus },
}

impl Job for DriveInstance {
    const KIND: &'static str = "drive_instance";
    type Outcome = Outcome;

    fn key(&self) -> JobKey {
        JobKey::instance(&self.instance_id)
    }

    async fn work(&self, io: &Io) -> Result<Outcome, Stop> {
        let instance = io.read().await?.instance_get(&self.instance_id).await?;
        let Some(instance) = instance.filter(|instance| instance.imaging.is_none()) else {
            return Ok(Outcome::AtRest);
        };
        let (generation, state) = (instance.generation, instance.state);
        let status = match instance.state {
            InstanceState::Pending => start(io, instance).await?,
            InstanceState::Stopping => take_down(io, &instance, shutdown_for_stop(&instance)).await?,
            InstanceState::ShuttingDown => {
                let status = take_down(io, &instance, shutdown_for_termination(&instance)).await?;
                if is_down(&status) {
                    io.host.machine_forget(&instance.instance_id).await?;
                }
                status
            }
            InstanceState::Running | InstanceState::Stopped | InstanceState::Terminated => {
                return Ok(Outcome::AtRest);
            }
        };
        Ok(Outcome::Seen { generation, state, status })
    }

    async fn settle(&mut self, write: &mut JobWrite<'_>, done: Outcome) -> Result<Next, Stop> {
        let Some(instance) = write.tx.instance_get(&self.instance_id).await? else { return Ok(Next::Done) };
        let Outcome::Seen { generation, state, status } = done else {
            // The state may have changed since the work looked.
            return Ok(if wants_driving(&instance) { Next::Again } else { Next::Done });
        };
        // What was done was meant for another state: a stop leaves more behind than a termination may.
        if generation != instance.generation || state != instance.state {
            return Ok(Next::Again);
        }
        match (instance.state, status) {
            (InstanceState::Pending, MachineStatus::Running { reachable_since, accelerator }) => {
                let mut instance = instance;
                instance.health.reachable_since = reachable_since;
                instance.health.accelerator = Some(accelerator);
                running(write, instance).await?;
                Ok(Next::Done)
            }
            (InstanceState::Pending, MachineStatus::Exited { cause }) => {
                failed_to_start(write, instance, reason_of(&cause)).await?;
                Ok(Next::Again)
            }
            (InstanceState::Stopping, MachineStatus::Exited { .. } | MachineStatus::Absent) => {
                stopped(write, instance).await?;
                Ok(Next::Done)
            }
            (InstanceState::ShuttingDown, MachineStatus::Exited { .. } | MachineStatus::Absent) => {
                terminated(write, instance).await?;
                Ok(Next::Done)
            }
            (InstanceState::Running | InstanceState::Stopped | InstanceState::Terminated, _) => {
                Ok(Next::Done)
            }
            (InstanceState::Pending | InstanceState::Stopping | InstanceState::ShuttingDown, _) => {
                Ok(Next::After(POLL))
            }
        }
    }

    async fn give_up(&self, write: &mut JobWrite<'_>, reason: &StateReason) -> Result<(), Failure> {
        let Some(instance) = write.tx.instance_get(&self.instance_id).await? else { return Ok(()) };
        if instance.state == InstanceState::Pending {
            failed_to_start(write, instance, reason.clone()).await?;
        }
        // The sweep that looks for machines without a driver takes it from here.
        Ok(())
    }
}

/// Whether the state is one of passage, in which a job must be at work.
pub(crate) fn wants_driving(instance: &Instance) -> bool {
    let passing = matches!(
        instance.state,
        InstanceState::Pending | InstanceState::Stopping | InstanceState::ShuttingDown
    );
    passing && instance.imaging.is_none()
}

fn shutdown_for_stop(instance: &Instance) -> Shutdown {
    if instance.shutdown_forced { Shutdown::Force } else { Shutdown::Graceful { deadline: STOP_DEADLINE } }
}

/// A guest whose every volume goes with it has nothing to save.
fn shutdown_for_termination(instance: &Instance) -> Shutdown {
    if instance.block_devices.iter().all(|device| device.delete_on_termination) {
        Shutdown::Force
    } else {
        shutdown_for_stop(instance)
    }
}

fn is_down(status: &MachineStatus) -> bool {
    matches!(status, MachineStatus::Exited { .. } | MachineStatus::Absent)
}

async fn start(io: &Io, instance: Instance) -> Result<MachineStatus, Stop> {
    let id = instance.instance_id.clone();
    let spec = spec::machine_spec(io, instance).await?;
    for volume in &spec.volumes {
        io.host.volume_create(volume.spec.clone()).await?;
    }
    io.host.machine_start(spec).await?;
    Ok(io.host.machine_status(&id).await?)
}

/// Tells a machine that is up to go down; one that already goes is only looked at.
pub(crate) async fn take_down(io: &Io, instance: &Instance, how: Shutdown) -> Result<MachineStatus, Stop> {
    let id = &instance.instance_id;
    let status = io.host.machine_status(id).await?;
    let forces_now = how == Shutdown::Force && status == MachineStatus::Stopping;
    if forces_now || matches!(status, MachineStatus::Starting | MachineStatus::Running { .. }) {
        io.host.machine_stop(id, instance.generation, how).await?;
        return Ok(io.host.machine_status(id).await?);
    }
    Ok(status)
}

pub(crate) fn reason_of(cause: &ExitCause) -> StateReason {
    match cause {
        ExitCause::GuestShutdown => StateReason::new(
            "Client.InstanceInitiatedShutdown",
            "Client.InstanceInitiatedShutdown: Instance initiated shutdown",
        ),
        ExitCause::Stopped => StateReason::new(
            "Client.UserInitiatedShutdown",
            "Client.UserInitiatedShutdown: User initiated shutdown",
        ),
        ExitCause::Crashed(reason) => reason.clone(),
    }
}

async fn running(write: &mut JobWrite<'_>, mut instance: Instance) -> Result<(), Stop> {
    instance.state = InstanceState::Running;
    instance.state_reason = None;
    instance.state_transition_reason = String::new();
    for mut volume in write.tx.volumes_of_instance(&instance.instance_id).await? {
        volume.state = VolumeState::InUse;
        if let Some(attachment) = &mut volume.attachment {
            attachment.state = AttachmentState::Attached;
        }
        write.tx.volume_update(&volume).await?;
    }
    Ok(write.tx.instance_update(&instance).await?)
}

/// A first launch that fails is terminated, as EC2 does; a restart that fails is stopped again.
async fn failed_to_start(
    write: &mut JobWrite<'_>,
    mut instance: Instance,
    reason: StateReason,
) -> Result<(), Failure> {
    instance.state =
        if instance.generation == 1 { InstanceState::ShuttingDown } else { InstanceState::Stopping };
    "Server.InternalError".clone_into(&mut instance.state_transition_reason);
    instance.state_reason = Some(reason);
    write.tx.instance_update(&instance).await?;
    Ok(())
}

async fn stopped(write: &mut JobWrite<'_>, mut instance: Instance) -> Result<(), Stop> {
    instance.state = InstanceState::Stopped;
    instance.network.public_ip = None;
    instance.health = model::instance::MachineHealth::default();
    instance.shutdown_forced = false;
    Ok(write.tx.instance_update(&instance).await?)
}

async fn terminated(write: &mut JobWrite<'_>, mut instance: Instance) -> Result<(), Stop> {
    instance.state = InstanceState::Terminated;
    instance.network.public_ip = None;
    instance.terminated_at = Some(write.now());
    write.tx.instance_update(&instance).await?;
    for mut volume in write.tx.volumes_of_instance(&instance.instance_id).await? {
        let goes_too = volume.attachment.as_ref().is_some_and(|attachment| attachment.delete_on_termination);
        volume.attachment = None;
        volume.state = if goes_too { VolumeState::Deleting } else { VolumeState::Available };
        write.tx.volume_update(&volume).await?;
        if goes_too {
            write.enqueue(&DeleteVolume::of(&volume.volume_id)).await?;
        }
    }
    Ok(())
}
