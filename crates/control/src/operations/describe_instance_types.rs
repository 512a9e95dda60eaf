//! `DescribeInstanceTypes`: the catalogue of machines, as they really are here.

use model::limits::{INSTANCE_TYPES_PER_REQUEST_MAX, PAGE_INSTANCE_TYPES};
use model::{Code, InstanceType};
use wire::filter::{Filters, Table, many, one};
use wire::page::Paging;
use wire::shapes::{Filter, InstanceTypeInfo};
use wire::{FromQuery, ToXml};

use crate::failure::Failure;
use crate::spine::access::Access;
use crate::spine::cx::Cx;
use crate::spine::operation::Operation;

#[derive(Debug, FromQuery)]
pub(super) struct Request {
    #[query("InstanceType")]
    instance_types: Vec<String>,
    #[query("Filter")]
    filters: Vec<Filter>,
    /// Every type is in every region here; this only makes the answer say so.
    include_unsupported_in_region: Option<bool>,
    #[query(flatten)]
    paging: Paging,
}

#[derive(Debug, ToXml)]
pub(super) struct Response {
    #[xml("instanceTypeSet")]
    instance_types: Vec<InstanceTypeInfo>,
    next_token: Option<String>,
}

const FILTERS: Table<InstanceTypeInfo> = Table {
    names: &[
        ("auto-recovery-supported", |t| one(t.auto_recovery_supported)),
        ("bare-metal", |t| one(t.bare_metal)),
        ("burstable-performance-supported", |t| one(t.burstable_performance_supported)),
        ("current-generation", |t| one(t.current_generation)),
        ("dedicated-hosts-supported", |t| one(t.dedicated_hosts_supported)),
        ("ebs-info.attachment-limit-type", |t| one(t.ebs_info.attachment_limit_type)),
        ("ebs-info.ebs-optimized-info.baseline-bandwidth-in-mbps", |_| Vec::new()),
        ("ebs-info.ebs-optimized-info.baseline-iops", |_| Vec::new()),
        ("ebs-info.ebs-optimized-info.baseline-throughput-in-mbps", |_| Vec::new()),
        ("ebs-info.ebs-optimized-info.maximum-bandwidth-in-mbps", |_| Vec::new()),
        ("ebs-info.ebs-optimized-info.maximum-iops", |_| Vec::new()),
        ("ebs-info.ebs-optimized-info.maximum-throughput-in-mbps", |_| Vec::new()),
        ("ebs-info.ebs-optimized-support", |t| one(t.ebs_info.ebs_optimized_support)),
        ("ebs-info.encryption-support", |t| one(t.ebs_info.encryption_support)),
        ("ebs-info.maximum-ebs-attachments", |t| one(t.ebs_info.maximum_ebs_attachments)),
        ("ebs-info.nvme-support", |t| one(t.ebs_info.nvme_support)),
        ("free-tier-eligible", |t| one(t.free_tier_eligible)),
        ("hibernation-supported", |t| one(t.hibernation_supported)),
        ("hypervisor", |t| one(t.hypervisor)),
        ("instance-storage-info.disk.count", |_| Vec::new()),
        ("instance-storage-info.disk.size-in-gb", |_| Vec::new()),
        ("instance-storage-info.disk.type", |_| Vec::new()),
        ("instance-storage-info.encryption-support", |_| Vec::new()),
        ("instance-storage-info.nvme-support", |_| Vec::new()),
        ("instance-storage-info.total-size-in-gb", |_| Vec::new()),
        ("instance-storage-supported", |t| one(t.instance_storage_supported)),
        ("instance-type", |t| one(t.instance_type)),
        ("memory-info.size-in-mib", |t| one(t.memory_info.size_mib)),
        ("network-info.bandwidth-weightings", |_| Vec::new()),
        ("network-info.efa-info.maximum-efa-interfaces", |_| Vec::new()),
        ("network-info.efa-supported", |t| one(t.network_info.efa_supported)),
        ("network-info.ena-support", |t| one(t.network_info.ena_support)),
        ("network-info.encryption-in-transit-supported", |t| {
            one(t.network_info.encryption_in_transit_supported)
        }),
        ("network-info.flexible-ena-queues-support", |t| one(t.network_info.flexible_ena_queues_support)),
        ("network-info.ipv4-addresses-per-interface", |t| one(t.network_info.ipv4_addresses_per_interface)),
        ("network-info.ipv6-addresses-per-interface", |t| one(t.network_info.ipv6_addresses_per_interface)),
        ("network-info.ipv6-supported", |t| one(t.network_info.ipv6_supported)),
        ("network-info.maximum-network-cards", |t| one(t.network_info.maximum_network_cards)),
        ("network-info.maximum-network-interfaces", |t| one(t.network_info.maximum_network_interfaces)),
        ("network-info.network-performance", |_| Vec::new()),
        ("nitro-enclaves-support", |t| one(t.nitro_enclaves_support)),
        ("nitro-tpm-info.supported-versions", |_| Vec::new()),
        ("nitro-tpm-support", |t| one(t.nitro_tpm_support)),
        ("processor-info.supported-architecture", |t| many(&t.processor_info.supported_architectures)),
        ("processor-info.supported-features", |_| Vec::new()),
        ("processor-info.sustained-clock-speed-in-ghz", |_| Vec::new()),
        ("reboot-migration-support", |t| one(t.reboot_migration_support)),
        ("supported-boot-mode", |t| many(&t.supported_boot_modes)),
        ("supported-root-device-type", |t| many(&t.supported_root_device_types)),
        ("supported-usage-class", |t| many(&t.supported_usage_classes)),
        ("supported-virtualization-type", |t| many(&t.supported_virtualization_types)),
        ("vcpu-info.default-cores", |t| one(t.vcpu_info.default_cores)),
        ("vcpu-info.default-threads-per-core", |t| one(t.vcpu_info.default_threads_per_core)),
        ("vcpu-info.default-vcpus", |t| one(t.vcpu_info.default_vcpus)),
        ("vcpu-info.valid-cores", |_| Vec::new()),
        ("vcpu-info.valid-threads-per-core", |_| Vec::new()),
    ],
    tags: None,
};

