//! One file a table (with its side tables): methods of a transaction, named noun first.

mod access_keys;
mod accounts;
pub(crate) mod audit;
pub(crate) mod client_tokens;
pub(crate) mod domains;
pub(crate) mod image_search;
pub(crate) mod images;
mod instances;
pub(crate) mod jobs;
mod key_pairs;
mod security_groups;
mod settings;
mod snapshots;
mod subnets;
pub(crate) mod tags;
mod upload_blocks;
mod volumes;
mod vpcs;
