//! Keeps what the database knows of an image or snapshot in the store as well, so that both can be made anew
//! from the store alone.

use model::{AccountId, Image, ImageId, ImageState, Region, SnapshotId, SnapshotState, StateReason};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::spine::job::{Io, Job, JobKey, JobWrite, Next, Stop};
use crate::spine::resources::domains::service_domain;
use crate::upkeep::record::{Content, Record};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeepRecord {
    of: Of,
    domain: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Of {
    Image(ImageId),
    Snapshot(SnapshotId),
}

impl KeepRecord {
    pub(crate) fn of_image(id: &ImageId, owner: &AccountId, region: Region) -> Self {
        Self { of: Of::Image(id.clone()), domain: service_domain(owner, region) }
    }

    pub(crate) fn of_snapshot(id: &SnapshotId, owner: &AccountId, region: Region) -> Self {
        Self { of: Of::Snapshot(id.clone()), domain: service_domain(owner, region) }
    }

    fn id(&self) -> &str {
        match &self.of {
            Of::Image(id) => id.as_str(),
            Of::Snapshot(id) => id.as_str(),
        }
    }

    /// What the store should say; None where it should say nothing.
    async fn wanted(&self, tx: &mut metastore::Tx) -> Result<Option<Vec<u8>>, Stop> {
        let content = match &self.of {
            Of::Image(id) => {
                tx.image_get(id).await?.filter(is_worth_keeping).map(|it| Content::Image(Box::new(it)))
            }
            Of::Snapshot(id) => {
                let found = tx.snapshot_get(id).await?;
                found
                    .filter(|it| it.state == SnapshotState::Completed)
                    .map(|it| Content::Snapshot(Box::new(it)))
            }
        };
        let Some(content) = content else { return Ok(None) };
        let tags = tx.tags_of(self.id()).await?;
        Record { tags, content }.encode().map(Some).map_err(|e| Stop::internal(e.to_string()))
    }
}

const fn is_worth_keeping(image: &Image) -> bool {
    match image.state {
        ImageState::Available | ImageState::Disabled => true,
        ImageState::Pending | ImageState::Failed | ImageState::Deregistered => false,
    }
}

impl Job for KeepRecord {
    const KIND: &'static str = "keep_record";
    /// What the store says now.
    type Outcome = Option<Vec<u8>>;

    fn key(&self) -> JobKey {
        match &self.of {
            Of::Image(id) => JobKey::image(id).aside("record"),
            Of::Snapshot(id) => JobKey::snapshot(id).aside("record"),
        }
    }

    async fn work(&self, io: &Io) -> Result<Option<Vec<u8>>, Stop> {
        let mut tx = io.read().await?;
        let wanted = self.wanted(&mut tx).await?;
        if tx.domain_get(&self.domain).await?.is_none() {
            return Ok(wanted);
        }
        let domain = io.domain(&mut tx, &self.domain).await?;
        tx.rollback().await;
        match &wanted {
            Some(content) => domain.put_record(self.id(), content).await?,
            None => domain.remove_record(self.id()).await?,
        }
        Ok(wanted)
    }

    /// A change that came meanwhile found this job alive and left none of its own.
    async fn settle(&mut self, write: &mut JobWrite<'_>, kept: Option<Vec<u8>>) -> Result<Next, Stop> {
        if self.wanted(write.tx).await? == kept { Ok(Next::Done) } else { Ok(Next::Again) }
    }

    async fn give_up(&self, _write: &mut JobWrite<'_>, reason: &StateReason) -> Result<(), Failure> {
        tracing::error!(
            resource = self.id(),
            reason = reason.message,
            "a record in the store is out of date"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use blockstore::DomainSecret;
    use testkit::World;

    use crate::upkeep::record::{Content, Record};

    async fn record(world: &World, id: &str) -> Option<Record> {
        let mut tx = world.metastore.read().await.unwrap();
        let row = tx.domains().await.unwrap().into_iter().next().unwrap();
        let domain = world.store.domain(&row.domain, &DomainSecret::new(row.secret));
        match domain.record(id).await {
            Ok(bytes) => Some(Record::decode(&bytes).unwrap()),
            Err(e) => {
                assert_eq!(e.kind(), blockstore::ErrorKind::NotFound);
                None
            }
        }
    }

    #[tokio::test]
    async fn records_follow_images_and_snapshots_to_their_end() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        world.settle().await;
        let described = world.call("DescribeImages", &[("ImageId.1", &image)]).await.ok();
        let snapshot = described.value("snapshotId");
        let kept = record(&world, &image).await.unwrap();
        assert!(matches!(&kept.content, Content::Image(it) if it.name == "base"), "{kept:?}");

        let tag = [("ResourceId.1", image.as_str()), ("Tag.1.Key", "colour"), ("Tag.1.Value", "red")];
        world.call("CreateTags", &tag).await.ok();
        let tag = [("ResourceId.1", snapshot.as_str()), ("Tag.1.Key", "size"), ("Tag.1.Value", "small")];
        world.call("CreateTags", &tag).await.ok();
        let share = [("ImageId", image.as_str()), ("LaunchPermission.Add.1.Group", "all")];
        world.call("ModifyImageAttribute", &share).await.ok();
        world.settle().await;
        let kept = record(&world, &image).await.unwrap();
        assert_eq!(kept.tags[0].value, "red");
        assert!(matches!(&kept.content, Content::Image(it) if it.is_public()), "{kept:?}");
        assert_eq!(record(&world, &snapshot).await.unwrap().tags[0].value, "small");
        world.call("DeleteTags", &[("ResourceId.1", &image)]).await.ok();
        world.settle().await;
        assert!(record(&world, &image).await.unwrap().tags.is_empty());

        let gone = [("ImageId", image.as_str()), ("DeleteAssociatedSnapshots", "true")];
        world.call("DeregisterImage", &gone).await.ok();
        world.settle().await;
        assert_eq!((record(&world, &image).await, record(&world, &snapshot).await), (None, None));
    }

    #[tokio::test]
    async fn snapshots_of_volumes_are_kept_once_they_are_completed() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let instance = world.seed_instance(&image).await;
        let volume =
            world.call("DescribeInstances", &[("InstanceId.1", &instance)]).await.ok().value("volumeId");
        let snapshot = world.call("CreateSnapshot", &[("VolumeId", &volume)]).await.ok().value("snapshotId");
        assert_eq!(record(&world, &snapshot).await, None);
        world.settle().await;
        let kept = record(&world, &snapshot).await.unwrap();
        assert!(matches!(&kept.content, Content::Snapshot(it) if it.root.is_some()), "{kept:?}");
    }
}
