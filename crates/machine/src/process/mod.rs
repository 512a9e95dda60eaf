//! The life of a machine process, from `machine.json` to `exit.json`.

mod shared;
mod supervisor;

use std::path::Path;
use std::sync::Arc;

use hypervisor::{Qemu, Transport};
use model::{Clock, IdGen, OsIdGen, SystemClock};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::console::ConsoleLog;
use crate::control::{self, State};
use crate::directory::{self, CONTROL_SOCKET, Lock, NETWORK_SOCKET, UEFI_VARS_FILE};
use crate::error::{Error, Result};
use crate::exit::{ExitReason, ExitRecord};
use crate::port;
use crate::spec::{self, Firmware, MachineSpec, Platform};
use crate::{transport, volumes};
use shared::{Commands, Shared};
use supervisor::Supervisor;

/// Enough for the disks, the network and the control socket of one machine.
const WORKER_THREADS: usize = 2;
/// Empty ports that volumes can be attached to while the machine runs.
pub(crate) const SPARE_PORTS: u8 = 8;

/// The body of `katagami machine --dir DIRECTORY`: runs the machine described there to its end.
///
/// # Errors
/// Only what kept the machine from being one at all: no readable `machine.json`, or another process that
/// already runs it. Everything later is in the exit record.
pub fn run(directory: &Path) -> Result<()> {
    // In a session of its own, no terminal or service manager of the server's reaches this process. It
    // fails where a shell has already given the process a group of its own, which does as well.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "the machine stays in the session that started it");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .map_err(|e| Error::io("start the runtime", e))?;
    runtime.block_on(live(directory, Arc::new(SystemClock::new()), Arc::new(OsIdGen)))
}

async fn live(directory: &Path, clock: Arc<dyn Clock>, ids: Arc<dyn IdGen>) -> Result<()> {
    let _lock = Lock::take(directory).await?;
    let spec = MachineSpec::read(directory)?;
    ExitRecord::remove(directory);
    let listener = directory::listen(directory, CONTROL_SOCKET)?;
    let (shared, commands) = Shared::new(directory, spec, clock, ids);
    let handler = Arc::clone(&shared);
    let control = tokio::spawn(control::serve(listener, move |request| {
        let shared = Arc::clone(&handler);
        async move { shared.handle(request).await }
    }));
    let reason = match boot_and_watch(&shared, commands).await {
        Ok(reason) => reason,
        Err(error) => {
            tracing::error!(error = error.chain(), "the machine could not be started");
            ExitReason::StartFailed { message: error.chain() }
        }
    };
    let recorded = wind_up(&shared, reason).await;
    control.abort();
    directory::remove(directory, CONTROL_SOCKET);
    recorded
}

/// Everything between the first volume that opens and the end of QEMU.
///
/// Runs on the main thread, because QEMU dies with the thread that started it.
async fn boot_and_watch(shared: &Arc<Shared>, commands: Commands) -> Result<ExitReason> {
    let spec = &shared.spec;
    let terminate = signal(SignalKind::terminate()).map_err(|e| Error::io("listen for SIGTERM", e))?;
    let qemu = Qemu::find(spec.qemu_binary.as_deref()).await?;
    let accelerator = hypervisor::accelerator::choose(&qemu, &spec.accelerator_cache_file).await?;
    shared.volumes.set_transport(transport::choose(spec, &qemu, accelerator).await);
    for volume in &spec.volumes {
        shared.volumes.open(volume).await?;
        shared.attached(volume.volume_id.clone());
    }
    if let Some(network) = &spec.network {
        let (clock, ids) = (Arc::clone(&shared.clock), Arc::clone(&shared.ids));
        shared.set_port(port::open(&shared.directory, network, shared.metadata.clone(), clock, ids)?);
    }
    let console = ConsoleLog::create(&shared.directory, spec.console_bytes_max)?;
    let description = describe(&shared.directory, spec, shared.volumes.transport())?;
    let started = qemu.start(&shared.directory, &description, accelerator).await?;
    tracing::info!(accelerator = accelerator.as_str(), "the machine runs");
    shared.running(accelerator, started.process.pid());
    let reader = tokio::spawn(keep_console(started.console, console, Arc::clone(shared)));
    let supervisor = Supervisor::new(shared, started.qmp, &description);
    let reason = supervisor.watch(started.process, started.events, commands, terminate).await;
    // The socket ends with QEMU: what it still holds is the guest's last words.
    if let Err(error) = reader.await {
        tracing::warn!(%error, "the console reader ended badly");
    }
    reason
}

