//! `ModifyImageAttribute`: description, metadata support, or who may launch; one of them a call.

#[cfg(test)]
mod tests;

use std::str::FromStr;

use model::limits::LAUNCH_PERMISSIONS_MAX;
use model::{AccountId, Code, Image, ImageId, ImageState, LaunchPermission, string_enum};
use wire::shapes::AttributeValue;
use wire::{FromQuery, ToXml};

use super::create_snapshot::check_description;
use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

string_enum! {
    enum OperationType {
        Add = "add",
        Remove = "remove",
    }
}

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    image_id: ImageId,
    /// Matched whatever its case: clients write `LaunchPermission` and `launchPermission`.
    attribute: Option<String>,
    description: Option<AttributeValue>,
    imds_support: Option<AttributeValue>,
    launch_permission: Option<LaunchPermissionChanges>,
    operation_type: Option<OperationType>,
    #[query("UserId")]
    user_ids: Vec<String>,
    #[query("UserGroup")]
    user_groups: Vec<String>,
    #[query(keep_empty)]
    value: Option<String>,
}

#[derive(Debug, FromQuery)]
struct LaunchPermissionChanges {
    #[query("Add")]
    add: Vec<LaunchPermissionItem>,
    #[query("Remove")]
    remove: Vec<LaunchPermissionItem>,
}

#[derive(Debug, FromQuery)]
struct LaunchPermissionItem {
    group: Option<String>,
    user_id: Option<String>,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("return")]
    ok: bool,
}

/// The one thing that a request changes.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    Description(Option<String>),
    ImdsSupport,
    LaunchPermission { add: Vec<LaunchPermission>, remove: Vec<LaunchPermission> },
}

pub(super) struct ModifyImageAttribute;
impl Operation for ModifyImageAttribute {
    const ACTION: &'static str = "ModifyImageAttribute";
    const ACCESS: Access = Access::Write("ec2:ModifyImageAttribute");
    const ERRORS: &'static [Code] = &[
        Code::AuthFailure,
        Code::InvalidAmiAttributeItemValue,
        Code::InvalidAmiIdNotFound,
        Code::InvalidAmiIdUnavailable,
        Code::InvalidParameterCombination,
        Code::InvalidParameterValue,
        Code::MissingParameter,
        Code::ResourceLimitExceeded,
    ];
    const UNSUPPORTED: &'static [&'static str] = &[
        "LaunchPermission.Add.OrganizationArn",
        "LaunchPermission.Add.OrganizationalUnitArn",
        "LaunchPermission.Remove.OrganizationArn",
        "LaunchPermission.Remove.OrganizationalUnitArn",
        "OrganizationArn",
        "OrganizationalUnitArn",
        "ProductCode",
    ];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        let image = cx.own_image(&req.image_id).await?;
        if image.state == ImageState::Pending {
            return Err(Failure::image_pending(&image.image_id));
        }
        let change = change(req)?;
        let changed = apply(image.clone().into_inner(), change)?;
        cx.commit_point()?.image_update(image.with(|image| *image = changed)).await?;
        Ok(Response { ok: true })
    }
}

fn change(req: &Request) -> Result<Change, Failure> {
    let structured = [req.description.is_some(), req.imds_support.is_some(), req.launch_permission.is_some()];
    if structured.iter().filter(|given| **given).count() > 1 {
        return Err(Failure::combination("Only one attribute can be changed in a call"));
    }
    if let Some(description) = &req.description {
        return description_change(description.value.as_deref());
    }
    if let Some(imds) = &req.imds_support {
        return imds_change(imds.value.as_deref());
    }
    if let Some(changes) = &req.launch_permission {
        return Ok(Change::LaunchPermission { add: items(&changes.add)?, remove: items(&changes.remove)? });
    }
    flat_change(req)
}

/// The older syntax: `Attribute` names what `Value`, `UserId.N` or `UserGroup.N` change.
fn flat_change(req: &Request) -> Result<Change, Failure> {
    let attribute = req.attribute.as_deref().map(str::to_ascii_lowercase);
    match attribute.as_deref() {
        Some("description") => description_change(req.value.as_deref()),
        Some("imdssupport") => imds_change(req.value.as_deref()),
        // Without a name it must be the launch permission, which the lists belong to.
        Some("launchpermission") | None => flat_launch_permission(req),
        Some(_) => Err(Failure::value(format!(
            "The attribute '{}' of an image cannot be changed",
            req.attribute.as_deref().unwrap_or_default()
        ))),
    }
}

fn flat_launch_permission(req: &Request) -> Result<Change, Failure> {
    let mut items = Vec::new();
    for group in &req.user_groups {
        items.push(group_permission(group)?);
    }
    for user in &req.user_ids {
        items.push(user_permission(user)?);
    }
    if items.is_empty() {
        return Err(Failure::missing("LaunchPermission"));
    }
    match req.operation_type {
        Some(OperationType::Add) => Ok(Change::LaunchPermission { add: items, remove: Vec::new() }),
        Some(OperationType::Remove) => Ok(Change::LaunchPermission { add: Vec::new(), remove: items }),
        None => Err(Failure::missing("OperationType")),
    }
}

fn description_change(value: Option<&str>) -> Result<Change, Failure> {
    let value = value.ok_or_else(|| Failure::missing("Description.Value"))?;
    check_description(Some(value))?;
    Ok(Change::Description(Some(value.to_owned()).filter(|text| !text.is_empty())))
}

fn imds_change(value: Option<&str>) -> Result<Change, Failure> {
    match value {
        Some("v2.0") => Ok(Change::ImdsSupport),
        other => Err(Failure::value(format!(
            "Invalid value '{}' for ImdsSupport (expecting v2.0)",
            other.unwrap_or_default()
        ))),
    }
}

fn items(asked: &[LaunchPermissionItem]) -> Result<Vec<LaunchPermission>, Failure> {
    let permission = |item: &LaunchPermissionItem| match (&item.group, &item.user_id) {
        (Some(group), None) => group_permission(group),
        (None, Some(user)) => user_permission(user),
        (None, None) => Err(Failure::missing("LaunchPermission.UserId")),
        (Some(_), Some(_)) => Err(Failure::combination("A launch permission names either a group or a user")),
    };
    asked.iter().map(permission).collect()
}

fn group_permission(group: &str) -> Result<LaunchPermission, Failure> {
    if group == "all" { Ok(LaunchPermission::All) } else { Err(Failure::launch_permission_item(group)) }
}

fn user_permission(user: &str) -> Result<LaunchPermission, Failure> {
    let account = AccountId::from_str(user).map_err(|_| Failure::launch_permission_item(user))?;
    Ok(LaunchPermission::Account(account))
}

fn apply(mut image: Image, change: Change) -> Result<Image, Failure> {
    match change {
        Change::Description(description) => image.description = description,
        Change::ImdsSupport => image.imds_support = Some("v2.0".to_owned()),
        Change::LaunchPermission { add, remove } => {
            image.launch_permissions.extend(add);
            image.launch_permissions.retain(|permission| !remove.contains(permission));
            image.launch_permissions.sort();
            image.launch_permissions.dedup();
            if image.launch_permissions.len() > LAUNCH_PERMISSIONS_MAX {
                return Err(Failure::launch_permission_limit(LAUNCH_PERMISSIONS_MAX));
            }
        }
    }
    Ok(image)
}