pub(super) struct DescribeInstanceTypes;
impl Operation for DescribeInstanceTypes {
    const ACTION: &'static str = "DescribeInstanceTypes";
    const ACCESS: Access = Access::Read("ec2:DescribeInstanceTypes");
    const ERRORS: &'static [Code] = &[Code::InvalidInstanceType, Code::InvalidParameterValue];
    type Request = Request;
    type Response = Response;

    async fn run(cx: &mut Cx<'_>, req: &Request) -> Result<Response, Failure> {
        req.paging.refuse_with_ids("instanceTypes", !req.instance_types.is_empty())?;
        let filters = Filters::parse(&req.filters, &FILTERS)?;
        let with_region = req.include_unsupported_in_region == Some(true);
        let asked = asked(&req.instance_types)?;
        let mut types: Vec<_> = asked.into_iter().map(|t| InstanceTypeInfo::of(t, with_region)).collect();
        types.retain(|t| filters.matches(t));
        let key = |t: &InstanceTypeInfo| t.instance_type.to_owned();
        let page = cx.page_within(&PAGE_INSTANCE_TYPES, types, &req.paging, key)?;
        Ok(Response { instance_types: page.items, next_token: page.next_token })
    }
}

/// The named types, each once; all where none is named.
fn asked(names: &[String]) -> Result<Vec<&'static InstanceType>, Failure> {
    if names.len() > INSTANCE_TYPES_PER_REQUEST_MAX {
        return Err(Failure::value(format!(
            "More than {INSTANCE_TYPES_PER_REQUEST_MAX} instance types are named."
        )));
    }
    let unknown = names.iter().map(String::as_str).filter(|name| InstanceType::find(name).is_none());
    let unknown: Vec<&str> = unknown.collect();
    if !unknown.is_empty() {
        return Err(Failure::instance_types_unknown(&unknown));
    }
    let is_asked = |t: &&InstanceType| names.is_empty() || names.iter().any(|name| name == t.name);
    Ok(InstanceType::all().iter().filter(is_asked).collect())
}

