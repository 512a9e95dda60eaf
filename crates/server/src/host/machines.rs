//! Machines: one process each, in a directory of its own.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use control::ports::{ExitCause, HostError, HostErrorKind, MachineSpec, MachineStatus, Shutdown};
use futures::future::join_all;
use hypervisor::Qemu;
use machine::{Client, DiskTransport, ExitReason, ExitRecord, Found, State, Status};
use model::{InstanceId, StateReason, Timestamp};

use super::owned::Owner;
use super::spec::{self, Directories};
use super::{blocking, error, io_error, names_in, plain_error};
use crate::bucket::Bucket;
use crate::data_dir::DataDir;

/// Until a machine process answers. Its QEMU may take longer.
const START_TIME_MAX: Duration = Duration::from_secs(30);
const CLEAR_TIME_MAX: Duration = Duration::from_secs(10);
const CLEAR_ATTEMPTS: u32 = 200;
const CLEAR_PAUSE: Duration = Duration::from_millis(10);
const REBOOT_DEADLINE: Duration = Duration::from_mins(2);
const CONSOLE_FILE: &str = "console.log";
const LOCK_FILE: &str = "lock";

#[derive(Debug)]
pub(super) struct Machines {
    dir: PathBuf,
    store_dir: PathBuf,
    bucket: Option<Bucket>,
    accelerator_cache_file: PathBuf,
    disk_transport: DiskTransport,
    exe: PathBuf,
    memory: Mutex<Memory>,
}

/// What would be slow to find out each time; correct without it.
#[derive(Debug, Default)]
struct Memory {
    /// Whose machine last had a volume.
    owners: HashMap<String, InstanceId>,
    /// Machines that this process is starting.
    starting: HashSet<InstanceId>,
}

impl Machines {
    pub(super) fn new(
        data: &DataDir,
        bucket: Option<Bucket>,
        exe: PathBuf,
        disk_transport: DiskTransport,
    ) -> Self {
        Self {
            dir: data.machines(),
            store_dir: data.store(),
            bucket,
            accelerator_cache_file: data.cache().join("accelerator.json"),
            disk_transport,
            exe,
            memory: Mutex::default(),
        }
    }