/// What QEMU should look like, as `hypervisor` says it.
fn describe(directory: &Path, spec: &MachineSpec, transport: Transport) -> Result<hypervisor::Spec> {
    let (platform, nic_model) = match spec.platform {
        Platform::Nitro => (hypervisor::Platform::Q35, hypervisor::NicModel::VirtioNet),
        Platform::Xen => (hypervisor::Platform::I440fx, hypervisor::NicModel::VirtioNet),
    };
    let nic = spec.network.as_ref().map(|network| {
        let socket = NETWORK_SOCKET.to_owned();
        network.mac_bytes().map(|mac| hypervisor::Nic { socket, mac, model: nic_model })
    });
    let instance_id = spec.instance_id.to_string();
    Ok(hypervisor::Spec {
        identity: hypervisor::Identity {
            uuid: hypervisor::ec2_uuid(&instance_id),
            instance_id,
            instance_type: spec.instance_type.clone(),
        },
        vcpus: spec.vcpus,
        memory_mib: spec.memory_mib,
        platform,
        firmware: firmware(directory, spec.firmware)?,
        disks: spec.volumes.iter().map(|volume| disk(spec.platform, transport, volume)).collect(),
        nic: nic.transpose()?,
        spare_ports: SPARE_PORTS,
    })
}

pub(crate) fn disk(platform: Platform, transport: Transport, volume: &spec::VolumeSpec) -> hypervisor::Disk {
    let model = match platform {
        Platform::Nitro => hypervisor::DiskModel::Nvme,
        Platform::Xen => hypervisor::DiskModel::VirtioBlk,
    };
    let volume_id = &volume.volume_id;
    let (socket, serial) = (volumes::socket_name(volume_id, transport), volumes::serial(volume_id));
    hypervisor::Disk { socket, transport, serial, model }
}

/// The variable store is made once and then belongs to the instance: boot entries survive stops.
fn firmware(directory: &Path, firmware: Firmware) -> Result<hypervisor::Firmware> {
    match firmware {
        Firmware::Bios => Ok(hypervisor::Firmware::Bios),
        Firmware::Uefi => {
            let (code, template) = hypervisor::uefi_files()?;
            let vars = directory.join(UEFI_VARS_FILE);
            if !vars.exists() {
                let bytes = std::fs::read(template).map_err(|e| Error::io("read the UEFI template", e))?;
                blockstore::durable::write_file(&vars, &bytes, 0o600)
                    .map_err(|e| Error::io("write the UEFI variable store", e))?;
            }
            Ok(hypervisor::Firmware::Uefi { code, vars })
        }
    }
}

/// Keeps what the guest prints until QEMU closes the port. A full disk loses console text, nothing else.
async fn keep_console(stream: UnixStream, mut log: ConsoleLog, shared: Arc<Shared>) {
    let mut chunk = vec![0; 64 * 1024];
    let mut is_kept = true;
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        let bytes = match stream.try_read(&mut chunk) {
            Ok(0) => return,
            Ok(len) => chunk.get(..len).unwrap_or_default(),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        shared.console_bytes(bytes.len());
        let kept = log.append(bytes);
        // Told once, however much is lost: the disk that is full may be the one that keeps this log.
        if let Err(error) = &kept
            && is_kept
        {
            tracing::error!(%error, "the console log cannot be written; text is lost until it can");
        }
        is_kept = kept.is_ok();
    }
}

/// Closes what the machine owned and writes the exit record, in this order: who sees the record may take the
/// volumes.
async fn wind_up(shared: &Shared, reason: ExitReason) -> Result<()> {
    shared.set_state(State::Ending);
    if let Some(port) = shared.take_port() {
        port.shutdown().await;
        directory::remove(&shared.directory, NETWORK_SOCKET);
    }
    let volume_errors = shared.volumes.close_all().await;
    let record = ExitRecord {
        instance_id: shared.spec.instance_id.clone(),
        generation: shared.spec.generation,
        reason,
        volume_errors,
        at: shared.clock.now(),
    };
    tracing::info!(?record, "the machine has ended");
    record.write(&shared.directory)
}
