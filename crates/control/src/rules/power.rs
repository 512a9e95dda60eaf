//! What starting, stopping and terminating mean for an instance in each state.

use model::{Instance, InstanceState, StateReason, Timestamp};

use crate::failure::Failure;

/// Whether anything is to be done, or the instance is where it should be already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    To(InstanceState),
    None,
}

pub(crate) fn start(instance: &Instance) -> Result<Change, Failure> {
    match instance.state {
        InstanceState::Stopped => Ok(Change::To(InstanceState::Pending)),
        InstanceState::Pending | InstanceState::Running => Ok(Change::None),
        InstanceState::Stopping | InstanceState::ShuttingDown | InstanceState::Terminated => {
            Err(Failure::instance_state(&instance.instance_id, instance.state, "stopped"))
        }
    }
}

pub(crate) fn stop(instance: &Instance) -> Result<Change, Failure> {
    match instance.state {
        InstanceState::Running | InstanceState::Pending => Ok(Change::To(InstanceState::Stopping)),
        InstanceState::Stopping | InstanceState::Stopped => Ok(Change::None),
        InstanceState::ShuttingDown | InstanceState::Terminated => {
            Err(Failure::instance_state(&instance.instance_id, instance.state, "running"))
        }
    }
}

pub(crate) const fn terminate(instance: &Instance) -> Change {
    match instance.state {
        InstanceState::Pending
        | InstanceState::Running
        | InstanceState::Stopping
        | InstanceState::Stopped => Change::To(InstanceState::ShuttingDown),
        InstanceState::ShuttingDown | InstanceState::Terminated => Change::None,
    }
}

/// Notes that the user asked for it, as EC2 words it.
pub(crate) fn by_user(instance: &mut Instance, now: Timestamp) {
    let time = now.to_string();
    let (date, clock) = time.split_once('T').unwrap_or((&time, ""));
    let clock = clock.get(..8).unwrap_or_default();
    instance.state_transition_reason = format!("User initiated ({date} {clock} GMT)");
    instance.state_reason = Some(StateReason::new(
        "Client.UserInitiatedShutdown",
        "Client.UserInitiatedShutdown: User initiated shutdown",
    ));
}
