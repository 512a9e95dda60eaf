//! `DeleteSnapshot`: refused while an image is made of it; the store frees its bytes in its own time.

use model::{Code, SnapshotId};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    snapshot_id: SnapshotId,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
}

pub(super) struct DeleteSnapshot;
impl Operation for DeleteSnapshot {
    const ACTION: &'static str = "DeleteSnapshot";
    const ACCESS: Access = Access::Write("ec2:DeleteSnapshot");
    const ERRORS: &'static [Code] = &[Code::InvalidSnapshotNotFound, Code::InvalidSnapshotInUse];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let snapshot = cx.snapshot(&req.snapshot_id).await?;
        if let Some(image) = cx.images_using_snapshot(&snapshot.snapshot_id).await?.first() {
            return Err(Failure::snapshot_in_use(&snapshot.snapshot_id, &image.image_id));
        }
        let mut write = cx.commit_point()?;
        write.snapshot_delete(snapshot).await?;
        Ok(Response { ok: true })
    }
}
