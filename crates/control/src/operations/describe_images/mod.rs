//! `DescribeImages`: own, shared and public images of the region, by id, owner, permission and filter.

mod listing;
#[cfg(test)]
mod tests;

use model::block_device::EbsBlockDevice;
use model::{AccountId, Code, Image, ImageId, ImageState, LaunchPermission};
use wire::filter::{Filters, Table, many, one, opt};
use wire::page::Paging;
use wire::shapes::{self, Filter};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::rules::once::each_once;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;
use crate::spine::resources::tags::{Tagged, tag_pairs};

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("ImageId")]
    image_ids: Vec<ImageId>,
    /// Account ids, `self`, `amazon`, `aws-marketplace`, `aws-backup-vault`.
    #[query("Owner")]
    owners: Vec<String>,
    /// Account ids, `self`, `all`.
    #[query("ExecutableBy")]
    executable_users: Vec<String>,
    /// Deprecated images of other accounts: no image can be deprecated here yet, so none is hidden.
    #[expect(dead_code, reason = "there are no deprecated images that it could include")]
    include_deprecated: Option<bool>,
    include_disabled: Option<bool>,
    #[query("Filter")]
    filters: Vec<Filter>,
    #[query(flatten)]
    paging: Paging,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("imagesSet")]
    images: Vec<shapes::Image>,
    next_token: Option<String>,
}

type Item = Tagged<Image>;

fn ebs_texts<T: ToString>(item: &Item, field: impl Fn(&EbsBlockDevice) -> Option<T>) -> Vec<String> {
    let devices = item.item.block_device_mappings.iter().filter_map(|mapping| mapping.ebs());
    devices.filter_map(|ebs| field(ebs).map(|text| text.to_string())).collect()
}

/// What these images never have; the filter is known and matches nothing.
const fn never(_: &Item) -> Vec<String> {
    Vec::new()
}

const FILTERS: Table<Item> = Table {
    names: &[
        ("architecture", |i| one(i.item.architecture)),
        ("block-device-mapping.delete-on-termination", |i| ebs_texts(i, |e| Some(e.delete_on_termination))),
        ("block-device-mapping.device-name", |i| {
            many(i.item.block_device_mappings.iter().map(|mapping| &mapping.device_name))
        }),
        ("block-device-mapping.encrypted", |i| ebs_texts(i, |e| Some(e.encrypted))),
        ("block-device-mapping.snapshot-id", |i| ebs_texts(i, |e| e.snapshot_id.clone())),
        ("block-device-mapping.volume-size", |i| ebs_texts(i, |e| Some(e.volume_size_gib))),
        ("block-device-mapping.volume-type", |i| ebs_texts(i, |e| Some(e.volume_type))),
        ("boot-mode", |i| opt(i.item.boot_mode)),
        ("creation-date", |i| one(i.item.creation_date)),
        ("description", |i| opt(i.item.description.as_ref())),
        ("ena-support", |i| one(i.item.ena_support)),
        ("free-tier-eligible", never),
        ("hypervisor", |_| one("xen")),
        ("image-allowed", never),
        ("image-id", |i| one(&i.item.image_id)),
        ("image-type", |_| one("machine")),
        ("image-watermark.source-image-creation-time", never),
        ("image-watermark.source-image-id", never),
        ("image-watermark.source-image-region", never),
        ("image-watermark.watermark-creation-time", never),
        ("image-watermark.watermark-key", never),
        ("instance-type-specification.supported-instance-type", never),
        ("instance-type-specification.unsupported-instance-type", never),
        ("is-public", |i| one(i.item.is_public())),
        ("kernel-id", |i| opt(i.item.kernel_id.as_ref())),
        ("manifest-location", |i| one(&i.item.image_location)),
        ("name", |i| one(&i.item.name)),
        ("owner-alias", never),
        ("owner-id", |i| one(&i.item.owner_id)),
        ("platform", |i| opt(i.item.platform.as_ref())),
        ("product-code", never),
        ("product-code.type", never),
        ("public-ssm-parameter-name", never),
        ("ramdisk-id", |i| opt(i.item.ramdisk_id.as_ref())),
        ("root-device-name", |i| opt(i.item.root_device_name.as_ref())),
        ("root-device-type", |i| one(i.item.root_device_type)),
        ("scan-result.critical-fix-available-since", never),
        ("scan-result.finding-scan-date", never),
        ("scan-result.high-fix-available-since", never),
        ("scan-result.highest-finding-severity-label", never),
        ("scan-result.informational-fix-available-since", never),
        ("scan-result.low-fix-available-since", never),
        ("scan-result.medium-fix-available-since", never),
        ("source-image-id", |i| opt(i.item.source_image_id.as_ref())),
        ("source-image-region", |i| opt(i.item.source_image_region)),
        ("source-instance-id", |i| opt(i.item.source_instance_id.as_ref())),
        ("sriov-net-support", |i| opt(i.item.sriov_net_support.as_ref())),
        ("state", |i| one(i.item.state)),
        ("state-reason-code", |i| opt(i.item.state_reason.as_ref().map(|reason| &reason.code))),
        ("state-reason-message", |i| opt(i.item.state_reason.as_ref().map(|reason| &reason.message))),
        ("virtualization-type", |i| one(i.item.virtualization_type)),
    ],
    tags: Some(|i| tag_pairs(&i.tags)),
};

