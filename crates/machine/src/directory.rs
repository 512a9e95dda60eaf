//! The machine's directory: its lock, and its sockets, whose addresses may be longer than the kernel's
//! limit for socket paths.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

use crate::error::{Error, Kind, Result};

const LOCK_FILE: &str = "lock";
const LOCK_TRIES: u32 = 10;
const LOCK_RETRY_DELAY: Duration = Duration::from_millis(20);
pub(crate) const CONTROL_SOCKET: &str = "control.sock";
pub(crate) const NETWORK_SOCKET: &str = "net.sock";
pub(crate) const UEFI_VARS_FILE: &str = "uefi-vars.fd";

/// Held by a machine for its whole life. The kernel lets go of it when the process ends, however it ends,
/// so whether it is held is the one truth about whether the machine lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Tries for a moment: whoever looks whether a machine lives holds the lock for an instant.
    pub(crate) async fn take(directory: &Path) -> Result<Self> {
        let file = open_lock(directory).map_err(|e| Error::io("open the machine's lock", e))?;
        for _ in 0..LOCK_TRIES {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(LOCK_RETRY_DELAY).await,
                Err(e) => return Err(Error::io("lock the machine", e.into())),
            }
        }
        Err(Error::new(Kind::Conflict, "this machine already runs"))
    }
}

/// Whether a machine process lives in this directory now.
pub(crate) fn is_alive(directory: &Path) -> Result<bool> {
    let file = match OpenOptions::new().write(true).open(directory.join(LOCK_FILE)) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io("open the machine's lock", e)),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(e) => Err(Error::io("look at the machine's lock", e.into())),
    }
}

fn open_lock(directory: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(directory.join(LOCK_FILE))
}

/// Listens on a socket in the directory, in place of whatever an earlier machine left there.
pub(crate) fn listen(directory: &Path, name: &str) -> Result<UnixListener> {
    remove(directory, name);
    let (_open, path) = short(directory, name)?;
    UnixListener::bind(path).map_err(|e| Error::io(&format!("listen on {name}"), e))
}

pub(crate) async fn connect(directory: &Path, name: &str) -> Result<UnixStream> {
    let (_open, path) = short(directory, name)?;
    UnixStream::connect(path).await.map_err(|e| {
        if e.kind() == std::io::ErrorKind::ConnectionRefused {
            return Error::caused(Kind::NotFound, "no machine listens", e);
        }
        Error::io(&format!("connect to {name}"), e)
    })
}

pub(crate) fn remove(directory: &Path, name: &str) {
    match std::fs::remove_file(directory.join(name)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, name, "a file of the machine could not be removed");
        }
        _ => {}
    }
}

/// A path of a few bytes to a name in the directory, good while the returned descriptor is open.
fn short(directory: &Path, name: &str) -> Result<(rustix::fd::OwnedFd, PathBuf)> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
    let opened = rustix::fs::open(directory, flags, Mode::empty())
        .map_err(|e| Error::io("open the machine's directory", e.into()))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", opened.as_raw_fd()));
    Ok((opened, path))
}
