//! Makes an image of an instance: guest down unless told otherwise, every volume fixed at one
//! moment, guest up again, and the content follows.

#[cfg(test)]
mod tests;

use std::time::Duration;

use model::{ImageId, Instance, InstanceId, InstanceState, SnapshotId, StateReason, VolumeId};
use serde::{Deserialize, Serialize};

use super::drive_instance::{DriveInstance, spec, take_down};
use super::publish_image::{PublishImage, fail_image};
use super::upload_snapshot::UploadSnapshot;
use crate::failure::Failure;
use crate::ports::{MachineStatus, Shutdown};
use crate::spine::job::{Io, Job, JobKey, JobWrite, Next, Stop};

const POLL: Duration = Duration::from_millis(100);
/// How long a guest may take to shut down for its image.
const SHUTDOWN_DEADLINE: Duration = Duration::from_mins(3);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct CreateImage {
    image_id: ImageId,
    instance_id: InstanceId,
    /// Every volume of the instance that the image has, and its snapshot to be.
    snapshots: Vec<(VolumeId, SnapshotId)>,
    /// Whether the machine was taken down for this and must come up again.
    reboots: bool,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    ShutDown,
    Freeze,
    Restart,
}

pub(crate) enum Outcome {
    Machine(MachineStatus),
    Frozen,
    /// The instance was stopped or terminated by somebody meanwhile.
    NotOurs,
}

impl CreateImage {
    pub(crate) fn new(
        image_id: &ImageId,
        instance_id: &InstanceId,
        snapshots: Vec<(VolumeId, SnapshotId)>,
        reboots: bool,
    ) -> Self {
        let step = if reboots { Step::ShutDown } else { Step::Freeze };
        Self { image_id: image_id.clone(), instance_id: instance_id.clone(), snapshots, reboots, step }
    }
}

impl Job for CreateImage {
    const KIND: &'static str = "create_image";
    type Outcome = Outcome;

    fn key(&self) -> JobKey {
        let key = JobKey::image(&self.image_id);
        // The job that failed the image is still there when it leaves one that brings the guest up.
        if self.step == Step::Restart { key.aside("restart") } else { key }
    }

    async fn work(&self, io: &Io) -> Result<Outcome, Stop> {
        match self.step {
            Step::ShutDown => {
                let Some(instance) = self.held_instance(io).await? else { return Ok(Outcome::NotOurs) };
                let how = Shutdown::Graceful { deadline: SHUTDOWN_DEADLINE };
                Ok(Outcome::Machine(take_down(io, &instance, how).await?))
            }
            Step::Freeze => {
                let freezes: Vec<(&str, &str)> = self
                    .snapshots
                    .iter()
                    .map(|(volume, snapshot)| (volume.as_str(), snapshot.as_str()))
                    .collect();
                io.host.volumes_freeze(&freezes).await?;
                Ok(Outcome::Frozen)
            }
            Step::Restart => {
                let Some(instance) = self.held_instance(io).await? else { return Ok(Outcome::NotOurs) };
                if instance.state != InstanceState::Running {
                    return Ok(Outcome::NotOurs);
                }
                io.host.machine_start(spec::machine_spec(io, instance).await?).await?;
                Ok(Outcome::Machine(io.host.machine_status(&self.instance_id).await?))
            }
        }
    }

    async fn settle(&mut self, write: &mut JobWrite<'_>, done: Outcome) -> Result<Next, Stop> {
        match (self.step, done) {
            (
                Step::ShutDown,
                Outcome::Machine(MachineStatus::Exited { .. } | MachineStatus::Absent) | Outcome::NotOurs,
            ) => {
                self.step = Step::Freeze;
                Ok(Next::Again)
            }
            (_, Outcome::Frozen) => {
                for (_, snapshot_id) in &self.snapshots {
                    write.enqueue(&UploadSnapshot::of(snapshot_id)).await?;
                }
                write.enqueue(&PublishImage::of(&self.image_id)).await?;
                self.begin_next_life(write).await?;
                self.step = Step::Restart;
                Ok(if self.reboots { Next::Again } else { Next::Done })
            }
            (Step::Restart, Outcome::Machine(MachineStatus::Running { .. }) | Outcome::NotOurs) => {
                self.let_go(write).await?;
                Ok(Next::Done)
            }
            (Step::Restart, Outcome::Machine(MachineStatus::Exited { .. })) => {
                // The image is safe; the sweep that watches machines tells what became of this one.
                self.let_go(write).await?;
                Ok(Next::Done)
            }
            (_, Outcome::Machine(_)) => Ok(Next::After(POLL)),
            (Step::Freeze, Outcome::NotOurs) => Ok(Next::Again),
        }
    }

    async fn give_up(&self, write: &mut JobWrite<'_>, reason: &StateReason) -> Result<(), Failure> {
        if self.step == Step::Restart {
            self.fail_instance(write, reason).await?;
            return self.let_go(write).await;
        }
        for (_, snapshot_id) in &self.snapshots {
            if let Some(mut snapshot) = write.tx.snapshot_get(snapshot_id).await? {
                snapshot.state = model::SnapshotState::Error;
                snapshot.state_message = Some(reason.message.clone());
                write.tx.snapshot_update(&snapshot).await?;
            }
        }
        fail_image(write, &self.image_id, reason).await?;
        if self.step == Step::Freeze && self.reboots {
            // The guest went down for an image that failed; that is no reason to stay down.
            self.begin_next_life(write).await?;
            return write.enqueue(&Self { step: Step::Restart, ..self.clone() }).await;
        }
        self.let_go(write).await
    }
}

impl CreateImage {
    /// The instance, as long as it is down for this image and for nothing else.
    async fn held_instance(&self, io: &Io) -> Result<Option<Instance>, Stop> {
        let instance = io.read().await?.instance_get(&self.instance_id).await?;
        Ok(instance.filter(|instance| instance.imaging.as_ref() == Some(&self.image_id)))
    }

    /// What comes up after the image is another machine than the one that went down for it.
    async fn begin_next_life(&self, write: &mut JobWrite<'_>) -> Result<(), Failure> {
        let instance = write.tx.instance_get(&self.instance_id).await?;
        if let Some(mut instance) = instance.filter(|i| i.imaging.as_ref() == Some(&self.image_id)) {
            instance.generation += 1;
            write.tx.instance_update(&instance).await?;
        }
        Ok(())
    }

    /// An instance that does not come up again stops, and tells why.
    async fn fail_instance(&self, write: &mut JobWrite<'_>, reason: &StateReason) -> Result<(), Failure> {
        let instance = write.tx.instance_get(&self.instance_id).await?;
        let is_ours = |i: &Instance| i.imaging.as_ref() == Some(&self.image_id);
        if let Some(mut instance) = instance.filter(|i| is_ours(i) && i.state == InstanceState::Running) {
            instance.state = InstanceState::Stopping;
            "Server.InternalError".clone_into(&mut instance.state_transition_reason);
            instance.state_reason = Some(reason.clone());
            write.tx.instance_update(&instance).await?;
        }
        Ok(())
    }

    /// Others may act on the machine again; what they asked for meanwhile is done now.
    async fn let_go(&self, write: &mut JobWrite<'_>) -> Result<(), Failure> {
        let Some(mut instance) = write.tx.instance_get(&self.instance_id).await? else { return Ok(()) };
        if instance.imaging.as_ref() == Some(&self.image_id) {
            instance.imaging = None;
            instance.health.reachable_since = None;
            write.tx.instance_update(&instance).await?;
            write.enqueue(&DriveInstance::of(&self.instance_id)).await?;
        }
        Ok(())
    }
}
