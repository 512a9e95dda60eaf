//! One running QEMU as a child of this process.
#![expect(unsafe_code, reason = "the child asks the kernel to end with its parent, between fork and exec")]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::accelerator::Accelerator;
use crate::arguments::{CONSOLE_SOCKET, QMP_SOCKET, arguments};
use crate::error::{Error, Kind, Result};
use crate::qemu::Qemu;
use crate::qmp::{Event, Qmp};
use crate::spec::Spec;

/// QEMU connects its monitor and console before it does anything slow.
const CONNECT_DEADLINE: Duration = Duration::from_secs(20);
/// How much of QEMU's last words is kept for the state reason.
const STDERR_BYTES_MAX: usize = 4096;

/// How a QEMU ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The last 4 KiB of what it wrote to its standard error.
    pub stderr_tail: String,
}

impl Exit {
    pub fn is_clean(&self) -> bool {
        self.code == Some(0)
    }
}

/// A QEMU that runs its guest.
#[derive(Debug)]
pub struct Started {
    pub process: Process,
    pub qmp: Qmp,
    pub events: mpsc::Receiver<Event>,
    /// The first serial port: what the guest prints can be read here.
    pub console: UnixStream,
}

/// QEMU as a child, with its standard error being collected. Dropping it kills QEMU.
#[derive(Debug)]
pub struct Process {
    child: Child,
    tail: Arc<Mutex<Vec<u8>>>,
    collector: JoinHandle<()>,
}

impl Qemu {
    /// Starts a machine whose sockets lie in `directory`, which may have a path of any length.
    ///
    /// QEMU is killed when the calling thread ends, so this must be called on a thread that lives as long
    /// as the machine should: the main thread or a worker of the runtime.
    pub async fn start(&self, directory: &Path, spec: &Spec, accelerator: Accelerator) -> Result<Started> {
        let args = arguments(spec, accelerator)?;
        let monitor = listen(directory, QMP_SOCKET)?;
        let console = listen(directory, CONSOLE_SOCKET)?;
        let mut process = Process::spawn(self.binary(), directory, &args)?;
        let connected = async {
            let (console, _) = console.accept().await?;
            let (monitor, _) = monitor.accept().await?;
            std::io::Result::Ok((console, monitor))
        };
        let (console, monitor) = tokio::select! {
            connected = connected => {
                connected.map_err(|e| Error::caused(Kind::Unavailable, "accept QEMU's sockets", e))?
            }
            exit = process.wait() => return Err(refused_to_start(&exit?)),
            () = tokio::time::sleep(CONNECT_DEADLINE) => {
                return Err(Error::new(Kind::Unavailable, "QEMU started but did not connect its monitor"));
            }
        };
        for name in [QMP_SOCKET, CONSOLE_SOCKET] {
            // Nobody else may connect there; the connections live on without their names.
            remove(directory, name);
        }
        let (qmp, events) = tokio::select! {
            negotiated = Qmp::negotiate(monitor) => match negotiated {
                Ok(negotiated) => negotiated,
                Err(_) => return Err(refused_to_start(&process.wait().await?)),
            },
            exit = process.wait() => return Err(refused_to_start(&exit?)),
        };
        Ok(Started { process, qmp, events, console })
    }
}

fn refused_to_start(exit: &Exit) -> Error {
    Error::new(Kind::Unavailable, format!("QEMU did not start: {}", exit.stderr_tail.trim()))
}

impl Process {
    /// None once it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends QEMU at once, as pulling the plug does.
    pub fn kill(&mut self) -> Result<()> {
        self.child.start_kill().map_err(|e| Error::caused(Kind::Invalid, "kill QEMU", e))
    }

    #[expect(clippy::disallowed_methods, reason = "this room starts QEMU")]
    fn spawn(binary: &Path, directory: &Path, args: &[String]) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(args).current_dir(directory).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: prctl is async-signal-safe and touches nothing of the parent.
        unsafe {
            command.pre_exec(|| {
                let kill = Some(rustix::process::Signal::KILL);
                rustix::process::set_parent_process_death_signal(kill).map_err(Into::into)
            });
        }
        let mut child = command
            .spawn()
            .map_err(|e| Error::caused(Kind::NotFound, format!("start {}", binary.display()), e))?;
        let tail = Arc::new(Mutex::new(Vec::new()));
        let collector = tokio::spawn(keep_tail(child.stderr.take(), Arc::clone(&tail)));
        Ok(Self { child, tail, collector })
    }

    /// Waits for the end; may be called again after it, and dropped and called again before it.
    pub async fn wait(&mut self) -> Result<Exit> {
        let status = self.child.wait().await.map_err(|e| Error::caused(Kind::Invalid, "wait for QEMU", e))?;
        // The pipe ends with QEMU; a short while more catches what is still in it.
        let drained = async {
            while !self.collector.is_finished() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(1), drained).await.is_err() {
            tracing::debug!("something still holds QEMU's standard error open");
        }
        Ok(self.exit(status))
    }

    fn exit(&self, status: ExitStatus) -> Exit {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let stderr_tail = String::from_utf8_lossy(&tail).into_owned();
        Exit { code: status.code(), signal: status.signal(), stderr_tail }
    }
}

async fn keep_tail(stderr: Option<impl AsyncRead + Unpin>, tail: Arc<Mutex<Vec<u8>>>) {
    let Some(mut stderr) = stderr else { return };
    let mut chunk = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend(chunk.iter().take(read));
        let excess = tail.len().saturating_sub(STDERR_BYTES_MAX);
        tail.drain(..excess);
    }
}

/// Listens on a socket in a directory whose path may be longer than a socket address can hold.
fn listen(directory: &Path, name: &str) -> Result<UnixListener> {
    remove(directory, name);
    let context = || format!("listen on {name}");
    let opened = rustix::fs::open(directory, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::caused(Kind::NotFound, context(), e))?;
    let path = format!("/proc/self/fd/{}/{name}", std::os::fd::AsRawFd::as_raw_fd(&opened));
    UnixListener::bind(path).map_err(|e| Error::caused(Kind::Unavailable, context(), e))
}

fn remove(directory: &Path, name: &str) {
    match std::fs::remove_file(directory.join(name)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, name, "a socket could not be removed");
        }
        _ => {}
    }
}
