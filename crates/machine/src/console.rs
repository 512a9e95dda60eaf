//! The past of the serial console: everything in memory up to 64 KiB, and more of it in two files of which
//! the older one is thrown away.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const LOG_FILE: &str = "console.log";
const OLD_LOG_FILE: &str = "console.log.1";
/// What `GetConsoleOutput` returns at most.
pub const TAIL_BYTES_MAX: u64 = 64 * 1024;

/// Appends what the guest prints. Never holds more on disk than its limit.
#[derive(Debug)]
pub(crate) struct ConsoleLog {
    directory: PathBuf,
    file: File,
    /// Bytes in the newer file.
    len: u64,
    half_bytes_max: u64,
}

impl ConsoleLog {
    /// Begins an empty log: a console shows one start of a machine.
    pub(crate) fn create(directory: &Path, bytes_max: u64) -> Result<Self> {
        crate::directory::remove(directory, OLD_LOG_FILE);
        let file = create(directory).map_err(|e| Error::io("create the console log", e))?;
        let half_bytes_max = (bytes_max / 2).max(TAIL_BYTES_MAX);
        Ok(Self { directory: directory.to_owned(), file, len: 0, half_bytes_max })
    }

    pub(crate) fn append(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            if self.len >= self.half_bytes_max {
                self.turn()?;
            }
            let room = usize::try_from(self.half_bytes_max - self.len).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            let written = self.file.write_all(now);
            // Of a write that failed part may be there.
            self.len = self.file.stream_position()?;
            written?;
            bytes = later;
        }
        Ok(())
    }

    /// The newer file becomes the older one. Losing either in a power cut loses only console text.
    fn turn(&mut self) -> std::io::Result<()> {
        match rustix::fs::rename(self.directory.join(LOG_FILE), self.directory.join(OLD_LOG_FILE)) {
            // An attempt before got this far and found no room for the new one.
            Err(rustix::io::Errno::NOENT) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
        self.file = create(&self.directory)?;
        self.len = 0;
        Ok(())
    }
}

fn create(directory: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = directory.join(LOG_FILE);
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
}

/// The last bytes that the guest printed, at most [`TAIL_BYTES_MAX`]; empty when it never ran. Works while
/// the machine runs and after its end.
pub fn tail(directory: &Path) -> Result<Vec<u8>> {
    let new = last_bytes(&directory.join(LOG_FILE), TAIL_BYTES_MAX)?;
    let missing = TAIL_BYTES_MAX - new.len() as u64;
    let mut tail = last_bytes(&directory.join(OLD_LOG_FILE), missing)?;
    tail.extend(new);
    Ok(tail)
}

fn last_bytes(path: &Path, count: u64) -> Result<Vec<u8>> {
    let read = || {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(count)))?;
        let mut bytes = Vec::new();
        file.take(count).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|e| Error::io("read the console log", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_end_of_everything_whatever_the_pieces() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(tail(home.path()).unwrap(), b"");
        let mut log = ConsoleLog::create(home.path(), 200_000).unwrap();
        let mut everything = Vec::new();
        for piece in 0..40_u8 {
            let bytes = vec![piece; 9_999];
            log.append(&bytes).unwrap();
            everything.extend(bytes);
            let from = everything.len().saturating_sub(65_536);
            assert_eq!(tail(home.path()).unwrap(), &everything[from..]);
        }
        let on_disk: u64 = [LOG_FILE, OLD_LOG_FILE]
            .iter()
            .map(|name| std::fs::metadata(home.path().join(name)).unwrap().len())
            .sum();
        assert!(on_disk <= 200_000, "{on_disk}");
        drop(ConsoleLog::create(home.path(), 0).unwrap());
        assert_eq!(tail(home.path()).unwrap(), b"", "a new start begins a new log");
    }

    #[test]
    fn a_log_that_could_not_be_written_for_a_while_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let mut log = ConsoleLog::create(home.path(), 0).unwrap();
        log.append(&vec![b'a'; 65_536]).unwrap();
        std::fs::create_dir(home.path().join(OLD_LOG_FILE)).unwrap();
        assert!(log.append(b"lost").is_err(), "no room for the older file");
        std::fs::remove_dir(home.path().join(OLD_LOG_FILE)).unwrap();
        // As an attempt that got as far as the rename leaves it.
        rustix::fs::rename(home.path().join(LOG_FILE), home.path().join(OLD_LOG_FILE)).unwrap();
        log.append(b"kept").unwrap();
        assert!(tail(home.path()).unwrap().ends_with(b"aaakept"));
    }
}
