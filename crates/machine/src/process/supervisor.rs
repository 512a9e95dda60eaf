//! Watches QEMU and leads it through stops and reboots.

use std::sync::Arc;
use std::time::Duration;

use hypervisor::{Event, Exit, OnPowerOff, Process, Qmp, RunState};
use model::VolumeId;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::shared::{Command, Commands, Shared};
use crate::control::State;
use crate::error::{Error, Kind, Result};
use crate::exit::ExitReason;
use crate::spec::{Platform, VolumeSpec};

/// A guest that still boots does not hear the power button, so it is pressed again.
const TICK: Duration = Duration::from_millis(1500);
/// QEMU flushes its buffers and ends within this when told to; else it hangs and is killed.
const QUIT_DEADLINE: Duration = Duration::from_secs(5);
/// A QEMU that does not even confirm by then is only waited for until the deadline above.
const QUIT_ANSWER_DEADLINE: Duration = Duration::from_secs(1);

/// Where the machine is going. Deadlines are on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Run,
    /// To power off, then up again.
    Reboot {
        deadline: Duration,
    },
    /// To power off.
    Stop {
        deadline: Duration,
    },
    /// QEMU was told to end.
    Quit {
        deadline: Duration,
    },
}

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    qmp: Qmp,
    course: Course,
    guest_ended_itself: bool,
    killed: bool,
    /// QEMU stopped the guest in the middle of a write, because the host's disk is full.
    awaits_space: bool,
    /// Who sits in which hot-plug port; the first has number 1. Empty where disks need no port.
    ports: Vec<Option<VolumeId>>,
    /// Volumes that the guest was asked to let go of, with the name of their device.
    leaving: Vec<(String, VolumeSpec)>,
    attached: Vec<VolumeSpec>,
}

impl Supervisor {
    pub(super) fn new(shared: &Arc<Shared>, qmp: Qmp, description: &hypervisor::Spec) -> Self {
        let spec = &shared.spec;
        let cold = spec.volumes.iter().skip(1).map(|volume| Some(volume.volume_id.clone()));
        let spare = (0..description.spare_ports).map(|_| None);
        let ports = match spec.platform {
            Platform::Nitro => cold.chain(spare).collect(),
            Platform::Xen => Vec::new(),
        };
        Self {
            shared: Arc::clone(shared),
            qmp,
            course: Course::Run,
            guest_ended_itself: false,
            killed: false,
            awaits_space: false,
            ports,
            leaving: Vec::new(),
            attached: spec.volumes.clone(),
        }
    }

