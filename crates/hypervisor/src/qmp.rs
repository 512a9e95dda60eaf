//! The conversation with a running QEMU: commands we use, typed, and events we act on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use crate::arguments::{chardev_name, device_name, disk_chardev, disk_device, disk_node, node_name};
use crate::error::{Error, Kind, Result};
use crate::spec::{Disk, Transport};

/// The longest line we take from QEMU; its answers to our commands are far shorter.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Events beyond this many unread ones are dropped: the process's end is noticed in any case.
const EVENTS_MAX: usize = 256;
/// A QEMU that has not answered by then hangs.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// What QEMU tells without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The machine ends; `guest` when the guest asked for it.
    Shutdown {
        guest: bool,
    },
    Reset {
        guest: bool,
    },
    /// The power button was pressed.
    PowerButton,
    Paused,
    Resumed,
    GuestPanicked,
    /// The guest let go of a device, which now is gone.
    DeviceDeleted {
        device: String,
    },
    Other(String),
}

/// What the virtual processors do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    Running,
    Paused,
    /// Stopped by a disk that could not take a write.
    IoError,
    Other(String),
}

/// What QEMU does when the guest powers itself off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPowerOff {
    /// Ends, which is how it begins.
    End,
    /// Waits for a reset: the guest's way down is the first half of a reboot.
    AwaitReset,
}

/// A handle for commands; clones share one connection.
#[derive(Debug, Clone)]
pub struct Qmp {
    shared: Arc<Shared>,
}

type Answer = std::result::Result<Value, String>;

#[derive(Debug)]
struct Shared {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    /// None once the connection has ended.
    pending: Mutex<Option<HashMap<u64, oneshot::Sender<Answer>>>>,
    next_id: AtomicU64,
}

impl Qmp {
    /// Takes over a connection that QEMU has just made and leaves its negotiation mode.
    pub async fn negotiate(stream: UnixStream) -> Result<(Self, mpsc::Receiver<Event>)> {
        let (reader, writer) = stream.into_split();
        let shared = Arc::new(Shared {
            writer: tokio::sync::Mutex::new(writer),
            pending: Mutex::new(Some(HashMap::new())),
            next_id: AtomicU64::new(1),
        });
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(read_lines(BufReader::new(reader), Arc::clone(&shared), events));
        let qmp = Self { shared };
        qmp.execute("qmp_capabilities", Value::Null).await?;
        Ok((qmp, receiver))
    }

    /// Presses the power button.
    pub async fn power_button(&self) -> Result<()> {
        self.execute("system_powerdown", Value::Null).await.map(drop)
    }

    /// Pulls the reset line.
    pub async fn reset(&self) -> Result<()> {
        self.execute("system_reset", Value::Null).await.map(drop)
    }

    /// Ends QEMU: buffers of its block layer are flushed, the guest is not asked.
    pub async fn quit(&self) -> Result<()> {
        self.execute("quit", Value::Null).await.map(drop)
    }

    pub async fn pause(&self) -> Result<()> {
        self.execute("stop", Value::Null).await.map(drop)
    }

    pub async fn resume(&self) -> Result<()> {
        self.execute("cont", Value::Null).await.map(drop)
    }

    pub async fn on_power_off(&self, then: OnPowerOff) -> Result<()> {
        let action = match then {
            OnPowerOff::End => "poweroff",
            OnPowerOff::AwaitReset => "pause",
        };
        self.execute("set-action", json!({"shutdown": action})).await.map(drop)
    }

    pub async fn run_state(&self) -> Result<RunState> {
        let answer = self.execute("query-status", Value::Null).await?;
        Ok(match answer.get("status").and_then(Value::as_str).unwrap_or_default() {
            "running" => RunState::Running,
            "paused" => RunState::Paused,
            "io-error" => RunState::IoError,
            other => RunState::Other(other.to_owned()),
        })
    }

    /// Connects to a disk's server and plugs the disk into a free port. A server that works in the guest's
    /// memory needs a machine that started with such a disk.
    pub async fn attach_disk(&self, disk: &Disk, bus: &str) -> Result<()> {
        match disk.transport {
            Transport::Nbd => self.execute("blockdev-add", disk_node(disk)).await?,
            Transport::VhostUser { .. } => self.execute("chardev-add", disk_chardev(disk)).await?,
        };
        let plugged = self.execute("device_add", disk_device(disk, bus)).await;
        if plugged.is_err() {
            self.forget_disk(disk).await?;
        }
        plugged.map(drop)
    }

    /// Asks the guest to let go of a disk; [`Event::DeviceDeleted`] with this name tells when it has.
    pub async fn detach_disk(&self, disk: &Disk) -> Result<String> {
        let device = device_name(disk);
        self.execute("device_del", json!({"id": device})).await?;
        Ok(device)
    }

    /// Disconnects from the server of a disk whose device is gone.
    pub async fn forget_disk(&self, disk: &Disk) -> Result<()> {
        let forgotten = match disk.transport {
            Transport::Nbd => self.execute("blockdev-del", json!({"node-name": node_name(disk)})).await,
            Transport::VhostUser { .. } => {
                self.execute("chardev-remove", json!({"id": chardev_name(disk)})).await
            }
        };
        forgotten.map(drop)
    }

    /// Writes a picture of the display, as PPM, to a path relative to QEMU's directory.
    pub async fn screenshot(&self, file: &str) -> Result<()> {
        self.execute("screendump", json!({"filename": file})).await.map(drop)
    }

