//! The numbers of the virtio block device and its configuration space.

/// Feature bits of the device and of its rings.
pub(super) mod feature {
    const SEG_MAX: u64 = 1 << 2;
    const BLK_SIZE: u64 = 1 << 6;
    pub(in super::super) const FLUSH: u64 = 1 << 9;
    const TOPOLOGY: u64 = 1 << 10;
    pub(in super::super) const CONFIG_WCE: u64 = 1 << 11;
    const MQ: u64 = 1 << 12;
    const DISCARD: u64 = 1 << 13;
    const WRITE_ZEROES: u64 = 1 << 14;
    const INDIRECT_DESC: u64 = 1 << 28;
    pub(in super::super) const EVENT_IDX: u64 = 1 << 29;
    /// Not of the device but of vhost-user: rings begin disabled, and there are protocol features.
    pub(in super::super) const PROTOCOL_FEATURES: u64 = 1 << 30;
    const VERSION_1: u64 = 1 << 32;

    pub(in super::super) const fn all(queue_count: u16) -> u64 {
        let both = SEG_MAX
            | BLK_SIZE
            | FLUSH
            | TOPOLOGY
            | CONFIG_WCE
            | DISCARD
            | WRITE_ZEROES
            | INDIRECT_DESC
            | EVENT_IDX
            | PROTOCOL_FEATURES
            | VERSION_1;
        if queue_count > 1 { both | MQ } else { both }
    }
}

/// Types of requests.
pub(super) mod kind {
    pub(in super::super) const READ: u32 = 0;
    pub(in super::super) const WRITE: u32 = 1;
    pub(in super::super) const FLUSH: u32 = 4;
    pub(in super::super) const GET_ID: u32 = 8;
    pub(in super::super) const DISCARD: u32 = 11;
    pub(in super::super) const WRITE_ZEROES: u32 = 13;
}

/// The last byte of every request, which the device writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Status {
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

pub(super) const SECTOR_BYTES: u64 = 512;
pub(super) const HEADER_BYTES: usize = 16;
pub(super) const SERIAL_BYTES: usize = 20;
/// One range of a discard or of a write of zeros.
pub(super) const RANGE_BYTES: usize = 16;
/// The only flag of a range: whether zeros may be made by unmapping.
pub(super) const RANGE_UNMAP: u32 = 1;

pub(super) const SEGMENTS_MAX: u32 = 126;
pub(super) const RANGES_MAX: u32 = 32;
/// 2 GiB a range.
const RANGE_SECTORS_MAX: u32 = 1 << 22;
const PHYSICAL_BLOCK_EXPONENT: u8 = 3;
const DISCARD_ALIGNMENT_SECTORS: u32 = 1 << PHYSICAL_BLOCK_EXPONENT;

pub(super) const CONFIG_BYTES: usize = 60;
pub(super) const CONFIG_WCE_OFFSET: u32 = 32;

/// What the guest's driver reads about the device before it uses it.
pub(super) fn config_space(size_bytes: u64, queue_count: u16, write_cache: bool) -> [u8; CONFIG_BYTES] {
    let fields: [&[u8]; 17] = [
        &(size_bytes / SECTOR_BYTES).to_le_bytes(),
        &0_u32.to_le_bytes(),
        &SEGMENTS_MAX.to_le_bytes(),
        // No geometry.
        &[0; 4],
        &512_u32.to_le_bytes(),
        &[PHYSICAL_BLOCK_EXPONENT, 0],
        // The smallest and the best size of a request, in blocks.
        &(1_u16 << PHYSICAL_BLOCK_EXPONENT).to_le_bytes(),
        &0_u32.to_le_bytes(),
        &[u8::from(write_cache), 0],
        &queue_count.to_le_bytes(),
        &RANGE_SECTORS_MAX.to_le_bytes(),
        &RANGES_MAX.to_le_bytes(),
        &DISCARD_ALIGNMENT_SECTORS.to_le_bytes(),
        &RANGE_SECTORS_MAX.to_le_bytes(),
        &RANGES_MAX.to_le_bytes(),
        // Zeros may unmap.
        &[1],
        &[0; 3],
    ];
    let mut config = [0; CONFIG_BYTES];
    for (place, byte) in config.iter_mut().zip(fields.into_iter().flatten()) {
        *place = *byte;
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_space_has_its_fields_where_drivers_look() {
        let config = config_space(8 << 30, 4, true);
        let word = |at: usize| u32::from_le_bytes(config[at..at + 4].try_into().unwrap());
        assert_eq!(u64::from_le_bytes(config[..8].try_into().unwrap()), (8 << 30) / 512);
        assert_eq!((word(12), word(20)), (126, 512));
        assert_eq!(config[CONFIG_WCE_OFFSET as usize], 1);
        assert_eq!(config[34..36], 4_u16.to_le_bytes());
        assert_eq!((word(36), word(40), word(44)), (1 << 22, 32, 8));
        assert_eq!((word(48), word(52), config[56]), (1 << 22, 32, 1));
        assert_eq!(config_space(512, 1, false)[CONFIG_WCE_OFFSET as usize], 0);
    }
}
