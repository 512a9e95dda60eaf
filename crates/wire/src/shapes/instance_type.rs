//! An instance type, as `DescribeInstanceTypes` lists it: what its machines really get here.

use model::InstanceType;
use model::image::{Architecture, BootMode, RootDeviceType, VirtualizationType};
use model::limits::BLOCK_DEVICES_PER_INSTANCE_MAX;

use crate::ToXml;

#[derive(Debug, Clone, ToXml)]
pub struct InstanceTypeInfo {
    pub instance_type: &'static str,
    pub current_generation: bool,
    pub free_tier_eligible: bool,
    pub supported_usage_classes: Vec<&'static str>,
    pub supported_root_device_types: Vec<RootDeviceType>,
    pub supported_virtualization_types: Vec<VirtualizationType>,
    pub bare_metal: bool,
    pub hypervisor: &'static str,
    pub processor_info: ProcessorInfo,
    #[xml("vCpuInfo")]
    pub vcpu_info: VCpuInfo,
    pub memory_info: MemoryInfo,
    pub instance_storage_supported: bool,
    pub ebs_info: EbsInfo,
    pub network_info: NetworkInfo,
    pub placement_group_info: PlacementGroupInfo,
    pub hibernation_supported: bool,
    pub burstable_performance_supported: bool,
    pub dedicated_hosts_supported: bool,
    pub auto_recovery_supported: bool,
    pub supported_boot_modes: Vec<BootMode>,
    pub nitro_enclaves_support: &'static str,
    pub nitro_tpm_support: &'static str,
    pub phc_support: &'static str,
    pub reboot_migration_support: &'static str,
    pub supported_in_region: Option<bool>,
}

#[derive(Debug, Clone, ToXml)]
pub struct ProcessorInfo {
    pub supported_architectures: Vec<Architecture>,
}

#[derive(Debug, Clone, ToXml)]
pub struct VCpuInfo {
    #[xml("defaultVCpus")]
    pub default_vcpus: u32,
    pub default_cores: u32,
    pub default_threads_per_core: u32,
}

#[derive(Debug, Clone, ToXml)]
pub struct MemoryInfo {
    #[xml("sizeInMiB")]
    pub size_mib: u64,
}

#[derive(Debug, Clone, ToXml)]
pub struct EbsInfo {
    pub ebs_optimized_support: &'static str,
    pub encryption_support: &'static str,
    pub nvme_support: &'static str,
    pub maximum_ebs_attachments: u32,
    pub attachment_limit_type: &'static str,
}

#[derive(Debug, Clone, ToXml)]
pub struct NetworkInfo {
    pub maximum_network_interfaces: u32,
    pub maximum_network_cards: u32,
    pub default_network_card_index: u32,
    pub ipv4_addresses_per_interface: u32,
    pub ipv6_addresses_per_interface: u32,
    pub ipv6_supported: bool,
    pub ena_support: &'static str,
    pub efa_supported: bool,
    pub encryption_in_transit_supported: bool,
    pub ena_srd_supported: bool,
    pub flexible_ena_queues_support: &'static str,
}

#[derive(Debug, Clone, ToXml)]
pub struct PlacementGroupInfo {
    pub supported_strategies: Vec<&'static str>,
}

const UNSUPPORTED: &str = "unsupported";

impl InstanceTypeInfo {
    /// `with_region` also says that the type is here, for callers who asked for types of other regions too.
    pub fn of(instance_type: &InstanceType, with_region: bool) -> Self {
        let is_nitro = instance_type.is_nitro();
        let if_nitro = |then: &'static str| if is_nitro { then } else { UNSUPPORTED };
        Self {
            instance_type: instance_type.name,
            current_generation: instance_type.current_generation,
            free_tier_eligible: matches!(instance_type.name, "t2.micro" | "t3.micro"),
            supported_usage_classes: vec!["on-demand"],
            supported_root_device_types: vec![RootDeviceType::Ebs],
            supported_virtualization_types: vec![VirtualizationType::Hvm],
            bare_metal: false,
            hypervisor: if is_nitro { "nitro" } else { "xen" },
            processor_info: ProcessorInfo { supported_architectures: architectures(instance_type) },
            vcpu_info: VCpuInfo {
                default_vcpus: instance_type.vcpus,
                default_cores: instance_type.vcpus,
                default_threads_per_core: 1,
            },
            memory_info: MemoryInfo { size_mib: instance_type.memory_mib.into() },
            instance_storage_supported: false,
            ebs_info: EbsInfo {
                ebs_optimized_support: if_nitro("default"),
                encryption_support: UNSUPPORTED,
                nvme_support: if_nitro("required"),
                maximum_ebs_attachments: u32::try_from(BLOCK_DEVICES_PER_INSTANCE_MAX).unwrap_or(u32::MAX),
                attachment_limit_type: "shared",
            },
            network_info: network_info(if_nitro("supported")),
            placement_group_info: PlacementGroupInfo { supported_strategies: Vec::new() },
            hibernation_supported: false,
            burstable_performance_supported: instance_type.burstable,
            dedicated_hosts_supported: false,
            auto_recovery_supported: false,
            supported_boot_modes: instance_type.boot_modes().to_vec(),
            nitro_enclaves_support: UNSUPPORTED,
            nitro_tpm_support: UNSUPPORTED,
            phc_support: UNSUPPORTED,
            reboot_migration_support: UNSUPPORTED,
            supported_in_region: with_region.then_some(true),
        }
    }
}

fn network_info(ena_support: &'static str) -> NetworkInfo {
    NetworkInfo {
        maximum_network_interfaces: 1,
        maximum_network_cards: 1,
        default_network_card_index: 0,
        ipv4_addresses_per_interface: 1,
        ipv6_addresses_per_interface: 0,
        ipv6_supported: false,
        ena_support,
        efa_supported: false,
        encryption_in_transit_supported: false,
        ena_srd_supported: false,
        flexible_ena_queues_support: UNSUPPORTED,
    }
}

fn architectures(instance_type: &InstanceType) -> Vec<Architecture> {
    Architecture::ALL.iter().copied().filter(|architecture| instance_type.runs(*architecture)).collect()
}
