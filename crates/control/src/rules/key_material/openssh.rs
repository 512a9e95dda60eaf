//! OpenSSH's forms of keys: the one-line public key, and the private key file.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::key_pair::KeyType;
use model::limits::{PUBLIC_KEY_BYTES_MAX, RSA_KEY_BITS};

use super::der;

const RSA: &str = "ssh-rsa";
const ED25519: &str = "ssh-ed25519";
const ED25519_BYTES: usize = 32;
const PEM_COLUMNS: usize = 70;
const PRIVATE_KEY_MAGIC: &[u8] = b"openssh-key-v1\0";
/// What the private part of a file without a passphrase is padded to.
const PADDING: usize = 8;

/// The public half of a key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// Big-endian, without leading zeros.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Ed25519([u8; ED25519_BYTES]),
}

/// Why a text is no public key that guests could use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyFault(&'static str);

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl PublicKey {
    /// Reads `ssh-rsa AAAA… comment`, as in a `.pub` file.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, KeyFault> {
        if text.len() > PUBLIC_KEY_BYTES_MAX {
            return Err(KeyFault("it is too long"));
        }
        let text = std::str::from_utf8(text).map_err(|_| KeyFault("it is not text"))?.trim();
        if text.contains(['\n', '\r']) {
            return Err(KeyFault("it has more than one line"));
        }
        let mut words = text.split_ascii_whitespace();
        let (name, blob) = words.next().zip(words.next()).ok_or(KeyFault("it has no key type and key"))?;
        let blob = STANDARD.decode(blob).map_err(|_| KeyFault("the key is not base64"))?;
        let key = Self::from_blob(&blob)?;
        if key.algorithm() == name { Ok(key) } else { Err(KeyFault("the key is not of the type it names")) }
    }

    fn from_blob(blob: &[u8]) -> Result<Self, KeyFault> {
        let mut reader = Reader(blob);
        let algorithm = reader.string()?;
        let key = if algorithm == RSA.as_bytes() {
            let (exponent, modulus) = (reader.unsigned()?, reader.unsigned()?);
            check_rsa(&modulus, &exponent)?;
            Self::Rsa { modulus, exponent }
        } else if algorithm == ED25519.as_bytes() {
            let point = reader.string()?.try_into();
            Self::Ed25519(point.map_err(|_| KeyFault("an ED25519 key has 32 bytes"))?)
        } else {
            return Err(KeyFault("only ssh-rsa and ssh-ed25519 keys are known"));
        };
        if reader.0.is_empty() { Ok(key) } else { Err(KeyFault("something follows the key")) }
    }

    pub(crate) const fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa { .. } => KeyType::Rsa,
            Self::Ed25519(_) => KeyType::Ed25519,
        }
    }

    /// One line, as guests put it into `authorized_keys`.
    pub(crate) fn line(&self, comment: &str) -> String {
        format!("{} {} {comment}", self.algorithm(), STANDARD.encode(self.blob()))
    }

    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa { .. } => RSA,
            Self::Ed25519(_) => ED25519,
        }
    }

    /// The key as the SSH protocol carries it.
    pub(super) fn blob(&self) -> Vec<u8> {
        let mut blob = string(self.algorithm().as_bytes());
        match self {
            Self::Rsa { modulus, exponent } => {
                blob.extend(string(&der::unsigned(exponent)));
                blob.extend(string(&der::unsigned(modulus)));
            }
            Self::Ed25519(point) => blob.extend(string(point)),
        }
        blob
    }
}

fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), KeyFault> {
    let bits = modulus.first().map_or(0, |first| {
        u32::try_from(modulus.len()).map_or(u32::MAX, |len| len.saturating_mul(8)) - first.leading_zeros()
    });
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
    if !RSA_KEY_BITS.contains(&bits) {
        return Err(KeyFault("an RSA key has 1024 to 4096 bits"));
    }
    if !is_odd(modulus) || !is_odd(exponent) || exponent == [1] || exponent.len() > 8 {
        return Err(KeyFault("the RSA numbers are not those of a key"));
    }
    Ok(())
}

/// Length-prefixed strings, as all of SSH writes them.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn string(&mut self) -> Result<&'a [u8], KeyFault> {
        const CUT: KeyFault = KeyFault("the key is cut off");
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(CUT)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| CUT)?;
        let (string, rest) = rest.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        Ok(string)
    }

    /// A positive number in its one shortest form; without the leading zero.
    fn unsigned(&mut self) -> Result<Vec<u8>, KeyFault> {
        let bytes = self.string()?;
        let start = bytes.iter().position(|byte| *byte != 0).ok_or(KeyFault("a number is zero"))?;
        let digits = bytes.get(start..).unwrap_or_default();
        if der::unsigned(digits) == bytes {
            Ok(digits.to_vec())
        } else {
            Err(KeyFault("a number is negative or too long"))
        }
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("keys are far shorter than 4 GiB");
    [&length.to_be_bytes(), bytes].concat()
}

/// A private key file without a passphrase. `check` is any number: readers compare its two copies.
pub(super) fn private_ed25519(
    seed: &[u8; ED25519_BYTES],
    point: &[u8; ED25519_BYTES],
    check: [u8; 4],
) -> String {
    let public = PublicKey::Ed25519(*point).blob();
    let mut private = [check, check].concat();
    private.extend_from_slice(&public);
    private.extend(string(&[seed.as_slice(), point].concat()));
    private.extend(string(b""));
    let missing = private.len().next_multiple_of(PADDING) - private.len();
    private.extend((1_u8..).take(missing));
    let mut file = PRIVATE_KEY_MAGIC.to_vec();
    for part in [b"none".as_slice(), b"none", b""] {
        file.extend(string(part));
    }
    file.extend(1_u32.to_be_bytes());
    file.extend(string(&public));
    file.extend(string(&private));
    der::pem("OPENSSH PRIVATE KEY", &file, PEM_COLUMNS)
}
