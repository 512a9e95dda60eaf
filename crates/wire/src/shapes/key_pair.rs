//! A key pair, as `DescribeKeyPairs` lists it.

use model::key_pair::KeyType;
use model::{KeyPairId, Timestamp};

use super::Tag;
use crate::ToXml;

#[derive(Debug, Clone, ToXml)]
pub struct KeyPair {
    pub key_pair_id: KeyPairId,
    pub key_type: KeyType,
    #[xml("tagSet", skip_empty)]
    pub tags: Vec<Tag>,
    /// Shown only to those who ask for it.
    pub public_key: Option<String>,
    pub create_time: Timestamp,
    pub key_name: String,
    pub key_fingerprint: String,
}

impl KeyPair {
    pub fn of(pair: &model::KeyPair, tags: &[model::Tag], with_public_key: bool) -> Self {
        Self {
            key_pair_id: pair.key_pair_id.clone(),
            key_type: pair.key_type,
            tags: tags.iter().map(Tag::from).collect(),
            public_key: with_public_key.then(|| pair.public_key.clone()),
            create_time: pair.create_time,
            key_name: pair.key_name.clone(),
            key_fingerprint: pair.key_fingerprint.clone(),
        }
    }
}
