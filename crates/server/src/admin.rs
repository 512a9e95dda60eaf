//! The administrator's socket `DIR/admin.sock`: what only the owner of the data directory may ask of a running
//! server. One JSON line asks; lines of progress, where there are any, and one reply answer.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use control::{Repack, ScrubState, VerifyReport, VerifyTarget};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::administrator::{Administrator, Progress, Tell};
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::store::{CollectedDomain, StoreUsage};

const SOCKET: &str = "admin.sock";
const REQUEST_BYTES_MAX: u64 = 64 << 10;
const REPLY_BYTES_MAX: u64 = 16 << 20;
const REQUEST_TIME_MAX: Duration = Duration::from_mins(1);
/// A collection of a large store takes its time.
const REPLY_TIME_MAX: Duration = Duration::from_hours(24);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    AccountCreate { name: String },
    StoreCollect { now: bool, retire_secs: Option<u64>, acknowledge: bool, repack: Option<Repack> },
    StoreUsage,
    Verify { target: VerifyTarget },
    ScrubStatus,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    AccountId(String),
    /// The name is taken.
    Taken,
    Collected(Vec<CollectedDomain>),
    StoreUsage(StoreUsage),
    /// More is to come.
    Progress(Progress),
    Verified(Box<VerifyReport>),
    ScrubStatus(Vec<ScrubState>),
    Failed(String),
}

impl Reply {
    /// A server of another version may answer otherwise than asked.
    pub(crate) fn unexpected(&self) -> Error {
        Error::new(format!("understand the running server: it answered {self:?}"))
    }
}

/// Listens in place of whatever a dead server left.
pub(crate) fn listen(data: &DataDir) -> Result<UnixListener> {
    let path = data.path().join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::caused(format!("remove {}", path.display()), e));
        }
        _ => {}
    }
    let (_open, short) = data.short(SOCKET)?;
    let failed = |e| Error::caused(format!("listen on {}", path.display()), e);
    let listener = UnixListener::bind(&short).map_err(failed)?;
    // The directory is closed to others anyway.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// After the last answer: a client that finds no socket knows that no server runs.
pub(crate) fn remove(data: &DataDir) {
    let path = data.path().join(SOCKET);
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::debug!(%error, path = %path.display(), "remove the administrator's socket");
    }
}

/// Answers until stopped: each connection by itself, because some answers take long.
pub(crate) async fn serve(listener: UnixListener, stop: CancellationToken, administrator: Administrator) {
    let mut connections = JoinSet::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                while connections.try_join_next().is_some() {}
                let (stop, administrator) = (stop.clone(), administrator.clone());
                connections.spawn(async move {
                    let told = converse(stream, &administrator);
                    if let Some(Err(error)) = stop.run_until_cancelled(told).await {
                        tracing::debug!(%error, "an administrator's connection ended early");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept an administrator's connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A client that goes away ends the work on its answer. Progress that it is too slow to read is left out.
async fn converse(stream: UnixStream, administrator: &Administrator) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let line = read_line(&mut stream, REQUEST_BYTES_MAX, REQUEST_TIME_MAX).await?;
    let request = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => return write(&mut stream, &Reply::Failed(format!("not a request: {error}"))).await,
    };
    let (sender, mut told) = mpsc::channel(16);
    let tell = move |progress| {
        drop(sender.try_send(progress));
    };
    let mut answered = std::pin::pin!(administrator.answer(request, &tell));
    loop {
        tokio::select! {
            reply = &mut answered => return write(&mut stream, &reply).await,
            Some(progress) = told.recv() => write(&mut stream, &Reply::Progress(progress)).await?,
        }
    }
}

async fn write(stream: &mut BufReader<UnixStream>, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn read_line(
    stream: &mut BufReader<UnixStream>,
    bytes_max: u64,
    time_max: Duration,
) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let reading = async { stream.take(bytes_max).read_until(b'\n', &mut line).await };
    tokio::time::timeout(time_max, reading).await??;
    Ok(line)
}

/// Asks the running server; `tell` sees what comes before the answer. None where none listens.
pub(crate) async fn ask(data: &DataDir, request: &Request, tell: Tell<'_>) -> Result<Option<Reply>> {
    let (_open, short) = data.short(SOCKET)?;
    let Ok(stream) = UnixStream::connect(short).await else { return Ok(None) };
    let failed = |e| Error::caused("ask the running server", e);
    let mut stream = BufReader::new(stream);
    let mut line = serde_json::to_vec(request).map_err(|e| Error::caused("ask the running server", e))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(failed)?;
    loop {
        let line = read_line(&mut stream, REPLY_BYTES_MAX, REPLY_TIME_MAX).await.map_err(failed)?;
        let reply =
            serde_json::from_slice(&line).map_err(|e| Error::caused("understand the running server", e))?;
        let Reply::Progress(progress) = reply else { return Ok(Some(reply)) };
        tell(progress);
    }
}
