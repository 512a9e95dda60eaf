//! Signature Version 4: who signed a request, and whether it is really theirs.
//!
//! Two steps, because the secret is found by what the first one reads:
//! [`Claim::parse`] reads the claim from the `Authorization` header or the presigned query,
//! [`Claim::verify`] holds it against the secret, the request and the time. A refusal never
//! tells what the right signature would have been.
//!
//! Invariant: everything that a verified request may act on is covered by the signature: method,
//! path, query, body, `host` and every `x-amz-*` header.

mod canonical;
mod claim;
mod fault;
mod sign;
mod verify;

pub use claim::{Claim, Form, Scope};
pub use fault::AuthFault;
pub use sign::{Credentials, Signer};
pub use verify::{PRESIGNED_SECONDS_MAX, Rules, SKEW_MAX};

use sha2::{Digest, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// What a signature covers, apart from the body. Everything as received, nothing decoded.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    pub method: &'a str,
    /// The percent-encoded path, without the query.
    pub path: &'a str,
    /// The percent-encoded query, without the question mark.
    pub query: &'a str,
    /// Names in any case. `host` is among them.
    pub headers: &'a [(&'a str, &'a str)],
}

impl<'a> RequestParts<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The header's value; a header that occurs twice means different things to different readers.
    fn header(&self, name: &str) -> Result<Option<&'a str>, AuthFault> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(AuthFault::Incomplete("a header of the signature occurs more than once")),
            (first, None) => Ok(first),
        }
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests;
