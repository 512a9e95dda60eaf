//! `DescribeImageAttribute`: one attribute, for the owner alone; the only view of launch permissions.

use model::{Code, Image, ImageId, LaunchPermission};
use wire::shapes::AttributeValue;
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

/// Only the attribute that was asked for is there.
#[derive(Debug, Default, ToXml)]
pub(super) struct Response {
    image_id: Option<ImageId>,
    description: Option<AttributeValue>,
    kernel: Option<AttributeValue>,
    ramdisk: Option<AttributeValue>,
    launch_permission: Option<Vec<LaunchPermissionItem>>,
    product_codes: Option<Vec<ProductCode>>,
    sriov_net_support: Option<AttributeValue>,
    boot_mode: Option<AttributeValue>,
    tpm_support: Option<AttributeValue>,
    uefi_data: Option<AttributeValue>,
    last_launched_time: Option<AttributeValue>,
    imds_support: Option<AttributeValue>,
    deregistration_protection: Option<AttributeValue>,
}

#[derive(Debug, ToXml)]
struct LaunchPermissionItem {
    group: Option<&'static str>,
    user_id: Option<String>,
}

#[derive(Debug, ToXml)]
struct ProductCode {
    product_code: String,
}

pub(super) struct DescribeImageAttribute;
impl Operation for DescribeImageAttribute {
    const ACTION: &'static str = "DescribeImageAttribute";
    const ACCESS: Access = Access::Read("ec2:DescribeImageAttribute");
    const ERRORS: &'static [Code] = &[
        Code::AuthFailure,
        Code::InvalidAmiIdNotFound,
        Code::InvalidAmiIdUnavailable,
        Code::InvalidParameterValue,
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let image = cx.own_image(&req.image_id).await?;
        let mut response = Response { image_id: Some(image.image_id.clone()), ..Response::default() };
        fill(&mut response, &image, &req.attribute)?;
        Ok(response)
    }
}

/// Names are matched whatever their case.
fn fill(response: &mut Response, image: &Image, attribute: &str) -> Result<(), Failure> {
    let value = |text: Option<&String>| Some(AttributeValue::of(text));
    match attribute.to_ascii_lowercase().as_str() {
        "description" => response.description = value(image.description.as_ref()),
        "kernel" => response.kernel = value(image.kernel_id.as_ref()),
        "ramdisk" => response.ramdisk = value(image.ramdisk_id.as_ref()),
        "launchpermission" => {
            response.launch_permission = Some(image.launch_permissions.iter().map(permission).collect());
        }
        "productcodes" => response.product_codes = Some(Vec::new()),
        "sriovnetsupport" => response.sriov_net_support = value(image.sriov_net_support.as_ref()),
        "bootmode" => response.boot_mode = Some(AttributeValue::of(image.boot_mode)),
        "tpmsupport" => response.tpm_support = value(image.tpm_support.as_ref()),
        "uefidata" => response.uefi_data = value(None),
        "lastlaunchedtime" => {
            response.last_launched_time = Some(AttributeValue::of(image.last_launched_time));
        }
        "imdssupport" => response.imds_support = value(image.imds_support.as_ref()),
        "deregistrationprotection" => {
            response.deregistration_protection = Some(AttributeValue::of(Some("disabled")));
        }
        // Deprecated by EC2, which answers everybody so.
        "blockdevicemapping" => return Err(Failure::image_not_owned(&image.image_id)),
        _ => return Err(Failure::value(format!("Invalid attribute '{attribute}' of an image"))),
    }
    Ok(())
}

fn permission(permission: &LaunchPermission) -> LaunchPermissionItem {
    match permission {
        LaunchPermission::All => LaunchPermissionItem { group: Some("all"), user_id: None },
        LaunchPermission::Account(account) => {
            LaunchPermissionItem { group: None, user_id: Some(account.to_string()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::{REGION, World};

    #[tokio::test]
    async fn the_owner_reads_each_attribute_and_nobody_else_does() {
        let world = World::new().await;
        let image = world.seed_image("base", b"x").await;
        let friend = world.account("friend").await;
        let share = [("ImageId", image.as_str()), ("LaunchPermission.Add.1.UserId", friend.id.as_str())];
        world.call("ModifyImageAttribute", &share).await.ok();
        let ask = |attribute| [("ImageId", image.clone()), ("Attribute", attribute)];
        let reply = async |attribute: &str| {
            let params = ask(attribute.to_owned());
            let params: Vec<(&str, &str)> = params.iter().map(|(n, v)| (*n, v.as_str())).collect();
            world.call("DescribeImageAttribute", &params).await
        };
        assert_eq!(reply("launchPermission").await.ok().value("userId"), friend.id.as_str());
        for attribute in ["description", "kernel", "ramdisk", "productCodes", "sriovNetSupport", "bootMode"] {
            assert!(reply(attribute).await.ok().text().contains(attribute), "{attribute}");
        }
        for attribute in ["tpmSupport", "uefiData", "lastLaunchedTime", "imdsSupport"] {
            assert!(reply(attribute).await.ok().text().contains(attribute), "{attribute}");
        }
        assert_eq!(reply("deregistrationProtection").await.ok().value("value"), "disabled");
        assert_eq!(reply("blockDeviceMapping").await.error_code(), "AuthFailure");
        assert_eq!(reply("colour").await.error_code(), "InvalidParameterValue");
        let params = [("ImageId", image.as_str()), ("Attribute", "launchPermission")];
        let shared = world.call_as(&friend, REGION, "DescribeImageAttribute", &params).await;
        assert_eq!(shared.error_code(), "AuthFailure");
    }
}