#[cfg(test)]
mod tests {
    use model::InstanceType;
    use testkit::World;

    const ACTION: &str = "DescribeInstanceTypes";

    #[tokio::test]
    async fn the_whole_catalogue_is_listed() {
        let world = World::new().await;
        let reply = world.call(ACTION, &[]).await.ok();
        assert_eq!(reply.values("instanceType").len(), InstanceType::all().len());
        assert!(!reply.has("supportedInRegion"));
    }

    #[tokio::test]
    async fn a_type_says_what_its_machines_get() {
        let world = World::new().await;
        let params = [("InstanceType.1", "t3.small"), ("IncludeUnsupportedInRegion", "true")];
        let reply = world.call(ACTION, &params).await.ok();
        assert_eq!(reply.value("hypervisor"), "nitro");
        assert_eq!(reply.value("defaultVCpus"), "2");
        assert_eq!(reply.value("sizeInMiB"), "2048");
        assert_eq!(reply.value("supportedInRegion"), "true");
        assert_eq!(reply.insides("supportedBootModes"), ["<item>legacy-bios</item><item>uefi</item>"]);
        assert_eq!(reply.insides("supportedArchitectures"), ["<item>i386</item><item>x86_64</item>"]);
        let old = world.call(ACTION, &[("InstanceType.1", "t2.micro")]).await.ok();
        assert_eq!((old.value("hypervisor"), old.value("nvmeSupport")), ("xen".into(), "unsupported".into()));
    }

    #[tokio::test]
    async fn filters_narrow_the_list() {
        let world = World::new().await;
        for (name, value, some, count) in [
            ("processor-info.supported-architecture", "arm64", "t4g.micro", 4),
            ("instance-type", "t2.*", "t2.nano", 5),
            ("memory-info.size-in-mib", "512", "t3a.nano", 4),
            ("free-tier-eligible", "true", "t3.micro", 2),
        ] {
            let reply =
                world.call(ACTION, &[("Filter.1.Name", name), ("Filter.1.Value.1", value)]).await.ok();
            let types = reply.values("instanceType");
            assert!(types.iter().any(|t| t == some) && types.len() == count, "{name} {value}: {types:?}");
        }
        let tpm = [("Filter.1.Name", "nitro-tpm-info.supported-versions"), ("Filter.1.Value.1", "*")];
        assert!(!world.call(ACTION, &tpm).await.ok().has("instanceType"));
    }

    #[tokio::test]
    async fn pages_have_five_to_a_hundred() {
        let world = World::new().await;
        let mut seen = Vec::new();
        let mut token = String::new();
        loop {
            let reply = world.call(ACTION, &[("MaxResults", "10"), ("NextToken", &token)]).await.ok();
            seen.extend(reply.values("instanceType"));
            match reply.values("nextToken").pop() {
                Some(next) => token = next,
                None => break,
            }
        }
        assert_eq!(seen.len(), InstanceType::all().len());
        assert!(seen.is_sorted());
        for wrong in ["4", "101"] {
            assert_eq!(world.call(ACTION, &[("MaxResults", wrong)]).await.error_code(), "InvalidMaxResults");
        }
    }

    #[tokio::test]
    async fn types_that_do_not_exist_are_named() {
        let world = World::new().await;
        let params = [("InstanceType.1", "t3.micro"), ("InstanceType.2", "z9.huge")];
        let reply = world.call(ACTION, &params).await;
        assert_eq!(reply.error_code(), "InvalidInstanceType");
        assert_eq!(reply.error_message(), "The following supplied instance types do not exist: [z9.huge]");
        let both = [("InstanceType.1", "t3.micro"), ("MaxResults", "5")];
        assert_eq!(world.call(ACTION, &both).await.error_code(), "InvalidParameterCombination");
        let names: Vec<String> = (1..=101).map(|n| format!("InstanceType.{n}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "t3.micro")).collect();
        assert_eq!(world.call(ACTION, &many).await.error_code(), "InvalidParameterValue");
    }
}
