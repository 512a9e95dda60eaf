//! Texts about key pairs. Clients take the name out of single quotes.

use model::Code;

use super::Failure;

impl Failure {
    pub(crate) fn key_pair_not_found(name_or_id: &str) -> Self {
        Self::new(Code::InvalidKeyPairNotFound, format!("The key pair '{name_or_id}' does not exist"))
    }

    pub(crate) fn key_pair_exists(name: &str) -> Self {
        Self::new(Code::InvalidKeyPairDuplicate, format!("The keypair '{name}' already exists."))
    }
}
