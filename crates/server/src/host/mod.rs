//! The host port: volumes in directories, machines as processes of this program.
//!
//! Refuses to know: why a volume is frozen or a machine is started.

mod machines;
mod owned;
mod spec;
#[cfg(test)]
mod tests;
mod volumes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use control::ports::{
    self, FrozenExtent, HostError, HostErrorKind, HostResult, MachineSpec, MachineStatus, Shutdown,
    VolumeSpec,
};
use machine::DiskTransport;
use model::{InstanceId, Timestamp};

use self::machines::Machines;
use self::volumes::Volumes;
use crate::bucket::Bucket;
use crate::data_dir::DataDir;
use crate::error::{Error, Result};

#[derive(Debug)]
pub(crate) struct Host {
    volumes: Volumes,
    machines: Machines,
    /// Counts how often everything was cleared.
    clearings: AtomicU64,
}

impl Host {
    /// `bucket` is where the snapshot store is, unless it is in the data directory.
    pub(crate) fn open(
        data: &DataDir,
        bucket: Option<Bucket>,
        exe: PathBuf,
        disk_transport: DiskTransport,
    ) -> Result<Self> {
        for dir in [data.volumes(), data.machines(), data.cache()] {
            blockstore::durable::create_dir_all(&dir)
                .map_err(|e| Error::caused(format!("make {}", dir.display()), e))?;
        }
        Ok(Self {
            volumes: Volumes::new(data.volumes()),
            machines: Machines::new(data, bucket, exe, disk_transport),
            clearings: AtomicU64::new(0),
        })
    }

    /// Says in the log what instances will run on, and makes the first launch not wait for the answer.
    pub(crate) async fn look_at_qemu(&self) {
        self.machines.look_at_qemu().await;
    }

    /// Guest ports and where they are reached; empty where no machine runs.
    pub(crate) async fn forwards(&self, id: &InstanceId) -> Result<Vec<(u16, SocketAddr)>, HostError> {
        self.machines.forwards(id).await
    }

    /// Ends every machine and removes every volume, at once and without asking the guests.
    pub(crate) async fn clear(&self) -> Result<(), HostError> {
        self.clearings.fetch_add(1, Ordering::AcqRel);
        self.machines.clear().await?;
        self.volumes.clear().await
    }

    /// A volume that a machine has is frozen by the machine.
    async fn freeze(&self, key: &str, freeze: &str) -> Result<(), HostError> {
        if let Some(mut machine) = self.machines.owner_of(key).await? {
            return machine.freeze(key, freeze).await;
        }
        self.volumes.freeze(key, freeze).await
    }

    /// Volumes of one instance are all with its machine, or all with nobody.
    async fn freeze_together(&self, freezes: &[(&str, &str)]) -> Result<(), HostError> {
        let Some((first, _)) = freezes.first() else { return Ok(()) };
        if let Some(mut machine) = self.machines.owner_of(first).await? {
            return machine.freeze_together(freezes).await;
        }
        self.volumes.freeze_together(freezes).await
    }

    async fn release(&self, key: &str, freeze: &str) -> Result<(), HostError> {
        self.volumes.forget_views(key);
        if let Some(mut machine) = self.machines.owner_of(key).await? {
            return machine.release(key, freeze).await;
        }
        self.volumes.release(key, freeze).await
    }

    async fn start(&self, spec: MachineSpec) -> Result<(), HostError> {
        let clearings = self.clearings.load(Ordering::Acquire);
        let keys = spec.volumes.iter().map(|volume| volume.spec.key.clone()).collect();
        let _claim = self.volumes.claim(keys).await?;
        let volumes = |key: &str| self.volumes.dir(key);
        self.machines.start(&spec, &volumes).await?;
        if self.clearings.load(Ordering::Acquire) != clearings {
            // It came up behind the back of the clearing.
            self.machines.end(&spec.instance.instance_id).await?;
            return Err(plain_error(HostErrorKind::NotFound, "everything was cleared meanwhile"));
        }
        Ok(())
    }
}

impl ports::Host for Host {
    fn volume_create(&self, spec: VolumeSpec) -> HostResult<'_, ()> {
        Box::pin(self.volumes.create(spec))
    }

    fn volume_delete<'a>(&'a self, key: &'a str) -> HostResult<'a, ()> {
        Box::pin(self.volumes.delete(key))
    }

    fn volume_write<'a>(&'a self, key: &'a str, offset_bytes: u64, data: Bytes) -> HostResult<'a, ()> {
        Box::pin(self.volumes.write(key, offset_bytes, data))
    }

    fn volume_freeze<'a>(&'a self, key: &'a str, freeze: &'a str) -> HostResult<'a, ()> {
        Box::pin(self.freeze(key, freeze))
    }

    fn volumes_freeze<'a>(&'a self, freezes: &'a [(&'a str, &'a str)]) -> HostResult<'a, ()> {
        Box::pin(self.freeze_together(freezes))
    }

    fn frozen_extents<'a>(
        &'a self,
        key: &'a str,
        freeze: &'a str,
        since: Option<&'a str>,
    ) -> HostResult<'a, Vec<FrozenExtent>> {
        Box::pin(self.volumes.frozen_extents(key, freeze, since))
    }

    fn frozen_read<'a>(
        &'a self,
        key: &'a str,
        freeze: &'a str,
        extent: FrozenExtent,
    ) -> HostResult<'a, Bytes> {
        Box::pin(self.volumes.frozen_read(key, freeze, extent))
    }

    fn freeze_release<'a>(&'a self, key: &'a str, freeze: &'a str) -> HostResult<'a, ()> {
        Box::pin(self.release(key, freeze))
    }

    fn machine_start(&self, spec: MachineSpec) -> HostResult<'_, ()> {
        Box::pin(self.start(spec))
    }

    fn machine_status<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, MachineStatus> {
        Box::pin(self.machines.status(id))
    }

    fn machine_stop<'a>(&'a self, id: &'a InstanceId, generation: u32, how: Shutdown) -> HostResult<'a, ()> {
        Box::pin(self.machines.stop(id, generation, how))
    }

    fn machine_reboot<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, ()> {
        Box::pin(self.machines.reboot(id))
    }

    fn machine_refresh(&self, spec: MachineSpec) -> HostResult<'_, ()> {
        Box::pin(async move { self.machines.refresh(&spec).await })
    }

    fn machine_forget<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, ()> {
        Box::pin(self.machines.forget(id))
    }

    fn console_output<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, Option<(Timestamp, Vec<u8>)>> {
        Box::pin(self.machines.console_output(id))
    }
}

fn error(
    kind: HostErrorKind,
    context: impl Into<String>,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> HostError {
    HostError { kind, context: context.into(), source: Some(source.into()) }
}

fn plain_error(kind: HostErrorKind, context: impl Into<String>) -> HostError {
    HostError { kind, context: context.into(), source: None }
}

fn io_error(context: impl Into<String>, source: std::io::Error) -> HostError {
    error(HostErrorKind::Unavailable, context, source)
}

/// Runs what waits for the disk where waiting disturbs nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HostError> + Send + 'static,
) -> Result<T, HostError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| error(HostErrorKind::Unavailable, "work on the disk", e))?
}

/// The names in a directory of ours.
fn names_in(dir: &std::path::Path) -> Result<Vec<String>, HostError> {
    let read = || -> std::io::Result<Vec<String>> {
        let entries = std::fs::read_dir(dir)?.collect::<std::io::Result<Vec<_>>>()?;
        Ok(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    };
    read().map_err(|e| io_error(format!("list {}", dir.display()), e))
}
