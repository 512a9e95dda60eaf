//! Talks to a running machine through its control socket.

use std::path::Path;
use std::time::Duration;

use model::VolumeId;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::control::{Answer, Envelope, LINE_BYTES_MAX, PROTOCOL_VERSION, Request, Status, VolumeFreeze};
use crate::directory::{self, CONTROL_SOCKET};
use crate::error::{Error, Kind, Result};
use crate::metadata::MetadataSpec;
use crate::spec::{RuleSpec, VolumeSpec};

/// Nothing a machine does for a request takes longer, a flush of a busy disk included.
const ANSWER_DEADLINE: Duration = Duration::from_mins(1);

/// One connection to one machine; requests go one after another.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    /// # Errors
    /// `NotFound` when no machine listens there: none runs, or it has not come that far yet.
    pub async fn connect(directory: &Path) -> Result<Self> {
        let stream = directory::connect(directory, CONTROL_SOCKET).await?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    pub async fn status(&mut self) -> Result<Status> {
        let answer = self.ask(Request::Status).await?;
        if let Answer::Status(status) = answer { Ok(*status) } else { Err(unexpected(&answer)) }
    }

    /// Begins to stop the machine: the power button first, the plug after `deadline` (the machine's own when
    /// None), or the plug at once. Returns at once; [`crate::await_end`] tells when it has ended.
    pub async fn stop(&mut self, deadline: Option<Duration>, force: bool) -> Result<()> {
        let deadline_ms = deadline.map(millis);
        self.done(Request::Stop { deadline_ms, force }).await
    }

    /// Begins a reboot: the power button, a reset when the guest has not obeyed after `deadline`.
    pub async fn reboot(&mut self, deadline: Duration) -> Result<()> {
        self.done(Request::Reboot { deadline_ms: millis(deadline) }).await
    }

    /// Freezes a volume as it is now; the same key gives the same layer again. Returns its sequence number.
    pub async fn freeze_volume(&mut self, volume_id: &VolumeId, key: &str) -> Result<u64> {
        let request = Request::FreezeVolume { volume_id: volume_id.clone(), key: key.to_owned() };
        let answer = self.ask(request).await?;
        if let Answer::Frozen { seq } = answer { Ok(seq) } else { Err(unexpected(&answer)) }
    }

    /// Freezes several volumes at one instant; the same keys give the same layers again. A machine that was
    /// started by an earlier release knows only to freeze one after another, which is what it is asked then.
    pub async fn freeze_volumes(&mut self, freezes: &[VolumeFreeze]) -> Result<Vec<u64>> {
        match self.ask(Request::FreezeVolumes { freezes: freezes.to_vec() }).await {
            Ok(Answer::FrozenTogether { seqs }) => Ok(seqs),
            Ok(answer) => Err(unexpected(&answer)),
            Err(error) if error.kind == Kind::Invalid => {
                let mut seqs = Vec::with_capacity(freezes.len());
                for freeze in freezes {
                    seqs.push(self.freeze_volume(&freeze.volume_id, &freeze.key).await?);
                }
                Ok(seqs)
            }
            Err(error) => Err(error),
        }
    }

    /// Says that the frozen layer will not be read again.
    pub async fn release_freeze(&mut self, volume_id: &VolumeId, key: &str) -> Result<()> {
        self.done(Request::ReleaseFreeze { volume_id: volume_id.clone(), key: key.to_owned() }).await
    }

    pub async fn set_ingress(&mut self, rules: Vec<RuleSpec>) -> Result<()> {
        self.done(Request::SetIngress { rules }).await
    }

    /// None allows everything.
    pub async fn set_egress(&mut self, rules: Option<Vec<RuleSpec>>) -> Result<()> {
        self.done(Request::SetEgress { rules }).await
    }

    /// Replaces what the metadata service tells: tags, options, addresses.
    pub async fn set_metadata(&mut self, metadata: MetadataSpec) -> Result<()> {
        self.done(Request::SetMetadata { metadata: Box::new(metadata) }).await
    }

    /// Plugs a volume into the running machine.
    pub async fn attach_volume(&mut self, volume: VolumeSpec) -> Result<()> {
        self.done(Request::AttachVolume { volume }).await
    }

    /// Asks the guest to let go of a volume; [`Status::attached_volumes`] loses it once that has happened.
    pub async fn detach_volume(&mut self, volume_id: &VolumeId) -> Result<()> {
        self.done(Request::DetachVolume { volume_id: volume_id.clone() }).await
    }

    async fn done(&mut self, request: Request) -> Result<()> {
        let answer = self.ask(request).await?;
        if matches!(answer, Answer::Done) { Ok(()) } else { Err(unexpected(&answer)) }
    }

    async fn ask(&mut self, request: Request) -> Result<Answer> {
        let answered = tokio::time::timeout(ANSWER_DEADLINE, self.exchange(request)).await;
        let answer = answered.map_err(|_| Error::new(Kind::Unavailable, "the machine does not answer"))??;
        if let Answer::Failed { kind, message } = answer {
            return Err(Error::new(kind, message));
        }
        Ok(answer)
    }

    async fn exchange(&mut self, request: Request) -> Result<Answer> {
        let envelope = Envelope { version: PROTOCOL_VERSION, request };
        let mut line =
            serde_json::to_vec(&envelope).map_err(|e| Error::caused(Kind::Invalid, "encode a request", e))?;
        line.push(b'\n');
        let gone = |e| Error::caused(Kind::Unavailable, "the machine has gone", e);
        self.stream.get_mut().write_all(&line).await.map_err(gone)?;
        let mut answer = Vec::new();
        (&mut self.stream).take(LINE_BYTES_MAX).read_until(b'\n', &mut answer).await.map_err(gone)?;
        if answer.is_empty() {
            return Err(Error::new(Kind::Unavailable, "the machine has gone"));
        }
        serde_json::from_slice(&answer).map_err(|e| Error::caused(Kind::Corrupt, "parse an answer", e))
    }
}

