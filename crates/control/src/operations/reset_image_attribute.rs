//! `ResetImageAttribute`: takes every launch permission away; no other attribute can be reset.

use model::{Code, ImageId};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    image_id: ImageId,
    attribute: String,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
}

pub(super) struct ResetImageAttribute;
impl Operation for ResetImageAttribute {
    const ACTION: &'static str = "ResetImageAttribute";
    const ACCESS: Access = Access::Write("ec2:ResetImageAttribute");
    const ERRORS: &'static [Code] = &[
        Code::AuthFailure,
        Code::InvalidAmiIdNotFound,
        Code::InvalidAmiIdUnavailable,
        Code::InvalidParameterValue,
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        if !req.attribute.eq_ignore_ascii_case("launchPermission") {
            let message = format!("The attribute '{}' of an image cannot be reset", req.attribute);
            return Err(Failure::value(message));
        }
        let image = cx.own_image(&req.image_id).await?;
        let reset = image.with(|image| image.launch_permissions.clear());
        cx.commit_point()?.image_update(reset).await?;
        Ok(Response { ok: true })
    }
}

#[cfg(test)]
mod tests {
    use testkit::World;

    #[tokio::test]
    async fn a_public_image_is_private_after_the_reset() {
        let world = World::new().await;
        let image = world.seed_image("public", b"x").await;
        let public = [("ImageId", image.as_str()), ("LaunchPermission.Add.1.Group", "all")];
        world.call("ModifyImageAttribute", &public).await.ok();
        let reset = [("ImageId", image.as_str()), ("Attribute", "launchPermission")];
        world.call("ResetImageAttribute", &reset).await.ok();
        let reply = world.call("DescribeImages", &[("ImageId.1", &image)]).await.ok();
        assert_eq!(reply.value("isPublic"), "false");
        let other = [("ImageId", image.as_str()), ("Attribute", "description")];
        assert_eq!(world.call("ResetImageAttribute", &other).await.error_code(), "InvalidParameterValue");
    }
}
