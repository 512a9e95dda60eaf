//! Tells a running machine what has changed around it: the rules of its security groups, its tags.

#[cfg(test)]
mod tests;

use std::time::Duration;

use metastore::Tx;
use model::{Instance, InstanceId, InstanceState, SecurityGroup, SecurityGroupId, StateReason, Tag};
use serde::{Deserialize, Serialize};

use super::drive_instance::spec::machine_spec;
use crate::failure::Failure;
use crate::ports::HostErrorKind;
use crate::spine::job::{Io, Job, JobKey, JobWrite, Next, Stop};
use crate::spine::resources::taggable::Taggable;
use crate::spine::write::Write;

/// How often a machine that is still starting is looked at: it may have been given what was true before.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RefreshInstance {
    instance_id: InstanceId,
}

impl RefreshInstance {
    pub(crate) fn of(instance_id: &InstanceId) -> Self {
        Self { instance_id: instance_id.clone() }
    }

    /// For every machine that the group's rules concern.
    pub(crate) async fn enqueue_for_group(
        write: &mut Write<'_, '_>,
        group_id: &SecurityGroupId,
    ) -> Result<(), Failure> {
        let instances = write.cx().instances_using_group(group_id).await?;
        for instance in instances.iter().filter(|instance| hears_changes(instance)) {
            write.enqueue(&Self::of(&instance.instance_id)).await?;
        }
        Ok(())
    }

    /// For the machine whose guest reads these tags, if there is one.
    pub(crate) async fn enqueue_for_tags(
        write: &mut Write<'_, '_>,
        tagged: &Taggable,
    ) -> Result<(), Failure> {
        match tagged.shown_by.as_ref().filter(|instance| hears_changes(instance)) {
            Some(instance) => write.enqueue(&Self::of(&instance.instance_id)).await,
            None => Ok(()),
        }
    }
}

/// Whether the instance has a machine, or one that is being started with what may be out of date.
fn hears_changes(instance: &Instance) -> bool {
    matches!(instance.state, InstanceState::Pending | InstanceState::Running)
}

/// What a machine is told anew while it runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    security_groups: Vec<SecurityGroup>,
    tags: Vec<Tag>,
}

impl Job for RefreshInstance {
    const KIND: &'static str = "refresh_instance";
    /// What the machine knows now; None where none runs.
    type Outcome = Option<Surroundings>;

    fn key(&self) -> JobKey {
        JobKey::instance(&self.instance_id).aside("refresh")
    }

    async fn work(&self, io: &Io) -> Result<Option<Surroundings>, Stop> {
        let instance = io.read().await?.instance_get(&self.instance_id).await?;
        let Some(instance) = instance.filter(|instance| instance.state == InstanceState::Running) else {
            return Ok(None);
        };
        let spec = machine_spec(io, instance).await?;
        let told =
            Surroundings { security_groups: spec.network.security_groups.clone(), tags: spec.tags.clone() };
        match io.host.machine_refresh(spec).await {
            Ok(()) => Ok(Some(told)),
            // It has gone down meanwhile; a new start reads everything anew.
            Err(error) if error.kind == HostErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A change that came while the machine was being told found this job alive and left no other one.
    async fn settle(&mut self, write: &mut JobWrite<'_>, told: Option<Surroundings>) -> Result<Next, Stop> {
        let Some(instance) = write.tx.instance_get(&self.instance_id).await? else { return Ok(Next::Done) };
        match (instance.state, told) {
            (InstanceState::Pending, _) => Ok(Next::After(POLL)),
            (InstanceState::Running, Some(told)) if told != now_around(write.tx, &instance).await? => {
                Ok(Next::Again)
            }
            _ => Ok(Next::Done),
        }
    }

    /// The machine goes on with what it knew; the next change or start tries again.
    async fn give_up(&self, _write: &mut JobWrite<'_>, _reason: &StateReason) -> Result<(), Failure> {
        Ok(())
    }
}

async fn now_around(tx: &mut Tx, instance: &Instance) -> Result<Surroundings, Stop> {
    let mut security_groups = Vec::new();
    for id in &instance.network.security_group_ids {
        security_groups.extend(tx.security_group_get(id).await?);
    }
    Ok(Surroundings { security_groups, tags: tx.tags_of(instance.instance_id.as_str()).await? })
}