fn unexpected(answer: &Answer) -> Error {
    Error::new(Kind::Corrupt, format!("the machine answered another question: {answer:?}"))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A machine that counts its freezes; one of an earlier release does not know to freeze several.
    async fn machine(is_old: bool) -> (tempfile::TempDir, Client) {
        let home = tempfile::tempdir().unwrap();
        let listener = directory::listen(home.path(), CONTROL_SOCKET).unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let handle = move |request| {
            let count = Arc::clone(&count);
            async move {
                if let Request::FreezeVolumes { freezes } = &request
                    && !is_old
                {
                    return Ok(Answer::FrozenTogether { seqs: vec![100; freezes.len()] });
                }
                if let Request::FreezeVolume { key, .. } = &request
                    && !key.is_empty()
                {
                    return Ok(Answer::Frozen { seq: count.fetch_add(1, Ordering::SeqCst) });
                }
                Err(Error::new(Kind::Invalid, format!("parse a request: {request:?}")))
            }
        };
        tokio::spawn(crate::control::serve(listener, handle));
        let client = Client::connect(home.path()).await.unwrap();
        (home, client)
    }

    #[tokio::test]
    async fn a_machine_of_an_earlier_release_freezes_one_volume_after_another() {
        let freeze = |key: &str| VolumeFreeze {
            volume_id: "vol-0123456789abcdef0".parse().unwrap(),
            key: key.to_owned(),
        };
        let freezes = [freeze("a"), freeze("b")];
        let (_home, mut client) = machine(false).await;
        assert_eq!(client.freeze_volumes(&freezes).await.unwrap(), [100, 100]);
        let (_home, mut client) = machine(true).await;
        assert_eq!(client.freeze_volumes(&freezes).await.unwrap(), [0, 1]);
        assert_eq!(client.freeze_volumes(&[freeze("")]).await.unwrap_err().kind, Kind::Invalid);
    }
}
