//! Key pairs: public keys that a launch puts into the guest.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{AccountId, KeyPairId};
use crate::place::Region;
use crate::string_enum;

string_enum! {
    pub enum KeyType {
        Rsa = "rsa",
        Ed25519 = "ed25519",
    }
}

/// A key pair; the private half is shown once and never kept. Source: the EC2 data type `KeyPairInfo`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    pub key_pair_id: KeyPairId,
    pub key_name: String,
    pub owner_id: AccountId,
    pub region: Region,
    pub key_type: KeyType,
    pub key_fingerprint: String,
    /// OpenSSH form, with the comment.
    pub public_key: String,
    pub create_time: Timestamp,
}
