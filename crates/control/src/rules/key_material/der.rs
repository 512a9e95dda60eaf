//! The little of DER and PEM that RSA keys need, writing only.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(super) const PEM_COLUMNS: usize = 64;

/// The algorithm `rsaEncryption` with its empty parameters: a complete SEQUENCE.
const RSA_ENCRYPTION: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// A number without sign, from its big-endian bytes.
pub(super) fn integer(big_endian: &[u8]) -> Vec<u8> {
    tagged(INTEGER, &unsigned(big_endian))
}

/// The shortest two's complement form of a number without sign, as DER and the SSH protocol want it.
/// Zero keeps one byte.
pub(super) fn unsigned(big_endian: &[u8]) -> Vec<u8> {
    let start = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len());
    let digits = big_endian.get(start..).unwrap_or_default();
    let mut bytes = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_none_or(|first| *first >= 0x80) {
        bytes.push(0);
    }
    bytes.extend_from_slice(digits);
    bytes
}

pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tagged(SEQUENCE, &parts.concat())
}

/// PKCS#8 `PrivateKeyInfo` around a PKCS#1 private key.
pub(super) fn rsa_private_key_info(pkcs1: &[u8]) -> Vec<u8> {
    sequence(&[integer(&[0]), RSA_ENCRYPTION.to_vec(), tagged(OCTET_STRING, pkcs1)])
}

/// X.509 `SubjectPublicKeyInfo`.
pub(super) fn rsa_public_key_info(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = sequence(&[integer(modulus), integer(exponent)]);
    // The first byte of a BIT STRING counts the bits left over.
    let bits = [&[0], key.as_slice()].concat();
    sequence(&[RSA_ENCRYPTION.to_vec(), tagged(BIT_STRING, &bits)])
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let start = length.iter().position(|byte| *byte != 0).unwrap_or_default();
            let length = length.get(start..).unwrap_or_default();
            bytes.push(0x80 | u8::try_from(length.len()).expect("a length has at most eight bytes"));
            bytes.extend_from_slice(length);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// Ends with a line feed: OpenSSH refuses its own kind of key without one.
pub(super) fn pem(label: &str, bytes: &[u8], columns: usize) -> String {
    let text = STANDARD.encode(bytes);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % columns == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem + "\n-----END " + label + "-----\n"
}