pub(super) struct DescribeImages;
impl Operation for DescribeImages {
    const ACTION: &'static str = "DescribeImages";
    const ACCESS: Access = Access::Read("ec2:DescribeImages");
    const ERRORS: &'static [Code] = &[Code::InvalidAmiIdNotFound];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        req.paging.refuse_with_ids("imagesSet", !req.image_ids.is_empty())?;
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        let mut page = if req.image_ids.is_empty() {
            listing::page(cx, req, &filters).await?
        } else {
            let images = by_ids(cx, &req.image_ids).await?;
            let items = matching(cx, req, &filters, images).await?;
            cx.page(items, &req.paging, key_of)?
        };
        if !filters.read_tags() {
            add_tags(cx, &mut page.items).await?;
        }
        Ok(Response {
            images: page.items.into_iter().map(|i| shapes::Image::of(i.item, &i.tags)).collect(),
            next_token: page.next_token,
        })
    }
}

fn key_of(item: &Item) -> String {
    item.item.image_id.to_string()
}

/// All of them must be there.
async fn by_ids(cx: &mut Cx<'_>, ids: &[ImageId]) -> Result<Vec<Image>, Failure> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for id in each_once(ids) {
        match cx.image_if_visible(id).await? {
            Some(image) => found.push(image.into_inner()),
            None => missing.push(id.clone()),
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(Failure::images_not_found(&missing)) }
}

/// The images that the request asks for; with their tags only if its filters look at these.
async fn matching(
    cx: &mut Cx<'_>,
    req: &Request,
    filters: &Filters<Item>,
    images: Vec<Image>,
) -> Result<Vec<Item>, Failure> {
    let caller = cx.account().clone();
    let asked_for = images.into_iter().filter(|image| asked_for(req, &caller, image));
    let mut items: Vec<Item> = asked_for.map(|item| Tagged { item, tags: Vec::new() }).collect();
    if filters.read_tags() {
        add_tags(cx, &mut items).await?;
    }
    items.retain(|item| filters.matches(item));
    Ok(items)
}

/// Tags are the owner's own.
async fn add_tags(cx: &mut Cx<'_>, items: &mut [Item]) -> Result<(), Failure> {
    let caller = cx.account().clone();
    let own = items.iter().map(|i| &i.item).filter(|image| image.owner_id == caller);
    let mut tags = cx.tags_of_many(own.map(|image| image.image_id.as_str())).await?;
    for item in items {
        item.tags = tags.remove(item.item.image_id.as_str()).unwrap_or_default();
    }
    Ok(())
}

fn asked_for(req: &Request, caller: &AccountId, image: &Image) -> bool {
    let owner_is = |who: &String| match who.as_str() {
        "self" => image.owner_id == *caller,
        id => image.owner_id.as_str() == id,
    };
    let executable_by = |who: &String| match who.as_str() {
        "all" => image.is_public(),
        "self" => has_permission(image, caller.as_str()),
        id => has_permission(image, id),
    };
    let disabled_wanted = req.include_disabled == Some(true) || image.state != ImageState::Disabled;
    disabled_wanted
        && (req.owners.is_empty() || req.owners.iter().any(owner_is))
        && (req.executable_users.is_empty() || req.executable_users.iter().any(executable_by))
}

/// An explicit permission, not the owner's own right.
fn has_permission(image: &Image, account: &str) -> bool {
    image.launch_permissions.iter().any(|permission| match permission {
        LaunchPermission::Account(id) => id.as_str() == account,
        LaunchPermission::All => false,
    })
}
