//! Makes an image available once all of its snapshots are whole; fails it when one cannot be.

use std::time::Duration;

use model::{ImageId, ImageState, SnapshotState, StateReason};
use serde::{Deserialize, Serialize};

use super::keep_record::KeepRecord;
use crate::failure::Failure;
use crate::spine::job::{Io, Job, JobKey, JobWrite, Next, Stop};

const POLL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PublishImage {
    image_id: ImageId,
}

impl PublishImage {
    pub(crate) fn of(image_id: &ImageId) -> Self {
        Self { image_id: image_id.clone() }
    }
}

impl Job for PublishImage {
    const KIND: &'static str = "publish_image";
    type Outcome = ();

    fn key(&self) -> JobKey {
        JobKey::image(&self.image_id).aside("publish")
    }

    async fn work(&self, _io: &Io) -> Result<(), Stop> {
        Ok(())
    }

    async fn settle(&mut self, write: &mut JobWrite<'_>, (): ()) -> Result<Next, Stop> {
        let Some(mut image) = write.tx.image_get(&self.image_id).await? else { return Ok(Next::Done) };
        if image.state != ImageState::Pending {
            return Ok(Next::Done);
        }
        let mut is_whole = true;
        for id in image.snapshot_ids() {
            match write.tx.snapshot_get(id).await?.map(|snapshot| (snapshot.state, snapshot.state_message)) {
                Some((SnapshotState::Completed, _)) => {}
                Some((SnapshotState::Pending, _)) => is_whole = false,
                Some((SnapshotState::Error, message)) => {
                    let message = message.unwrap_or_default();
                    return Err(Stop::give_up(
                        "Client.SnapshotError",
                        format!("The snapshot {id} failed: {message}"),
                    ));
                }
                None => {
                    return Err(Stop::give_up(
                        "Client.InvalidSnapshot.NotFound",
                        format!("The snapshot {id} is gone."),
                    ));
                }
            }
        }
        if !is_whole {
            return Ok(Next::After(POLL));
        }
        image.state = ImageState::Available;
        write.tx.image_update(&image).await?;
        write.enqueue(&KeepRecord::of_image(&image.image_id, &image.owner_id, image.region)).await?;
        Ok(Next::Done)
    }

    async fn give_up(&self, write: &mut JobWrite<'_>, reason: &StateReason) -> Result<(), Failure> {
        fail_image(write, &self.image_id, reason).await
    }
}

/// The image's failure state, with the reason that clients see.
pub(crate) async fn fail_image(
    write: &mut JobWrite<'_>,
    image_id: &ImageId,
    reason: &StateReason,
) -> Result<(), Failure> {
    if let Some(mut image) = write.tx.image_get(image_id).await?
        && image.state == ImageState::Pending
    {
        image.state = ImageState::Failed;
        image.state_reason = Some(reason.clone());
        write.tx.image_update(&image).await?;
    }
    Ok(())
}
