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

    pub(crate) fn key_pair_limit(limit: usize) -> Self {
        Self::new(
            Code::KeyPairLimitExceeded,
            format!("The account already has {limit} key pairs in this Region, the most it may have."),
        )
    }

    pub(crate) fn key_name_malformed(limit: usize) -> Self {
        Self::value(format!(
            "Invalid value for keyName. It must be 1 to {limit} printable ASCII characters, without spaces at its ends."
        ))
    }

    /// Not a public key in OpenSSH's form, or not one that guests can use.
    pub(crate) fn key_format(why: impl std::fmt::Display) -> Self {
        Self::new(
            Code::InvalidKeyFormat,
            format!("The key is not in a valid OpenSSH public key format: {why}."),
        )
    }
}