    fn dir(&self, id: &InstanceId) -> PathBuf {
        self.dir.join(id.as_str())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn look_at_qemu(&self) {
        let looked = async {
            let qemu = Qemu::find(None).await?;
            let accelerator = hypervisor::accelerator::choose(&qemu, &self.accelerator_cache_file).await?;
            Ok::<_, hypervisor::Error>((qemu.version(), accelerator))
        };
        match looked.await {
            Ok((version, accelerator)) => {
                tracing::info!(qemu = %version, accelerator = accelerator.as_str(), "instances can run");
            }
            Err(error) => {
                tracing::warn!(
                    error = crate::error::chain(&error),
                    "instances cannot run; images and snapshots can be kept"
                );
            }
        }
    }

    /// Idempotent by the instance's generation.
    pub(super) async fn start(
        &self,
        spec: &MachineSpec,
        volume_dir: &(dyn Fn(&str) -> Result<PathBuf, HostError> + Sync),
    ) -> Result<(), HostError> {
        let id = &spec.instance.instance_id;
        let dir = self.dir(id);
        match found(&dir).await? {
            Found::Alive => return self.check_generation(&dir, spec).await,
            // It ran and ended since; `status` tells.
            Found::Ended(record) if is_end_of(&record, spec) => return started(&record),
            Found::Ended(_) | Found::Gone => {}
        }
        let directories = Directories {
            store: &self.store_dir,
            bucket: self.bucket.as_ref(),
            accelerator_cache_file: &self.accelerator_cache_file,
            disk_transport: self.disk_transport,
            volume: volume_dir,
        };
        let machine_spec = spec::machine_spec(spec, &directories)?;
        let _starting = self.starting(id);
        {
            let dir = dir.clone();
            blocking(move || {
                blockstore::durable::create_dir_all(&dir)
                    .map_err(|e| io_error("make the machine's directory", e))?;
                machine_spec.write(&dir).map_err(machine_error)
            })
            .await?;
        }
        self.memory().owners.extend(spec.volumes.iter().map(|volume| (volume.spec.key.clone(), id.clone())));
        match machine::spawn_detached(&self.exe, &dir, START_TIME_MAX).await {
            Ok(_) => Ok(()),
            Err(source) => match found(&dir).await? {
                Found::Ended(record) if is_end_of(&record, spec) => started(&record),
                Found::Alive | Found::Ended(_) | Found::Gone => Err(machine_error(source)),
            },
        }
    }

    async fn check_generation(&self, dir: &Path, spec: &MachineSpec) -> Result<(), HostError> {
        let status = status_of(dir).await?;
        if status.generation == spec.instance.generation {
            return Ok(());
        }
        Err(plain_error(HostErrorKind::Unavailable, "the instance's machine of before still ends"))
    }

    /// Marks the machine as starting while the guard lives.
    fn starting<'a>(&'a self, id: &'a InstanceId) -> impl Drop + 'a {
        struct Guard<'a>(&'a Machines, &'a InstanceId);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.memory().starting.remove(self.1);
            }
        }
        self.memory().starting.insert(id.clone());
        Guard(self, id)
    }

    pub(super) async fn status(&self, id: &InstanceId) -> Result<MachineStatus, HostError> {
        let dir = self.dir(id);
        match found(&dir).await? {
            Found::Alive => match status_of(&dir).await {
                Ok(status) => Ok(shown(&status)),
                // It has the lock but does not listen: it has only begun, or has all but ended.
                Err(error) if error.kind == HostErrorKind::NotFound => Ok(MachineStatus::Starting),
                Err(error) => Err(error),
            },
            _ if self.memory().starting.contains(id) => Ok(MachineStatus::Starting),
            Found::Ended(record) => Ok(MachineStatus::Exited { cause: cause(&record) }),
            Found::Gone if dir.join(LOCK_FILE).exists() => {
                let reason = StateReason::new("Server.InternalError", "The machine's process was killed.");
                Ok(MachineStatus::Exited { cause: ExitCause::Crashed(reason) })
            }
            Found::Gone => Ok(MachineStatus::Absent),
        }
    }

    /// A machine of another generation is none that this was meant for.
    pub(super) async fn stop(
        &self,
        id: &InstanceId,
        generation: u32,
        how: Shutdown,
    ) -> Result<(), HostError> {
        let Some(mut client) = self.client(id).await? else { return Ok(()) };
        if client.status().await.map_err(machine_error)?.generation != generation {
            return Ok(());
        }
        ask_to_stop(&mut client, how).await
    }

    async fn stop_now(&self, id: &InstanceId) -> Result<(), HostError> {
        let Some(mut client) = self.client(id).await? else { return Ok(()) };
        ask_to_stop(&mut client, Shutdown::Force).await
    }

    pub(super) async fn reboot(&self, id: &InstanceId) -> Result<(), HostError> {
        let Some(mut client) = self.client(id).await? else {
            return Err(plain_error(HostErrorKind::NotFound, format!("no machine of {id} runs")));
        };
        client.reboot(REBOOT_DEADLINE).await.map_err(machine_error)
    }

    pub(super) async fn refresh(&self, spec: &MachineSpec) -> Result<(), HostError> {
        let Some(mut client) = self.client(&spec.instance.instance_id).await? else { return Ok(()) };
        client.set_ingress(spec::ingress(spec)).await.map_err(machine_error)?;
        client.set_egress(Some(spec::egress(spec))).await.map_err(machine_error)?;
        client.set_metadata(spec::metadata(spec)).await.map_err(machine_error)
    }

    pub(super) async fn forget(&self, id: &InstanceId) -> Result<(), HostError> {
        let dir = self.dir(id);
        if found(&dir).await? == Found::Alive {
            return Err(plain_error(HostErrorKind::Unavailable, format!("the machine of {id} still runs")));
        }
        self.memory().owners.retain(|_, owner| owner != id);
        remove(dir).await
    }

    pub(super) async fn console_output(
        &self,
        id: &InstanceId,
    ) -> Result<Option<(Timestamp, Vec<u8>)>, HostError> {
        let dir = self.dir(id);
        blocking(move || {
            let modified = match std::fs::metadata(dir.join(CONSOLE_FILE)).and_then(|file| file.modified()) {
                Ok(modified) => modified.duration_since(UNIX_EPOCH).unwrap_or_default(),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(io_error("read the console log", e)),
            };
            let time = Timestamp::from_millis(i64::try_from(modified.as_millis()).unwrap_or(i64::MAX));
            Ok(Some((time, machine::console::tail(&dir).map_err(machine_error)?)))
        })
        .await
    }

    pub(super) async fn forwards(&self, id: &InstanceId) -> Result<Vec<(u16, SocketAddr)>, HostError> {
        let Some(mut client) = self.client(id).await? else { return Ok(Vec::new()) };
        let status = client.status().await.map_err(machine_error)?;
        Ok(status.forwards.into_iter().map(|forward| (forward.guest_port, forward.host)).collect())
    }

    /// A connection to the instance's machine, if one lives.
    async fn client(&self, id: &InstanceId) -> Result<Option<Client>, HostError> {
        let dir = self.dir(id);
        if found(&dir).await? != Found::Alive {
            return Ok(None);
        }
        match Client::connect(&dir).await {
            Ok(client) => Ok(Some(client)),
            // Just begun, or just ended.
            Err(error) if error.kind == machine::Kind::NotFound => {
                Err(plain_error(HostErrorKind::Unavailable, "the machine does not listen yet or no more"))
            }
            Err(error) => Err(machine_error(error)),
        }
    }

    /// The machine that has this volume. None means that the server may take it, if its lock is free.
    pub(super) async fn owner_of(&self, key: &str) -> Result<Option<Owner>, HostError> {
        let remembered = self.memory().owners.get(key).cloned();
        if let Some(id) = remembered
            && let Some(owner) = self.owner_if(&id, key).await?
        {
            return Ok(Some(owner));
        }
        for id in self.ids().await? {
            if let Some(owner) = self.owner_if(&id, key).await? {
                self.memory().owners.insert(key.to_owned(), id);
                return Ok(Some(owner));
            }
        }
        Ok(None)
    }

    /// The machine, if it lives and has the volume or is about to.
    async fn owner_if(&self, id: &InstanceId, key: &str) -> Result<Option<Owner>, HostError> {
        let Some(mut client) = self.client(id).await? else { return Ok(None) };
        let status = client.status().await.map_err(machine_error)?;
        let has = match status.state {
            State::Starting => spec::names_volume(&self.dir(id), key).await?,
            State::Running | State::Rebooting | State::Stopping | State::Ending => {
                status.attached_volumes.iter().any(|volume_id| volume_id.as_str() == key)
            }
        };
        Ok(has.then(|| Owner::new(client)))
    }

    async fn ids(&self) -> Result<Vec<InstanceId>, HostError> {
        let dir = self.dir.clone();
        let names = blocking(move || names_in(&dir)).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Ends all machines, whatever their guests are doing.
    pub(super) async fn clear(&self) -> Result<(), HostError> {
        let ended = join_all(self.ids().await?.into_iter().map(|id| async move { self.end(&id).await }));
        ended.await.into_iter().collect()
    }

    /// Ends one machine at once and removes what it leaves. One that does not listen yet is asked again.
    pub(super) async fn end(&self, id: &InstanceId) -> Result<(), HostError> {
        let dir = self.dir(id);
        for _ in 0..CLEAR_ATTEMPTS {
            match self.stop_now(id).await {
                Err(error) if error.kind == HostErrorKind::Unavailable => {
                    tokio::time::sleep(CLEAR_PAUSE).await;
                }
                told => {
                    told?;
                    break;
                }
            }
        }
        machine::await_end(&dir, CLEAR_TIME_MAX).await.map_err(machine_error)?;
        self.forget(id).await
    }
}

