//! The data directory: who owns it, and where everything in it is.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::error::{Error, Result};

/// A data directory, whoever owns it now.
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    path: PathBuf,
}

/// Held by the one process that may write here; the kernel lets go of it however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl DataDir {
    /// Makes the directory, for its owner's eyes only, where it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|e| Error::caused(format!("make the data directory {}", path.display()), e))?;
        // Machines and scripts find it from other working directories.
        let path = fs::canonicalize(path)
            .map_err(|e| Error::caused(format!("find the data directory {}", path.display()), e))?;
        Ok(Self { path })
    }

    /// None where another process has it.
    pub(crate) fn try_lock(&self) -> Result<Option<Lock>> {
        let path = self.path.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|e| Error::caused(format!("open {}", path.display()), e))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(Error::caused(format!("lock {}", path.display()), io::Error::from(e))),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn metastore_file(&self) -> PathBuf {
        self.path.join("meta/katagami.db")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    pub(crate) fn machines(&self) -> PathBuf {
        self.path.join("machines")
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// Where the store is, when it is in a bucket.
    pub(crate) fn bucket_file(&self) -> PathBuf {
        self.path.join("bucket.json")
    }

    /// What was fetched of a store in a bucket.
    pub(crate) fn frames(&self) -> PathBuf {
        self.path.join("cache/frames")
    }

    pub(crate) fn credentials_file(&self) -> PathBuf {
        self.path.join("credentials")
    }

    pub(crate) fn domain_keys_file(&self) -> PathBuf {
        self.path.join("domains.key")
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.path.join("config")
    }

    /// A path of a few bytes to a name in the directory, good while the returned descriptor is open: socket
    /// addresses have room for a hundred bytes only.
    pub(crate) fn short(&self, name: &str) -> Result<(rustix::fd::OwnedFd, PathBuf)> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::PATH;
        let opened = rustix::fs::open(&self.path, flags, Mode::empty());
        let opened = opened.map_err(|e| Error::caused("open the data directory", io::Error::from(e)))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", opened.as_raw_fd()));
        Ok((opened, path))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_owner_at_a_time_and_nobody_else_looks_in() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&home.path().join("a/b")).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let lock = dir.try_lock().unwrap().unwrap();
        assert!(dir.try_lock().unwrap().is_none());
        drop(lock);
        assert!(dir.try_lock().unwrap().is_some());
    }
}
