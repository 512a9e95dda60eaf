//! What the control socket and the supervisor of one machine both know.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hypervisor::Accelerator;
use model::{Clock, IdGen, Timestamp, VolumeId};
use network::Port;
use tokio::sync::{mpsc, oneshot};

use crate::control::{Answer, Forward, Request, State, Status};
use crate::error::{Error, Kind, Result};
use crate::metadata::Service;
use crate::spec::{self, MachineSpec, VolumeSpec};
use crate::volumes::{StorePlace, Volumes};

/// Requests that wait for the supervisor.
const COMMANDS_MAX: usize = 16;

/// What only the supervisor can do, because it holds QEMU.
#[derive(Debug)]
pub(super) enum Command {
    Stop { deadline: Duration, force: bool },
    Reboot { deadline: Duration },
    Attach(Box<VolumeSpec>),
    Detach(VolumeId),
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) directory: PathBuf,
    pub(super) spec: MachineSpec,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn IdGen>,
    pub(super) metadata: Service,
    pub(super) volumes: Volumes,
    port: Mutex<Option<Port>>,
    status: Mutex<Status>,
    commands: mpsc::Sender<(Command, oneshot::Sender<Result<()>>)>,
}

pub(super) type Commands = mpsc::Receiver<(Command, oneshot::Sender<Result<()>>)>;

impl Shared {
    pub(super) fn new(
        directory: &Path,
        spec: MachineSpec,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdGen>,
    ) -> (Arc<Self>, Commands) {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let status = Status {
            instance_id: spec.instance_id.clone(),
            generation: spec.generation,
            state: State::Starting,
            machine_pid: std::process::id(),
            qemu_pid: None,
            accelerator: None,
            started_at: clock.now(),
            first_console_byte_at: None,
            console_bytes: 0,
            guest_panicked: false,
            attached_volumes: Vec::new(),
            forwards: Vec::new(),
            network_bytes_in: 0,
            network_bytes_out: 0,
        };
        let metadata = Service::new(spec.metadata.clone(), Arc::clone(&clock), Arc::clone(&ids));
        let volumes = Volumes::new(directory, StorePlace::of(&spec), Arc::clone(&ids), Arc::clone(&clock));
        let shared = Self {
            directory: directory.to_owned(),
            spec,
            clock,
            ids,
            metadata,
            volumes,
            port: Mutex::default(),
            status: Mutex::new(status),
            commands,
        };
        (Arc::new(shared), receiver)
    }

    fn status_mut(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn port_mut(&self) -> MutexGuard<'_, Option<Port>> {
        self.port.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_state(&self, state: State) {
        self.status_mut().state = state;
    }

    pub(super) fn running(&self, accelerator: Accelerator, qemu_pid: Option<u32>) {
        let mut status = self.status_mut();
        status.state = State::Running;
        status.accelerator = Some(accelerator.as_str().to_owned());
        status.qemu_pid = qemu_pid;
    }

    pub(super) fn attached(&self, volume_id: VolumeId) {
        self.status_mut().attached_volumes.push(volume_id);
    }

    pub(super) fn detached(&self, volume_id: &VolumeId) {
        self.status_mut().attached_volumes.retain(|attached| attached != volume_id);
    }

    pub(super) fn guest_panicked(&self) {
        self.status_mut().guest_panicked = true;
    }

    pub(super) fn console_bytes(&self, count: usize) {
        let now: Timestamp = self.clock.now();
        let mut status = self.status_mut();
        status.first_console_byte_at.get_or_insert(now);
        status.console_bytes += count as u64;
    }

    pub(super) fn set_port(&self, port: Port) {
        *self.port_mut() = Some(port);
    }

    pub(super) fn take_port(&self) -> Option<Port> {
        self.port_mut().take()
    }

    fn port(&self) -> Result<Port> {
        self.port_mut().clone().ok_or_else(|| Error::new(Kind::NotFound, "the machine has no network"))
    }

    fn status(&self) -> Status {
        let mut status = self.status_mut().clone();
        if let Ok(port) = self.port() {
            let forward = |f: &network::Forward| Forward { guest_port: f.guest_port, host: f.host };
            status.forwards = port.forwards().borrow().iter().map(forward).collect();
            let counters = port.counters();
            status.network_bytes_in = counters.bytes_in;
            status.network_bytes_out = counters.bytes_out;
        }
        status
    }

    /// Answers one request of the control socket.
    pub(super) async fn handle(&self, request: Request) -> Result<Answer> {
        match request {
            Request::Status => return Ok(Answer::Status(Box::new(self.status()))),
            Request::FreezeVolume { volume_id, key } => {
                let seq = self.volumes.freeze(&volume_id, &key).await?;
                return Ok(Answer::Frozen { seq });
            }
            Request::FreezeVolumes { freezes } => {
                let seqs = self.volumes.freeze_together(&freezes).await?;
                return Ok(Answer::FrozenTogether { seqs });
            }
            Request::ReleaseFreeze { volume_id, key } => self.volumes.release(&volume_id, &key).await?,
            Request::SetIngress { rules } => self.port()?.set_ingress(spec::rules(&rules)?),
            Request::SetEgress { rules } => {
                self.port()?.set_egress(rules.as_deref().map(spec::rules).transpose()?);
            }
            Request::SetMetadata { metadata } => self.metadata.set(*metadata),
            Request::Stop { deadline_ms, force } => {
                let deadline = Duration::from_millis(deadline_ms.unwrap_or(self.spec.stop_deadline_ms));
                self.command(Command::Stop { deadline, force }).await?;
            }
            Request::Reboot { deadline_ms } => {
                self.command(Command::Reboot { deadline: Duration::from_millis(deadline_ms) }).await?;
            }
            Request::AttachVolume { volume } => self.command(Command::Attach(Box::new(volume))).await?,
            Request::DetachVolume { volume_id } => self.command(Command::Detach(volume_id)).await?,
        }
        Ok(Answer::Done)
    }

    async fn command(&self, command: Command) -> Result<()> {
        let ending = || Error::new(Kind::Conflict, "the machine is ending");
        let (sender, receiver) = oneshot::channel();
        self.commands.send((command, sender)).await.map_err(|_| ending())?;
        receiver.await.map_err(|_| ending())?
    }
}
