//! How QEMU reaches the volumes of a machine: over shared memory, or over NBD where that cannot be had.

use hypervisor::{Accelerator, Qemu, Transport};

use crate::spec::{DiskTransport, MachineSpec, Platform};

/// Chooses once for all volumes of a machine, also for those that are attached later.
pub(crate) async fn choose(spec: &MachineSpec, qemu: &Qemu, accelerator: Accelerator) -> Transport {
    let obstacle = match obstacle(spec, accelerator) {
        None if !hypervisor::accelerator::has_vhost_user_blk(qemu, &spec.accelerator_cache_file).await => {
            Some("this QEMU is built without vhost-user-blk")
        }
        None if !has_memfd() => Some("the kernel has no memory files that can be sealed"),
        found => found,
    };
    let Some(reason) = obstacle else {
        let rings = u16::try_from(spec.vcpus).unwrap_or(u16::MAX).clamp(1, volume::vhost::QUEUES_MAX);
        return Transport::VhostUser { queue_count: rings };
    };
    tracing::info!(reason, "volumes are served over NBD");
    Transport::Nbd
}

/// What speaks against shared memory before anything is asked of the host.
fn obstacle(spec: &MachineSpec, accelerator: Accelerator) -> Option<&'static str> {
    match (spec.disk_transport, spec.platform, accelerator) {
        (DiskTransport::Nbd, _, _) => Some("the configuration says so"),
        (_, Platform::Nitro, _) => Some("QEMU has no NVMe disk over shared memory"),
        // The emulator keeps what it translated from a page until it sees the page written. It does not see
        // what another process writes, and would run the code that was there before.
        (DiskTransport::Auto, Platform::Xen, Accelerator::Tcg) => {
            Some("the emulator does not see what others write to the guest's memory")
        }
        (DiskTransport::Auto, Platform::Xen, Accelerator::Kvm)
        | (DiskTransport::VhostUser, Platform::Xen, _) => None,
    }
}

/// Memory that can be shared, and sealed so that QEMU cannot cut it off under the volumes' server.
fn has_memfd() -> bool {
    use rustix::fs::MemfdFlags;
    rustix::fs::memfd_create("probe", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).is_ok()
}