    /// Until QEMU ends, for whatever reason.
    pub(super) async fn watch(
        mut self,
        mut process: Process,
        mut events: mpsc::Receiver<Event>,
        mut commands: Commands,
        mut terminate: Signal,
    ) -> Result<ExitReason> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                exit = process.wait() => {
                    while let Ok(event) = events.try_recv() {
                        self.note_end(&event);
                    }
                    return Ok(self.reason(exit?));
                }
                Some(event) = events.recv() => self.on_event(event).await,
                Some((command, reply)) = commands.recv() => {
                    if reply.send(self.obey(command).await).is_err() {
                        tracing::debug!("nobody waits for the answer to a command");
                    }
                }
                _ = terminate.recv() => {
                    let deadline = Duration::from_millis(self.shared.spec.stop_deadline_ms);
                    self.stop(deadline, false).await;
                }
                _ = ticks.tick() => self.on_tick(&mut process).await,
            }
        }
    }

    fn reason(&self, exit: Exit) -> ExitReason {
        let crashed = |exit: Exit| ExitReason::Crashed {
            code: exit.code,
            signal: exit.signal,
            stderr_tail: exit.stderr_tail,
        };
        match self.course {
            Course::Quit { .. } if exit.is_clean() || self.killed => ExitReason::Stopped { forced: true },
            Course::Stop { .. } if exit.is_clean() => ExitReason::Stopped { forced: false },
            Course::Run | Course::Reboot { .. } if exit.is_clean() && self.guest_ended_itself => {
                ExitReason::GuestShutdown
            }
            Course::Run | Course::Reboot { .. } | Course::Stop { .. } | Course::Quit { .. } => crashed(exit),
        }
    }

    fn note_end(&mut self, event: &Event) {
        if let Event::Shutdown { guest } = event {
            self.guest_ended_itself = *guest;
        }
    }

    async fn on_event(&mut self, event: Event) {
        tracing::debug!(?event, "QEMU says");
        self.note_end(&event);
        match event {
            Event::Shutdown { guest: true } if matches!(self.course, Course::Reboot { .. }) => {
                let restarted = self.restart().await;
                complain("restart the guest", restarted);
            }
            Event::GuestPanicked => self.shared.guest_panicked(),
            Event::DeviceDeleted { device } => self.device_gone(&device).await,
            Event::Paused => self.look_why_paused().await,
            Event::Shutdown { .. }
            | Event::Reset { .. }
            | Event::PowerButton
            | Event::Resumed
            | Event::Other(_) => {}
        }
    }

    /// The second half of a reboot: the guest has powered off, and QEMU waits.
    async fn restart(&mut self) -> hypervisor::Result<()> {
        self.course = Course::Run;
        self.guest_ended_itself = false;
        self.qmp.on_power_off(OnPowerOff::End).await?;
        self.qmp.reset().await?;
        self.qmp.resume().await?;
        self.shared.set_state(State::Running);
        Ok(())
    }

    /// A virtio disk's guest is stopped by a write for which the host has no space. NVMe tells its guest.
    async fn look_why_paused(&mut self) {
        match self.qmp.run_state().await {
            Ok(RunState::IoError) => {
                if !self.awaits_space {
                    tracing::error!("the guest stands still: the host has no space for what it writes");
                }
                self.awaits_space = true;
            }
            Ok(RunState::Running | RunState::Paused | RunState::Other(_)) => {}
            Err(error) => complain("ask why the guest stands still", Err(error)),
        }
    }

    /// Repeats the write, unless the guest has got further since; without space it is stopped again.
    async fn go_on(&mut self) {
        match self.qmp.run_state().await {
            Ok(RunState::IoError) => complain("let the guest go on", self.qmp.resume().await),
            Ok(RunState::Running) => {
                self.awaits_space = false;
                tracing::info!("the guest goes on");
            }
            Ok(RunState::Paused | RunState::Other(_)) => {}
            Err(error) => complain("ask how the guest is", Err(error)),
        }
    }

    async fn on_tick(&mut self, process: &mut Process) {
        let now = self.shared.clock.monotonic();
        if self.awaits_space && !matches!(self.course, Course::Quit { .. }) {
            self.go_on().await;
        }
        match self.course {
            Course::Stop { deadline } if now >= deadline => self.quit().await,
            Course::Reboot { deadline } if now >= deadline => {
                let restarted = self.restart().await;
                complain("reset the guest", restarted);
            }
            Course::Stop { .. } | Course::Reboot { .. } => {
                let pressed = self.qmp.power_button().await;
                complain("press the power button", pressed);
            }
            Course::Quit { deadline } if now >= deadline && !self.killed => {
                self.killed = true;
                let killed = process.kill();
                complain("kill QEMU", killed);
            }
            Course::Run | Course::Quit { .. } => {}
        }
    }

    async fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Stop { deadline, force } => {
                self.stop(deadline, force).await;
                Ok(())
            }
            Command::Reboot { deadline } => self.reboot(deadline).await,
            Command::Attach(volume) => self.attach(*volume).await,
            Command::Detach(volume_id) => self.detach(&volume_id).await,
        }
    }

    async fn stop(&mut self, deadline: Duration, force: bool) {
        self.shared.set_state(State::Stopping);
        if force || deadline.is_zero() {
            return self.quit().await;
        }
        if matches!(self.course, Course::Quit { .. }) {
            return;
        }
        let leave = self.qmp.on_power_off(OnPowerOff::End).await;
        complain("let QEMU end with its guest", leave);
        self.course = Course::Stop { deadline: self.shared.clock.monotonic() + deadline };
        let pressed = self.qmp.power_button().await;
        complain("press the power button", pressed);
    }

    async fn quit(&mut self) {
        if matches!(self.course, Course::Quit { .. }) {
            return;
        }
        // Before the wait for an answer: a QEMU that hangs must not hang the machine.
        self.course = Course::Quit { deadline: self.shared.clock.monotonic() + QUIT_DEADLINE };
        let told = tokio::time::timeout(QUIT_ANSWER_DEADLINE, self.qmp.quit()).await;
        complain("end QEMU", told.unwrap_or(Ok(())));
    }

    async fn reboot(&mut self, deadline: Duration) -> Result<()> {
        match self.course {
            Course::Run | Course::Reboot { .. } => {}
            Course::Stop { .. } | Course::Quit { .. } => {
                return Err(Error::new(Kind::Conflict, "the machine is stopping"));
            }
        }
        self.qmp.on_power_off(OnPowerOff::AwaitReset).await?;
        self.course = Course::Reboot { deadline: self.shared.clock.monotonic() + deadline };
        self.shared.set_state(State::Rebooting);
        self.qmp.power_button().await?;
        Ok(())
    }

    async fn attach(&mut self, volume: VolumeSpec) -> Result<()> {
        if self.attached.iter().any(|other| other.volume_id == volume.volume_id) {
            return Ok(());
        }
        let port = self.ports.iter().position(Option::is_none);
        let bus = match (self.shared.spec.platform, port) {
            (Platform::Xen, _) => "pci.0".to_owned(),
            (Platform::Nitro, Some(port)) => format!("port{}", port + 1),
            (Platform::Nitro, None) => {
                return Err(Error::new(Kind::Conflict, "no port is free for a volume"));
            }
        };
        self.shared.volumes.open(&volume).await?;
        let disk = self.disk(&volume);
        if let Err(error) = self.qmp.attach_disk(&disk, &bus).await {
            self.shared.volumes.close(&volume.volume_id).await?;
            return Err(error.into());
        }
        if let Some(place) = port.and_then(|port| self.ports.get_mut(port)) {
            *place = Some(volume.volume_id.clone());
        }
        self.shared.attached(volume.volume_id.clone());
        self.attached.push(volume);
        Ok(())
    }

    fn disk(&self, volume: &VolumeSpec) -> hypervisor::Disk {
        super::disk(self.shared.spec.platform, self.shared.volumes.transport(), volume)
    }

    /// The root volume stays: its port is not one that can be emptied.
    async fn detach(&mut self, volume_id: &VolumeId) -> Result<()> {
        let found = self.attached.iter().skip(1).find(|volume| volume.volume_id == *volume_id);
        let unknown = || Error::new(Kind::NotFound, format!("{volume_id} cannot be detached here"));
        let volume = found.ok_or_else(unknown)?.clone();
        if self.leaving.iter().any(|(_, leaving)| leaving.volume_id == *volume_id) {
            return Ok(());
        }
        let device = self.qmp.detach_disk(&self.disk(&volume)).await?;
        self.leaving.push((device, volume));
        Ok(())
    }

    async fn device_gone(&mut self, device: &str) {
        let Some(position) = self.leaving.iter().position(|(name, _)| name == device) else { return };
        let (_, volume) = self.leaving.remove(position);
        let forgotten = self.qmp.forget_disk(&self.disk(&volume)).await;
        complain("disconnect a detached volume", forgotten);
        if let Err(error) = self.shared.volumes.close(&volume.volume_id).await {
            tracing::error!(error = error.chain(), "a detached volume could not be closed cleanly");
        }
        self.attached.retain(|other| other.volume_id != volume.volume_id);
        for place in &mut self.ports {
            if place.as_ref() == Some(&volume.volume_id) {
                *place = None;
            }
        }
        self.shared.detached(&volume.volume_id);
    }
}

/// For steps whose failure shows soon enough, in QEMU's end or at a deadline.
fn complain(doing: &str, result: hypervisor::Result<()>) {
    if let Err(error) = result {
        tracing::warn!(%error, doing, "QEMU did not do as told");
    }
}