async fn ask_to_stop(client: &mut Client, how: Shutdown) -> Result<(), HostError> {
    let (deadline, force) = match how {
        Shutdown::Graceful { deadline } => (Some(deadline), false),
        Shutdown::Force => (None, true),
    };
    client.stop(deadline, force).await.map_err(machine_error)
}

async fn found(dir: &Path) -> Result<Found, HostError> {
    let dir = dir.to_owned();
    blocking(move || machine::find(&dir).map_err(machine_error)).await
}

async fn status_of(dir: &Path) -> Result<Status, HostError> {
    let mut client = Client::connect(dir).await.map_err(machine_error)?;
    client.status().await.map_err(machine_error)
}

fn shown(status: &Status) -> MachineStatus {
    match status.state {
        State::Starting => MachineStatus::Starting,
        State::Running | State::Rebooting => MachineStatus::Running {
            // A guest that has sent a frame has its network up; the console tells since when it lives.
            reachable_since: (status.network_bytes_out > 0)
                .then(|| status.first_console_byte_at.unwrap_or(status.started_at)),
            accelerator: status.accelerator.clone().unwrap_or_default(),
        },
        State::Stopping | State::Ending => MachineStatus::Stopping,
    }
}

/// Whether the record is of this life of the instance or of a later one.
fn is_end_of(record: &ExitRecord, spec: &MachineSpec) -> bool {
    record.generation >= spec.instance.generation
}

/// Whether the machine that ended had started.
fn started(record: &ExitRecord) -> Result<(), HostError> {
    match &record.reason {
        ExitReason::StartFailed { message } => Err(plain_error(HostErrorKind::Failed, message.clone())),
        ExitReason::GuestShutdown | ExitReason::Stopped { .. } | ExitReason::Crashed { .. } => Ok(()),
    }
}

fn cause(record: &ExitRecord) -> ExitCause {
    let crashed = |text: String| ExitCause::Crashed(StateReason::new("Server.InternalError", text));
    match &record.reason {
        ExitReason::GuestShutdown => ExitCause::GuestShutdown,
        ExitReason::Stopped { .. } => ExitCause::Stopped,
        ExitReason::StartFailed { message } => crashed(message.clone()),
        ExitReason::Crashed { code, signal, stderr_tail } => {
            let how = match (code, signal) {
                (_, Some(signal)) => format!("QEMU was killed by signal {signal}"),
                (Some(code), None) => format!("QEMU ended with code {code}"),
                (None, None) => "QEMU ended".to_owned(),
            };
            crashed(format!("{how}: {}", stderr_tail.trim()))
        }
    }
}

async fn remove(dir: PathBuf) -> Result<(), HostError> {
    blocking(move || match std::fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error("remove the machine's directory", e))
        }
        _ => Ok(()),
    })
    .await
}

pub(super) fn machine_error(source: machine::Error) -> HostError {
    let kind = match source.kind {
        machine::Kind::NotFound => HostErrorKind::NotFound,
        machine::Kind::Conflict | machine::Kind::Unavailable => HostErrorKind::Unavailable,
        machine::Kind::Corrupt | machine::Kind::Invalid => HostErrorKind::Failed,
    };
    error(kind, "the machine", source)
}
