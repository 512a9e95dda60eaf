//! What a launch must satisfy that needs no look-up, or only a count.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::image::VirtualizationType;
use model::instance::{HttpTokens, MetadataOptions};
use model::limits::{INSTANCES_PER_ACCOUNT_MAX, INSTANCES_PER_REQUEST_MAX, USER_DATA_BYTES_MAX};
use model::{Image, ImageState, InstanceState, InstanceType};

use super::request::{Request, Switch};
use crate::failure::Failure;
use crate::spine::cx::Cx;

/// What EC2 launches when no type is named.
const DEFAULT_INSTANCE_TYPE: &str = "m1.small";

/// As many as possible up to `MaxCount`; here that is always all of them.
pub(super) fn count(req: &Request) -> Result<u32, Failure> {
    let read = |name: &str, count: i32| match u32::try_from(count) {
        Ok(count @ 1..=INSTANCES_PER_REQUEST_MAX) => Ok(count),
        _ => Err(Failure::value(format!(
            "Invalid value '{count}' for {name}. It must be 1 to {INSTANCES_PER_REQUEST_MAX}."
        ))),
    };
    let (min, max) = (read("minCount", req.min_count)?, read("maxCount", req.max_count)?);
    if min > max {
        return Err(Failure::combination("minCount must not be greater than maxCount"));
    }
    Ok(max)
}

/// Options of which only one setting is true here.
pub(super) fn options(req: &Request) -> Result<(), Failure> {
    let placement_tenancy = req.placement.as_ref().and_then(|p| p.tenancy.as_deref());
    let credits = req.credit_specification.as_ref().and_then(|c| c.cpu_credits.as_deref());
    let options = req.metadata_options.as_ref();
    let refused = [
        ("A Placement.Tenancy other than default", placement_tenancy.is_some_and(|t| t != "default")),
        // Guests are never throttled.
        ("A CreditSpecification.CpuCredits other than unlimited", credits.is_some_and(|c| c != "unlimited")),
        ("EnclaveOptions.Enabled", req.enclave_options.as_ref().is_some_and(|e| e.enabled == Some(true))),
        (
            "HibernationOptions.Configured",
            req.hibernation_options.as_ref().is_some_and(|h| h.configured == Some(true)),
        ),
        (
            "MetadataOptions.HttpProtocolIpv6",
            options.is_some_and(|o| o.http_protocol_ipv6 == Some(Switch::Enabled)),
        ),
    ];
    if let Some((name, _)) = refused.iter().find(|(_, is_given)| *is_given) {
        return Err(Failure::unsupported(name));
    }
    match options.and_then(|o| o.http_put_response_hop_limit) {
        None | Some(1..=64) => Ok(()),
        Some(other) => Err(Failure::value(format!(
            "Invalid value '{other}' for HttpPutResponseHopLimit. It must be 1 to 64."
        ))),
    }
}

pub(super) fn instance_type(req: &Request) -> Result<&'static InstanceType, Failure> {
    let name = req.instance_type.as_deref().unwrap_or(DEFAULT_INSTANCE_TYPE);
    InstanceType::find(name)
        .ok_or_else(|| Failure::value(format!("Invalid value '{name}' for InstanceType.")))
}

pub(super) fn launchable(image: &Image) -> Result<(), Failure> {
    match image.state {
        ImageState::Available => Ok(()),
        ImageState::Pending => Err(Failure::image_pending(&image.image_id)),
        ImageState::Failed | ImageState::Disabled | ImageState::Deregistered => {
            Err(Failure::image_gone(&image.image_id))
        }
    }
}

/// Architecture, virtualization, firmware and network of the image against the type.
pub(super) fn fits(image: &Image, instance_type: &InstanceType) -> Result<(), Failure> {
    let name = instance_type.name;
    if !instance_type.runs(image.architecture) {
        return Err(Failure::value(format!(
            "The architecture '{}' of the specified instance type does not match the architecture '{}' of the \
             specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.",
            instance_type.architecture, image.architecture
        )));
    }
    if instance_type.architecture == model::image::Architecture::Arm64 {
        return Err(Failure::unsupported("Running arm64 instances"));
    }
    if image.virtualization_type != VirtualizationType::Hvm {
        return Err(Failure::unsupported("Running paravirtual images"));
    }
    if instance_type.effective_boot_mode(image.boot_mode).is_none() {
        let declared = image.boot_mode.map(model::image::BootMode::as_str).unwrap_or_default();
        return Err(Failure::value(format!(
            "The instance type '{name}' does not support an AMI with boot mode '{declared}'. Only instance types \
             that support it can be used."
        )));
    }
    if instance_type.is_nitro() && !image.ena_support {
        return Err(Failure::combination(format!(
            "Enhanced networking with the Elastic Network Adapter (ENA) is required for the '{name}' instance \
             type. Ensure that you are using an AMI that is enabled for ENA."
        )));
    }
    Ok(())
}

/// As sent, once it is known to decode and to be small enough.
pub(super) fn user_data(req: &Request) -> Result<Option<String>, Failure> {
    let Some(text) = &req.user_data else { return Ok(None) };
    let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let decoded =
        STANDARD.decode(&compact).map_err(|_| Failure::user_data("Invalid BASE64 encoding of user data."))?;
    if decoded.len() > USER_DATA_BYTES_MAX {
        return Err(Failure::user_data(format!("User data is limited to {USER_DATA_BYTES_MAX} bytes")));
    }
    Ok(Some(compact))
}

/// An image that says `v2.0` makes tokens required and lets containers reach the service.
pub(super) fn metadata_options(req: &Request, image: &Image) -> MetadataOptions {
    let asked = req.metadata_options.as_ref();
    let wants_v2 = image.imds_support.is_some();
    let (tokens, hops) = if wants_v2 { (HttpTokens::Required, 2) } else { (HttpTokens::Optional, 1) };
    MetadataOptions {
        http_endpoint_enabled: asked.and_then(|o| o.http_endpoint) != Some(Switch::Disabled),
        http_tokens: asked.and_then(|o| o.http_tokens).unwrap_or(tokens),
        http_put_response_hop_limit: asked
            .and_then(|o| o.http_put_response_hop_limit)
            .and_then(|hops| u8::try_from(hops).ok())
            .unwrap_or(hops),
        instance_metadata_tags_enabled: asked.and_then(|o| o.instance_metadata_tags) == Some(Switch::Enabled),
    }
}

pub(super) async fn account_limit(cx: &mut Cx<'_>, count: u32) -> Result<(), Failure> {
    let instances = cx.instances().await?;
    let live = instances.iter().filter(|instance| instance.state != InstanceState::Terminated).count();
    if live + count as usize > INSTANCES_PER_ACCOUNT_MAX as usize {
        return Err(Failure::instance_limit(INSTANCES_PER_ACCOUNT_MAX));
    }
    Ok(())
}
