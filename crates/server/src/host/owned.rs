//! A volume that a machine has.

use control::ports::{HostError, HostErrorKind};
use machine::{Client, VolumeFreeze};
use model::VolumeId;

use super::machines::machine_error;
use super::plain_error;

/// The machine that has the volume.
#[derive(Debug)]
pub(super) struct Owner {
    client: Client,
}

impl Owner {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(super) async fn freeze(&mut self, key: &str, freeze: &str) -> Result<(), HostError> {
        let frozen = self.client.freeze_volume(&volume_id(key)?, freeze).await;
        frozen.map(|_| ()).map_err(not_yet)
    }

    pub(super) async fn freeze_together(&mut self, freezes: &[(&str, &str)]) -> Result<(), HostError> {
        let volume = |(key, freeze): &(&str, &str)| {
            Ok(VolumeFreeze { volume_id: volume_id(key)?, key: (*freeze).to_owned() })
        };
        let freezes: Vec<VolumeFreeze> = freezes.iter().map(volume).collect::<Result<_, HostError>>()?;
        self.client.freeze_volumes(&freezes).await.map(|_| ()).map_err(not_yet)
    }

    pub(super) async fn release(&mut self, key: &str, freeze: &str) -> Result<(), HostError> {
        self.client.release_freeze(&volume_id(key)?, freeze).await.map_err(not_yet)
    }
}

/// A machine that is to have the volume but does not know it has not opened it yet.
fn not_yet(source: machine::Error) -> HostError {
    let error = machine_error(source);
    match error.kind {
        HostErrorKind::NotFound => HostError { kind: HostErrorKind::Unavailable, ..error },
        HostErrorKind::Unavailable | HostErrorKind::Failed => error,
    }
}

fn volume_id(key: &str) -> Result<VolumeId, HostError> {
    key.parse().map_err(|_| plain_error(HostErrorKind::Failed, format!("the key {key:?} is no volume id")))
}
