//! Holding a claim against the secret, the request and the time.

use std::time::Duration;

use hmac::Mac;
use model::Timestamp;

use super::canonical::{self, PathEncoding};
use super::{AuthFault, Claim, Form, RequestParts, UNSIGNED_PAYLOAD, sha256_hex};

/// How far the signer's clock may be from ours.
pub const SKEW_MAX: Duration = Duration::from_mins(15);

/// A presigned request lives at most seven days.
pub const PRESIGNED_SECONDS_MAX: u32 = 7 * 24 * 60 * 60;

/// What differs between services and operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub(super) path: PathEncoding,
    pub(super) unsigned_payload: bool,
}

impl Rules {
    /// The body is always covered. For everything that is not named below.
    pub const SIGNED_BODY: Self = Self { path: PathEncoding::Twice, unsigned_payload: false };
    /// The signer may leave the body out (`UNSIGNED-PAYLOAD`): the operation itself checks a
    /// checksum that is covered, as PutSnapshotBlock does.
    pub const UNSIGNED_BODY: Self = Self { path: PathEncoding::Twice, unsigned_payload: true };
    /// S3: paths encoded once, bodies may be left out, presigned requests leave them out.
    pub const S3: Self = Self { path: PathEncoding::Once, unsigned_payload: true };
}

impl Claim {
    /// Whether the claim holds: signed with `secret`, for exactly this request, and recently enough.
    ///
    /// For an access key id that does not exist, call it with any secret and report
    /// [`AuthFault::UnknownKey`], so that both refusals take the same time.
    pub fn verify(
        &self,
        secret: &str,
        parts: &RequestParts<'_>,
        body: &[u8],
        now: Timestamp,
        rules: Rules,
    ) -> Result<(), AuthFault> {
        let payload_hash = self.payload_hash(parts, body, rules)?;
        let request = canonical::request(parts, &self.signed_headers, &payload_hash, rules.path)?;
        let text = canonical::string_to_sign(&self.signed_at.basic_iso8601(), &self.scope, &request);
        let signer = canonical::signer(secret, &self.scope).chain_update(text);
        // Compares in constant time.
        signer.verify_slice(&self.signature).map_err(|_| AuthFault::Mismatch)?;
        self.check_time(now)
    }

    /// Checked after the signature, so that the time tells nothing to those without the secret.
    fn check_time(&self, now: Timestamp) -> Result<(), AuthFault> {
        let lifetime = match self.form {
            Form::Header => SKEW_MAX,
            Form::Presigned { expires_seconds } => Duration::from_secs(expires_seconds.into()),
        };
        let too_old = now > self.signed_at.plus(lifetime);
        let too_new = self.signed_at > now.plus(SKEW_MAX);
        if too_old || too_new { Err(AuthFault::Expired) } else { Ok(()) }
    }

    fn payload_hash(&self, parts: &RequestParts<'_>, body: &[u8], rules: Rules) -> Result<String, AuthFault> {
        let presigned = matches!(self.form, Form::Presigned { .. });
        match parts.header("x-amz-content-sha256")? {
            Some(UNSIGNED_PAYLOAD) if rules.unsigned_payload => Ok(UNSIGNED_PAYLOAD.into()),
            Some(UNSIGNED_PAYLOAD) => Err(AuthFault::Incomplete("this request must sign its body")),
            Some(claimed) if claimed == sha256_hex(body) => Ok(claimed.into()),
            Some(_) => Err(AuthFault::Mismatch),
            None if presigned && rules.unsigned_payload => Ok(UNSIGNED_PAYLOAD.into()),
            None => Ok(sha256_hex(body)),
        }
    }
}
