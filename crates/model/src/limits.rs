//! Every limit of the service on one page.

pub const TAG_KEY_CHARS_MAX: usize = 128;
pub const TAG_VALUE_CHARS_MAX: usize = 256;
pub const TAGS_PER_RESOURCE_MAX: usize = 50;
pub const IMAGE_NAME_CHARS: std::ops::RangeInclusive<usize> = 3..=128;
pub const DESCRIPTION_CHARS_MAX: usize = 255;
pub const IMAGES_PER_REGION_MAX: usize = 50_000;
pub const LAUNCH_PERMISSIONS_MAX: usize = 10_000;
pub const INSTANCES_PER_REQUEST_MAX: u32 = 1000;
pub const INSTANCES_PER_ACCOUNT_MAX: u32 = 1000;
pub const BLOCK_DEVICES_PER_INSTANCE_MAX: usize = 27;
pub const SECURITY_GROUPS_PER_INSTANCE_MAX: usize = 16;
pub const SECURITY_GROUPS_PER_VPC_MAX: usize = 2500;
pub const RULES_PER_SECURITY_GROUP_MAX: usize = 1000;
pub const SECURITY_GROUP_NAME_CHARS_MAX: usize = 255;
pub const KEY_PAIRS_PER_REGION_MAX: usize = 5000;
pub const KEY_NAME_CHARS_MAX: usize = 255;
/// Bits of the modulus of an imported RSA key.
pub const RSA_KEY_BITS: std::ops::RangeInclusive<u32> = 1024..=4096;
/// Decoded, before parsing.
pub const PUBLIC_KEY_BYTES_MAX: usize = 16 * 1024;
/// Decoded, before base64.
pub const USER_DATA_BYTES_MAX: usize = 16 * 1024;
pub const CLIENT_TOKEN_CHARS_MAX: usize = 128;
pub const QUERY_BODY_BYTES_MAX: usize = 1024 * 1024;
pub const PAGE_RESULTS: std::ops::RangeInclusive<u32> = 5..=1000;
pub const PAGE_INSTANCE_TYPES: std::ops::RangeInclusive<u32> = 5..=100;
pub const INSTANCE_TYPES_PER_REQUEST_MAX: usize = 100;
/// Resources that one call tags.
pub const TAGGED_PER_REQUEST_MAX: usize = 1000;
/// The unit of the EBS direct API.
pub const EBS_BLOCK_BYTES: usize = 512 * 1024;
pub const UPLOAD_TIMEOUT_MINUTES: std::ops::RangeInclusive<u32> = 10..=4320;
pub const VOLUME_SIZE_GIB_MAX: u32 = 65_536;
pub const CONSOLE_OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// How long a terminated instance stays visible.
pub const TERMINATED_VISIBLE_SECS: u64 = 3600;
/// How long the audit trail goes back.
pub const AUDIT_KEPT_DAYS: i64 = 90;
/// How long a client token is remembered.
pub const CLIENT_TOKEN_SECS: u64 = 24 * 3600;
