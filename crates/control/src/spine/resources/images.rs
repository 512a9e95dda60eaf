//! Images: visible to the owner and to whom a launch permission names.

use metastore::{ImageKey, ImageSearch, Whose};
use model::limits::IMAGES_PER_REGION_MAX;
use model::{Image, ImageId, ImageState, Region, SnapshotId};

use super::super::cx::Cx;
use super::super::granted::{Creation, Granted};
use super::super::write::Write;
use crate::failure::Failure;
use crate::jobs::keep_record::KeepRecord;

impl Cx<'_> {
    /// An image that the caller may see, and launch once it is available.
    pub(crate) async fn image(&mut self, id: &ImageId) -> Result<Granted<Image>, Failure> {
        match self.image_if_visible(id).await? {
            Some(image) => Ok(image),
            None => Err(self.image_missing(id).await?),
        }
    }

    pub(crate) async fn image_if_visible(&mut self, id: &ImageId) -> Result<Option<Granted<Image>>, Failure> {
        Ok(self.tx.image_get(id).await?.filter(|image| self.sees(image)).map(Granted::new))
    }

    /// The same in another region of this service: where a copy comes from.
    pub(crate) async fn image_of_region(
        &mut self,
        region: Region,
        id: &ImageId,
    ) -> Result<Granted<Image>, Failure> {
        let found = self.tx.image_get(id).await?.filter(|image| self.sees_in(region, image));
        match found {
            Some(image) => Ok(Granted::new(image)),
            None => Err(self.image_missing(id).await?),
        }
    }

    /// An image that the caller may change.
    pub(crate) async fn own_image(&mut self, id: &ImageId) -> Result<Granted<Image>, Failure> {
        let image = self.image(id).await?;
        if image.owner_id == self.caller.account { Ok(image) } else { Err(Failure::image_not_owned(id)) }
    }

    /// What `DescribeImages` may list of the region's own, shared and public images, in order of their ids: the
    /// first `limit` after the id `after` that have the keys.
    pub(crate) async fn images_visible(
        &mut self,
        whose: Whose,
        having: &[(ImageKey<'_>, Vec<&str>)],
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Image>, Failure> {
        let (account, region) = (&self.caller.account, self.caller.region);
        let search = ImageSearch { account, region, whose, having };
        Ok(self.tx.images_search(&search, after, limit).await?)
    }

    pub(crate) async fn image_by_name(&mut self, name: &str) -> Result<Option<Image>, Failure> {
        Ok(self.tx.image_by_name(&self.caller.account, self.caller.region, name).await?)
    }

    /// Whether one more image of this name may be made: unique in account and region, below the limit.
    pub(crate) async fn may_name_image(&mut self, name: &str) -> Result<(), Failure> {
        if let Some(other) = self.image_by_name(name).await? {
            return Err(Failure::image_name_taken(name, &other.image_id));
        }
        let count = self.tx.image_count(&self.caller.account, self.caller.region).await?;
        if count >= IMAGES_PER_REGION_MAX as u64 {
            return Err(Failure::image_limit(IMAGES_PER_REGION_MAX));
        }
        Ok(())
    }

    /// Own images that are made of the snapshot.
    pub(crate) async fn images_using_snapshot(&mut self, id: &SnapshotId) -> Result<Vec<Image>, Failure> {
        Ok(self.tx.images_using_snapshot(id).await?)
    }

    fn sees(&self, image: &Image) -> bool {
        self.sees_in(self.caller.region, image)
    }

    fn sees_in(&self, region: Region, image: &Image) -> bool {
        let own = image.owner_id == self.caller.account;
        let shared = image.may_be_launched_by(&self.caller.account) && image.state == ImageState::Available;
        image.region == region && (own || shared)
    }

    /// A deregistered image is told apart from one that never was, to its owner alone.
    async fn image_missing(&mut self, id: &ImageId) -> Result<Failure, Failure> {
        let tombstone = self.tx.image_tombstone(id).await?;
        let was_own = tombstone.is_some_and(|tombstone| tombstone.owner_id == self.caller.account);
        Ok(if was_own { Failure::image_gone(id) } else { Failure::image_not_found(id) })
    }
}

impl Write<'_, '_> {
    pub(crate) async fn image_insert(&mut self, creation: Creation, image: &Image) -> Result<(), Failure> {
        self.cx.tx.image_insert(image).await?;
        self.created_tags_put(&creation, image.image_id.as_str()).await?;
        self.keep_image_record(image).await
    }

    pub(crate) async fn image_update(&mut self, image: Granted<Image>) -> Result<(), Failure> {
        self.cx.tx.image_update(&image).await?;
        self.keep_image_record(&image).await
    }

    async fn keep_image_record(&mut self, image: &Image) -> Result<(), Failure> {
        self.enqueue(&KeepRecord::of_image(&image.image_id, &image.owner_id, image.region)).await
    }

    /// Notes that somebody has launched it; the one change that a caller makes to another's image.
    pub(crate) async fn image_launched(&mut self, image: Granted<Image>) -> Result<(), Failure> {
        let image = image.with(|image| image.last_launched_time = Some(self.cx.now()));
        // Not worth a new record in the store.
        Ok(self.cx.tx.image_update(&image).await?)
    }

    /// Removes the image; a tombstone remembers whose it was.
    pub(crate) async fn image_delete(&mut self, image: Granted<Image>) -> Result<(), Failure> {
        self.cx.tx.tags_delete_all(image.image_id.as_str()).await?;
        self.cx.tx.image_delete(&image.image_id).await?;
        self.keep_image_record(&image).await
    }
}
