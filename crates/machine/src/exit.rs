//! The record of how a machine ended: `exit.json`, durable before the machine lets go of its lock.

use std::path::Path;

use model::{InstanceId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

const EXIT_FILE: &str = "exit.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum ExitReason {
    /// The guest powered itself off.
    GuestShutdown,
    /// Somebody asked for it; `forced` when the guest did not obey in time or was not asked.
    Stopped { forced: bool },
    /// QEMU ended by itself.
    Crashed { code: Option<i32>, signal: Option<i32>, stderr_tail: String },
    /// The machine could not be started at all.
    StartFailed { message: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    pub instance_id: InstanceId,
    /// Of the start that this is the end of.
    pub generation: u32,
    pub reason: ExitReason,
    /// Volumes that could not be flushed or closed at the end, with why.
    pub volume_errors: Vec<String>,
    pub at: Timestamp,
}

impl ExitRecord {
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| Error::caused(Kind::Invalid, "encode exit.json", e))?;
        blockstore::durable::write_file(&directory.join(EXIT_FILE), &bytes, 0o600)
            .map_err(|e| Error::io("write exit.json", e))
    }

    pub(crate) fn remove(directory: &Path) {
        crate::directory::remove(directory, EXIT_FILE);
    }

    /// None when no machine has ended here.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>> {
        match std::fs::read(directory.join(EXIT_FILE)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|e| Error::caused(Kind::Corrupt, "parse exit.json", e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read exit.json", e)),
        }
    }
}
