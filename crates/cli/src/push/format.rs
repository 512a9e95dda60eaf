//! What a file is, by its first and last bytes: only raw disks can be pushed.

/// The formats that are known not to be raw disks, each with the way to make one of it.
pub(super) fn not_raw(head: &[u8], tail: &[u8]) -> Option<(&'static str, Remedy)> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let table: [(&'static str, bool, Remedy); 12] = [
        ("QCOW2", at(0, b"QFI\xfb"), Remedy::Convert("qcow2")),
        ("VMDK", at(0, b"KDMV") || at(0, b"# Disk DescriptorFile"), Remedy::Convert("vmdk")),
        ("VHDX", at(0, b"vhdxfile"), Remedy::Convert("vhdx")),
        ("VHD", at(0, b"conectix") || tail.starts_with(b"conectix"), Remedy::Convert("vpc")),
        ("VDI", at(64, b"\x7f\x10\xda\xbe"), Remedy::Convert("vdi")),
        ("QED", at(0, b"QED\0"), Remedy::Convert("qed")),
        ("gzip", at(0, b"\x1f\x8b\x08"), Remedy::Decompress("gunzip")),
        ("xz", at(0, b"\xfd7zXZ\0"), Remedy::Decompress("unxz")),
        ("zstd", at(0, b"\x28\xb5\x2f\xfd"), Remedy::Decompress("unzstd")),
        ("bzip2", at(0, b"BZh"), Remedy::Decompress("bunzip2")),
        ("zip", at(0, b"PK\x03\x04"), Remedy::Decompress("unzip")),
        ("OVA (tar)", at(257, b"ustar"), Remedy::Decompress("tar xf")),
    ];
    table.into_iter().find(|(_, is_it, _)| *is_it).map(|(name, _, remedy)| (name, remedy))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The name of the format for `qemu-img`.
    Convert(&'static str),
    /// The program that unpacks it.
    Decompress(&'static str),
}

impl Remedy {
    pub(super) fn hint(self, file: &str) -> String {
        match self {
            Self::Convert(format) => {
                format!("make a raw disk of it: qemu-img convert -f {format} -O raw '{file}' disk.raw")
            }
            Self::Decompress(program) => format!("unpack it first: {program} '{file}'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_magic() {
        let mut vdi = vec![0; 128];
        vdi[64..68].copy_from_slice(&0xbeda_107f_u32.to_le_bytes());
        assert_eq!(not_raw(&vdi, b"").unwrap().0, "VDI");
        assert_eq!(not_raw(b"QFI\xfb\0\0\0\x03", b"").unwrap().1, Remedy::Convert("qcow2"));
        assert_eq!(not_raw(&[0; 512], b"conectix....").unwrap().0, "VHD");
        assert_eq!(not_raw(b"\x1f\x8b\x08\0", b"").unwrap().0, "gzip");
        assert!(Remedy::Convert("qcow2").hint("a b").contains("qemu-img convert -f qcow2 -O raw 'a b'"));
    }

    #[test]
    fn a_boot_sector_and_short_files_are_raw() {
        let mut sector = [0; 512];
        sector[510..].copy_from_slice(b"\x55\xaa");
        assert_eq!(not_raw(&sector, &sector), None);
        assert_eq!(not_raw(b"", b""), None);
    }
}
