//! Key pairs as bytes: making them, reading public ones, and the fingerprints that EC2 shows.

mod der;
mod openssh;
mod rsa;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use model::IdGen;
use model::id_gen::random_bytes;
use model::key_pair::KeyType;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest, Sha256};

pub(crate) use openssh::PublicKey;

/// A new key pair. The private half is shown once and then forgotten.
pub(crate) struct NewKey {
    /// PKCS#1 for RSA, OpenSSH's own form for ED25519, both as PEM.
    pub(crate) private_key_pem: String,
    pub(crate) public_key: PublicKey,
    pub(crate) fingerprint: String,
}

/// Makes a key pair; for RSA about a tenth of a second of work.
pub(crate) fn generate(key_type: KeyType, ids: &dyn IdGen) -> NewKey {
    match key_type {
        KeyType::Rsa => new_rsa(&rsa::generate(ids)),
        KeyType::Ed25519 => new_ed25519(ids),
    }
}

fn new_rsa(key: &rsa::RsaKey) -> NewKey {
    let pkcs8 = key.pkcs8();
    let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &pkcs8);
    NewKey {
        private_key_pem: der::pem("RSA PRIVATE KEY", &key.pkcs1(), der::PEM_COLUMNS),
        fingerprint: colons(sha1.as_ref()),
        public_key: key.public_key(),
    }
}

fn new_ed25519(ids: &dyn IdGen) -> NewKey {
    let seed: [u8; 32] = random_bytes(ids);
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("every 32 bytes are a seed");
    let point: [u8; 32] =
        pair.public_key().as_ref().try_into().expect("a public key of this kind has 32 bytes");
    let public_key = PublicKey::Ed25519(point);
    NewKey {
        private_key_pem: openssh::private_ed25519(&seed, &point, random_bytes(ids)),
        fingerprint: imported_fingerprint(&public_key),
        public_key,
    }
}

/// The fingerprint of a key whose private half the service has never seen.
pub(crate) fn imported_fingerprint(key: &PublicKey) -> String {
    match key {
        PublicKey::Rsa { modulus, exponent } => {
            colons(&Md5::digest(der::rsa_public_key_info(modulus, exponent)))
        }
        PublicKey::Ed25519(_) => STANDARD.encode(Sha256::digest(key.blob())),
    }
}

/// Hexadecimal pairs with colons between them.
fn colons(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}
