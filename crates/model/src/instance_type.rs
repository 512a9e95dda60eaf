//! The catalogue of instance types: what a machine of each type gets and which images fit it.

use crate::image::{Architecture, BootMode};

/// How a type's disks and network look to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// NVMe disks, ENA-class network, BIOS or UEFI.
    Nitro,
    /// Para-virtual block devices, BIOS only.
    Xen,
}

/// One shape of hardware. Source: the EC2 data type `InstanceTypeInfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceType {
    pub name: &'static str,
    pub vcpus: u32,
    pub memory_mib: u32,
    pub architecture: Architecture,
    pub platform: Platform,
    pub burstable: bool,
    pub current_generation: bool,
}

const NITRO_BOOT_MODES: &[BootMode] = &[BootMode::LegacyBios, BootMode::Uefi];
const NITRO_ARM_BOOT_MODES: &[BootMode] = &[BootMode::Uefi];
const XEN_BOOT_MODES: &[BootMode] = &[BootMode::LegacyBios];

impl InstanceType {
    pub fn find(name: &str) -> Option<&'static Self> {
        CATALOGUE.iter().find(|t| t.name == name)
    }

    pub const fn all() -> &'static [Self] {
        CATALOGUE
    }

    pub const fn is_nitro(&self) -> bool {
        matches!(self.platform, Platform::Nitro)
    }

    pub const fn boot_modes(&self) -> &'static [BootMode] {
        match (self.platform, self.architecture) {
            (Platform::Xen, _) => XEN_BOOT_MODES,
            (Platform::Nitro, Architecture::Arm64) => NITRO_ARM_BOOT_MODES,
            (Platform::Nitro, Architecture::X86_64 | Architecture::I386) => NITRO_BOOT_MODES,
        }
    }

    /// The firmware that an image with this declaration gets here; None where they do not fit.
    pub fn effective_boot_mode(&self, declared: Option<BootMode>) -> Option<BootMode> {
        let has = |mode: BootMode| self.boot_modes().contains(&mode).then_some(mode);
        match declared {
            Some(BootMode::UefiPreferred) => has(BootMode::Uefi).or_else(|| has(BootMode::LegacyBios)),
            Some(mode) => has(mode),
            None => has(BootMode::LegacyBios).or_else(|| has(BootMode::Uefi)),
        }
    }

    /// Whether a guest of this architecture runs here. x86_64 machines run i386 guests too.
    pub const fn runs(&self, architecture: Architecture) -> bool {
        matches!(
            (self.architecture, architecture),
            (Architecture::X86_64, Architecture::X86_64 | Architecture::I386)
                | (Architecture::Arm64, Architecture::Arm64)
        )
    }
}

const fn x86(name: &'static str, vcpus: u32, memory_mib: u32, platform: Platform) -> InstanceType {
    InstanceType {
        name,
        vcpus,
        memory_mib,
        architecture: Architecture::X86_64,
        platform,
        burstable: matches!(name.as_bytes(), [b't', ..]),
        current_generation: matches!(platform, Platform::Nitro) || matches!(name.as_bytes(), [_, b'2', ..]),
    }
}

const fn arm(name: &'static str, vcpus: u32, memory_mib: u32) -> InstanceType {
    InstanceType { architecture: Architecture::Arm64, ..x86(name, vcpus, memory_mib, Platform::Nitro) }
}

const CATALOGUE: &[InstanceType] = &[
    x86("c5.large", 2, 4096, Platform::Nitro),
    x86("c5.xlarge", 4, 8192, Platform::Nitro),
    x86("c5.2xlarge", 8, 16_384, Platform::Nitro),
    x86("c6i.large", 2, 4096, Platform::Nitro),
    x86("c6i.xlarge", 4, 8192, Platform::Nitro),
    x86("m1.small", 1, 1740, Platform::Xen),
    x86("m4.large", 2, 8192, Platform::Xen),
    x86("m5.large", 2, 8192, Platform::Nitro),
    x86("m5.xlarge", 4, 16_384, Platform::Nitro),
    x86("m5.2xlarge", 8, 32_768, Platform::Nitro),
    x86("m6i.large", 2, 8192, Platform::Nitro),
    x86("m6i.xlarge", 4, 16_384, Platform::Nitro),
    x86("m7i.large", 2, 8192, Platform::Nitro),
    x86("r5.large", 2, 16_384, Platform::Nitro),
    x86("t1.micro", 1, 613, Platform::Xen),
    x86("t2.nano", 1, 512, Platform::Xen),
    x86("t2.micro", 1, 1024, Platform::Xen),
    x86("t2.small", 1, 2048, Platform::Xen),
    x86("t2.medium", 2, 4096, Platform::Xen),
    x86("t2.large", 2, 8192, Platform::Xen),
    x86("t3.nano", 2, 512, Platform::Nitro),
    x86("t3.micro", 2, 1024, Platform::Nitro),
    x86("t3.small", 2, 2048, Platform::Nitro),
    x86("t3.medium", 2, 4096, Platform::Nitro),
    x86("t3.large", 2, 8192, Platform::Nitro),
    x86("t3.xlarge", 4, 16_384, Platform::Nitro),
    x86("t3a.nano", 2, 512, Platform::Nitro),
    x86("t3a.micro", 2, 1024, Platform::Nitro),
    x86("t3a.small", 2, 2048, Platform::Nitro),
    x86("t3a.medium", 2, 4096, Platform::Nitro),
    arm("t4g.nano", 2, 512),
    arm("t4g.micro", 2, 1024),
    arm("t4g.small", 2, 2048),
    arm("t4g.medium", 2, 4096),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sorted_within_families_and_unique() {
        let mut names: Vec<_> = CATALOGUE.iter().map(|t| t.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn firmware_follows_the_image_and_then_the_type() {
        let t3 = InstanceType::find("t3.small").unwrap();
        let t2 = InstanceType::find("t2.micro").unwrap();
        let t4g = InstanceType::find("t4g.small").unwrap();
        assert_eq!(t3.effective_boot_mode(None), Some(BootMode::LegacyBios));
        assert_eq!(t3.effective_boot_mode(Some(BootMode::UefiPreferred)), Some(BootMode::Uefi));
        assert_eq!(t2.effective_boot_mode(Some(BootMode::UefiPreferred)), Some(BootMode::LegacyBios));
        assert_eq!(t2.effective_boot_mode(Some(BootMode::Uefi)), None);
        assert_eq!(t4g.effective_boot_mode(None), Some(BootMode::Uefi));
    }
}
