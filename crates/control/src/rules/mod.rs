//! Pure rules that several operations share.

pub(crate) mod block_devices;
pub(crate) mod key_material;
pub(crate) mod names;
pub(crate) mod once;
pub(crate) mod power;
pub(crate) mod security_group_rules;
