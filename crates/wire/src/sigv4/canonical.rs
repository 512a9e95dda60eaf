//! The canonical request, the string to sign and the signing key.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{ALGORITHM, AuthFault, RequestParts, Scope, TERMINATOR, sha256_hex};
use crate::percent;

pub(super) type HmacSha256 = Hmac<Sha256>;

/// How a service's signers write the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathEncoding {
    /// All services but S3: normalised, and its encoded form encoded once more.
    Twice,
    /// S3, where `a//b` and `a/../b` are names of their own.
    Once,
}

/// The request in the one spelling that signer and verifier agree on.
pub(super) fn request(
    parts: &RequestParts<'_>,
    signed_headers: &[String],
    payload_hash: &str,
    path: PathEncoding,
) -> Result<String, AuthFault> {
    let mut text =
        format!("{}\n{}\n{}\n", parts.method, canonical_path(parts.path, path)?, query(parts.query)?);
    for name in signed_headers {
        let value = parts.header(name)?.ok_or(AuthFault::Incomplete("a signed header is missing"))?;
        let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        text.extend([name, ":", &value, "\n"]);
    }
    text.extend(["\n", &signed_headers.join(";"), "\n", payload_hash]);
    Ok(text)
}

pub(super) fn string_to_sign(signed_at: &str, scope: &Scope, canonical_request: &str) -> String {
    format!("{ALGORITHM}\n{signed_at}\n{}\n{}", scope.text(), sha256_hex(canonical_request.as_bytes()))
}

/// The signer of one secret and scope, ready to take the string to sign.
pub(super) fn signer(secret: &str, scope: &Scope) -> HmacSha256 {
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [scope.date.as_str(), &scope.region, &scope.service, TERMINATOR] {
        key = keyed(&key).chain_update(part).finalize().into_bytes().to_vec();
    }
    keyed(&key)
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn canonical_path(path: &str, encoding: PathEncoding) -> Result<String, AuthFault> {
    if path.is_empty() {
        return Ok("/".into());
    }
    Ok(match encoding {
        PathEncoding::Twice => percent::encode_keeping(&normalised(path), b"/"),
        PathEncoding::Once => {
            let decoded = percent::decode_path(path.as_bytes());
            let decoded = decoded.ok_or(AuthFault::Incomplete("the path is not well formed"))?;
            percent::encode_keeping(&decoded, b"/")
        }
    })
}

/// Without empty, `.` and `..` segments; a slash at the end stays.
fn normalised(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

/// Sorted, each name and value decoded and encoded again, without the signature itself.
fn query(query: &str) -> Result<String, AuthFault> {
    let mut pairs = Vec::new();
    for piece in query.split('&').filter(|piece| !piece.is_empty()) {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let decode = |text: &str| {
            let decoded = percent::decode_form(text.as_bytes());
            decoded.ok_or(AuthFault::Incomplete("the query is not well formed"))
        };
        let name = decode(name)?;
        if name != "X-Amz-Signature" {
            pairs.push((percent::encode(&name), percent::encode(&decode(value)?)));
        }
    }
    pairs.sort();
    Ok(pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"))
}
