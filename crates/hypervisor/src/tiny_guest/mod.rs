//! Guests of a few hundred bytes, assembled with this crate: one that proves an accelerator, and one that
//! boots, writes to its disk, and obeys the power button, so that a launch can be shown on a machine that
//! holds no image at all.
#![expect(unsafe_code, reason = "machine code for the guest is assembled into this program's data")]

/// Bytes of one disk sector.
pub const SECTOR_BYTES: usize = 512;
/// The first thing the guest prints.
pub const BANNER: &str = "KATAGAMI TINY GUEST";
/// What the guest prints when it waits for the power button.
pub const READY: &str = "ready";
/// The smallest round size that the firmware boots from: one cylinder in its oldest geometry is 504 KiB.
pub const DISK_BYTES_MIN: usize = 1024 * 1024;

/// What the guest does once it has booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Waits for the power button and powers off.
    Wait,
    /// Powers off at once.
    PowerOff,
    /// Reboots at every odd boot, waits at every even one.
    RebootOnce,
    /// Ignores the power button.
    Ignore,
    /// Resets for ever, as a broken kernel does.
    TripleFault,
}

impl Command {
    const fn byte(self) -> u8 {
        match self {
            Self::Wait => b'w',
            Self::PowerOff => b'o',
            Self::RebootOnce => b'r',
            Self::Ignore => b'h',
            Self::TripleFault => b't',
        }
    }
}

/// A bootable raw disk of [`DISK_BYTES_MIN`] bytes that prints `line` (at most 511 ASCII bytes) after its
/// banner as `line: ...`, then counts its boots on the disk and prints `boot: N`.
pub fn disk_image(line: &str, command: Command) -> Vec<u8> {
    let mut image = guest_code().to_vec();
    image.resize(2 * SECTOR_BYTES, 0);
    image.extend(line.bytes().take(SECTOR_BYTES - 1));
    image.resize(4 * SECTOR_BYTES, 0);
    image.push(command.byte());
    image.resize(DISK_BYTES_MIN, 0);
    image
}

/// How often the guest has booted from this disk, as it counted itself.
pub fn boot_count(image: &[u8]) -> Option<u16> {
    let counter = image.get(3 * SECTOR_BYTES..)?.first_chunk()?;
    Some(u16::from_le_bytes(*counter))
}

/// What the probe prints from 64-bit mode.
pub(crate) const PROBE_TOKEN: &str = "KATAGAMI 64\n";
/// QEMU's exit status when the probe leaves through the debug exit port.
pub(crate) const PROBE_STATUS: i32 = 33;

/// A bootable disk that shows whether an accelerator runs 64-bit code.
pub(crate) fn probe_image() -> Vec<u8> {
    let mut image = probe_code().to_vec();
    image.resize(DISK_BYTES_MIN, 0);
    image
}

core::arch::global_asm!(
    ".pushsection .rodata.katagami_guests, \"a\"",
    ".globl katagami_probe_start",
    ".globl katagami_guest_start",
    include_str!("probe.s"),
    include_str!("guest.s"),
    ".code64",
    ".popsection",
    options(att_syntax, raw)
);

unsafe extern "C" {
    static katagami_probe_start: [u8; SECTOR_BYTES];
    static katagami_guest_start: [u8; 2 * SECTOR_BYTES];
}

fn probe_code() -> &'static [u8] {
    // SAFETY: the assembly above defines exactly one sector at this symbol, in read-only data.
    unsafe { &katagami_probe_start }
}

fn guest_code() -> &'static [u8] {
    // SAFETY: the assembly above defines exactly two sectors at this symbol, in read-only data.
    unsafe { &katagami_guest_start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_guests_are_bootable_sectors() {
        for image in [probe_image(), disk_image("hello", Command::Wait)] {
            assert_eq!(image.len(), DISK_BYTES_MIN);
            assert_eq!(&image[510..512], &[0x55, 0xaa]);
            assert_eq!(image[0], 0xfa, "starts with cli");
        }
        let image = disk_image(&"x".repeat(600), Command::TripleFault);
        assert_eq!(image[2 * SECTOR_BYTES + 510..2 * SECTOR_BYTES + 513], [b'x', 0, 0]);
        assert_eq!(image[4 * SECTOR_BYTES], b't');
        assert_eq!(boot_count(&image), Some(0));
    }
}
