//! Volumes: the owner's alone.

use model::{Volume, VolumeId};

use super::super::cx::Cx;
use super::super::granted::{Creation, Granted};
use super::super::write::Write;
use crate::failure::Failure;

impl Cx<'_> {
    pub(crate) async fn volume(&mut self, id: &VolumeId) -> Result<Granted<Volume>, Failure> {
        let found = self.tx.volume_get(id).await?;
        let here = |v: &Volume| {
            v.owner_id == self.caller.account && v.availability_zone.region == self.caller.region
        };
        found.filter(here).map(Granted::new).ok_or_else(|| Failure::volume_not_found(id))
    }

    pub(crate) async fn volumes(&mut self) -> Result<Vec<Volume>, Failure> {
        Ok(self.tx.volumes_owned(&self.caller.account, self.caller.region).await?)
    }
}

impl Write<'_, '_> {
    pub(crate) async fn volume_insert(
        &mut self,
        creation: &Creation,
        volume: &Volume,
    ) -> Result<(), Failure> {
        self.cx.tx.volume_insert(volume).await?;
        self.created_tags_put(creation, volume.volume_id.as_str()).await
    }
}
