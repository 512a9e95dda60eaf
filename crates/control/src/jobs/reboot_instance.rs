//! Resets a running machine: disks, addresses and the instance's identity stay.

use model::{InstanceId, InstanceState, StateReason};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ports::HostErrorKind;
use crate::spine::job::{Io, Job, JobKey, JobWrite, Next, Stop};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RebootInstance {
    instance_id: InstanceId,
}

impl RebootInstance {
    pub(crate) fn of(instance_id: &InstanceId) -> Self {
        Self { instance_id: instance_id.clone() }
    }
}

impl Job for RebootInstance {
    const KIND: &'static str = "reboot_instance";
    type Outcome = ();

    fn key(&self) -> JobKey {
        JobKey::instance(&self.instance_id).aside("reboot")
    }

    async fn work(&self, io: &Io) -> Result<(), Stop> {
        let instance = io.read().await?.instance_get(&self.instance_id).await?;
        if instance.is_none_or(|instance| instance.state != InstanceState::Running) {
            return Ok(());
        }
        match io.host.machine_reboot(&self.instance_id).await {
            // It has gone down meanwhile; the sweep that watches machines sees that.
            Err(error) if error.kind == HostErrorKind::NotFound => Ok(()),
            rebooted => Ok(rebooted?),
        }
    }

    async fn settle(&mut self, _write: &mut JobWrite<'_>, (): ()) -> Result<Next, Stop> {
        Ok(Next::Done)
    }

    async fn give_up(&self, _write: &mut JobWrite<'_>, _reason: &StateReason) -> Result<(), Failure> {
        Ok(())
    }
}