    async fn execute(&self, command: &str, arguments: Value) -> Result<Value> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.shared.expect_answer(id, sender).ok_or_else(|| gone(command))?;
        let mut request = json!({"execute": command, "id": id});
        if let (Some(fields), false) = (request.as_object_mut(), arguments.is_null()) {
            fields.insert("arguments".to_owned(), arguments);
        }
        let line = format!("{request}\n");
        let conversation = async {
            self.shared.writer.lock().await.write_all(line.as_bytes()).await.map_err(|_| gone(command))?;
            receiver.await.map_err(|_| gone(command))
        };
        let answer = tokio::time::timeout(ANSWER_DEADLINE, conversation).await;
        self.shared.forget(id);
        answer
            .map_err(|_| Error::new(Kind::Unavailable, format!("QEMU does not answer {command}")))??
            .map_err(|refusal| Error::caused(Kind::Invalid, format!("QEMU refused {command}"), refusal))
    }
}

fn gone(command: &str) -> Error {
    Error::new(Kind::Unavailable, format!("QEMU ended before it answered {command}"))
}

impl Shared {
    fn expect_answer(&self, id: u64, sender: oneshot::Sender<Answer>) -> Option<()> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.as_mut()?.insert(id, sender);
        Some(())
    }

    fn forget(&self, id: u64) -> Option<oneshot::Sender<Answer>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.remove(&id)
    }

    fn close(&self) {
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn read_lines(mut reader: BufReader<OwnedReadHalf>, shared: Arc<Shared>, events: mpsc::Sender<Event>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(n) if n > 0) {
            break;
        }
        let Ok(message) = serde_json::from_slice::<Value>(&line) else { break };
        handle(&message, &shared, &events);
    }
    shared.close();
}

fn handle(message: &Value, shared: &Shared, events: &mpsc::Sender<Event>) {
    if let Some(event) = parse_event(message) {
        if events.try_send(event).is_err() {
            tracing::debug!("an event of QEMU had no reader");
        }
        return;
    }
    let Some(waiting) = message.get("id").and_then(Value::as_u64).and_then(|id| shared.forget(id)) else {
        return;
    };
    let answer = match (message.get("return"), message.get("error")) {
        (Some(value), _) => Ok(value.clone()),
        (None, error) => Err(error
            .and_then(|e| e.get("desc"))
            .and_then(Value::as_str)
            .unwrap_or("no reason given")
            .to_owned()),
    };
    if waiting.send(answer).is_err() {
        tracing::debug!("an answer of QEMU came after its deadline");
    }
}

fn parse_event(message: &Value) -> Option<Event> {
    let name = message.get("event")?.as_str()?;
    let data = message.get("data").unwrap_or(&Value::Null);
    let guest = data.get("guest").and_then(Value::as_bool).unwrap_or(false);
    Some(match name {
        "SHUTDOWN" => Event::Shutdown { guest },
        "RESET" => Event::Reset { guest },
        "POWERDOWN" => Event::PowerButton,
        "STOP" => Event::Paused,
        "RESUME" => Event::Resumed,
        "GUEST_PANICKED" => Event::GuestPanicked,
        "DEVICE_DELETED" => {
            let device = data.get("device").and_then(Value::as_str).unwrap_or_default().to_owned();
            Event::DeviceDeleted { device }
        }
        other => Event::Other(other.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn answering(lines: &'static [&'static str]) -> (Result<RunState>, mpsc::Receiver<Event>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        tokio::spawn(async move {
            let (read, mut write) = theirs.into_split();
            let mut requests = BufReader::new(read).lines();
            write.write_all(b"{\"QMP\": {}}\n").await.unwrap();
            requests.next_line().await.unwrap();
            write.write_all(b"{\"return\": {}, \"id\": 1}\n").await.unwrap();
            requests.next_line().await.unwrap();
            for line in lines {
                write.write_all(line.as_bytes()).await.unwrap();
                write.write_all(b"\n").await.unwrap();
            }
        });
        let (qmp, events) = Qmp::negotiate(ours).await.unwrap();
        (qmp.run_state().await, events)
    }

    #[tokio::test]
    async fn answers_find_their_command_between_events() {
        let (state, mut events) = answering(&[
            r#"{"event": "SHUTDOWN", "data": {"guest": true}}"#,
            r#"{"return": {"status": "wrong one"}, "id": 99}"#,
            r#"{"return": {"status": "running"}, "id": 2}"#,
        ])
        .await;
        assert_eq!(state.unwrap(), RunState::Running);
        assert_eq!(events.recv().await, Some(Event::Shutdown { guest: true }));
    }

    #[tokio::test]
    async fn refusals_and_silence_are_errors() {
        let (state, _events) = answering(&[r#"{"error": {"desc": "no"}, "id": 2}"#]).await;
        assert_eq!(state.unwrap_err().kind, Kind::Invalid);
        let (state, _events) = answering(&[]).await;
        assert_eq!(state.unwrap_err().kind, Kind::Unavailable);
        let (state, _events) = answering(&["not json"]).await;
        assert_eq!(state.unwrap_err().kind, Kind::Unavailable);
    }

    proptest! {
        #[test]
        fn no_event_line_breaks_the_parser(text in "\\PC{0,60}", guest: bool) {
            let message = json!({"event": text, "data": {"guest": guest, "device": text}});
            prop_assert!(parse_event(&message).is_some());
            prop_assert!(parse_event(&json!(text)).is_none());
        }
    }
}
