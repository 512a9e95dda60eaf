//! Starting machine processes, and finding those that an earlier server started.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::client::Client;
use crate::directory;
use crate::error::{Error, Kind, Result};
use crate::exit::ExitRecord;

const LOG_FILE: &str = "machine.log";
const POLL: Duration = Duration::from_millis(20);

/// What is in a machine's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A machine process holds the lock.
    Alive,
    /// It ended and said how.
    Ended(ExitRecord),
    /// None runs and none said how it ended: it never started, or its process was killed.
    Gone,
}

/// Looks at the lock and the exit record; never at process ids.
pub fn find(directory: &Path) -> Result<Found> {
    if directory::is_alive(directory)? {
        return Ok(Found::Alive);
    }
    Ok(ExitRecord::read(directory)?.map_or(Found::Gone, Found::Ended))
}

/// Starts `exe machine --dir DIRECTORY`, which outlives this process, and waits until it answers on its
/// control socket or has ended.
///
/// # Errors
/// `Conflict` when a machine already runs there, `Unavailable` when it does not answer by the deadline.
#[expect(clippy::disallowed_methods, reason = "this room starts machine processes")]
pub async fn spawn_detached(exe: &Path, directory: &Path, deadline: Duration) -> Result<Client> {
    if directory::is_alive(directory)? {
        return Err(Error::new(Kind::Conflict, "this machine already runs"));
    }
    ExitRecord::remove(directory);
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(directory.join(LOG_FILE));
    let log = log.map_err(|e| Error::io("open the machine's log", e))?;
    let mut child = tokio::process::Command::new(exe)
        .args(["machine".as_ref(), "--dir".as_ref(), directory.as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|e| Error::io("start the machine process", e))?;
    let answered = async {
        loop {
            if let Ok(client) = Client::connect(directory).await {
                return Ok(client);
            }
            tokio::select! {
                status = child.wait() => return Err(ended_early(directory, status)),
                () = tokio::time::sleep(POLL) => {}
            }
        }
    };
    tokio::time::timeout(deadline, answered)
        .await
        .map_err(|_| Error::new(Kind::Unavailable, "the machine process does not answer"))?
}

fn ended_early(directory: &Path, status: std::io::Result<std::process::ExitStatus>) -> Error {
    let recorded = ExitRecord::read(directory).ok().flatten();
    let how = match (recorded, status) {
        (Some(record), _) => format!("{:?}", record.reason),
        (None, Ok(status)) => format!("{status}, see {LOG_FILE}"),
        (None, Err(error)) => error.to_string(),
    };
    Error::new(Kind::Unavailable, format!("the machine process ended at its start: {how}"))
}

/// Waits until no machine process holds the directory, for at most `deadline`, and says how it ended.
///
/// # Errors
/// `Unavailable` when it still lives at the deadline.
pub async fn await_end(directory: &Path, deadline: Duration) -> Result<Found> {
    let ended = async {
        loop {
            match find(directory)? {
                Found::Alive => tokio::time::sleep(POLL).await,
                ended @ (Found::Ended(_) | Found::Gone) => return Ok(ended),
            }
        }
    };
    tokio::time::timeout(deadline, ended)
        .await
        .map_err(|_| Error::new(Kind::Unavailable, "the machine still runs"))?
}
