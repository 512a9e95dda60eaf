//! The other side: signing requests, for the command line and for tests.

use hmac::Mac;
use model::Timestamp;

use super::canonical::{self, PathEncoding};
use super::{ALGORITHM, AuthFault, RequestParts, Scope, UNSIGNED_PAYLOAD, sha256_hex};
use crate::percent;

/// An access key.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    pub access_key_id: &'a str,
    pub secret_access_key: &'a str,
    /// For temporary keys.
    pub session_token: Option<&'a str>,
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Signs for one region and service.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    pub credentials: Credentials<'a>,
    pub region: &'a str,
    pub service: &'a str,
}

impl Signer<'_> {
    /// The headers to add to a request: date, token, and `authorization` last. All headers in
    /// `parts` are signed; `host` must be among them. A body of None goes unsigned.
    pub fn headers(
        &self,
        parts: &RequestParts<'_>,
        body: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, AuthFault> {
        let date = now.basic_iso8601();
        let mut added = vec![("x-amz-date".to_owned(), date.clone())];
        if let Some(token) = self.credentials.session_token {
            added.push(("x-amz-security-token".into(), token.into()));
        }
        if body.is_none() {
            added.push(("x-amz-content-sha256".into(), UNSIGNED_PAYLOAD.into()));
        }
        let all: Vec<_> = parts
            .headers
            .iter()
            .copied()
            .chain(added.iter().map(|(n, v)| (n.as_str(), v.as_str())))
            .collect();
        let signed = sorted_names(&all);
        let hash = body.map_or_else(|| UNSIGNED_PAYLOAD.into(), sha256_hex);
        let (scope, signature) =
            self.signature(&RequestParts { headers: &all, ..*parts }, &signed, &hash, &date)?;
        let authorization = format!(
            "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
            self.credentials.access_key_id,
            scope.text(),
            signed.join(";"),
        );
        added.push(("authorization".into(), authorization));
        Ok(added)
    }

    /// The query of a presigned request with an empty body, good for `expires_seconds`.
    pub fn presigned_query(
        &self,
        parts: &RequestParts<'_>,
        expires_seconds: u32,
        now: Timestamp,
    ) -> Result<String, AuthFault> {
        let date = now.basic_iso8601();
        let signed = sorted_names(parts.headers);
        let credential = format!("{}/{}", self.credentials.access_key_id, self.scope(&date).text());
        let expires = expires_seconds.to_string();
        let mut query = parts.query.to_owned();
        let mut add = |name: &str, value: &str| {
            if !query.is_empty() {
                query.push('&');
            }
            query.extend([name, "=", &percent::encode(value)]);
        };
        add("X-Amz-Algorithm", ALGORITHM);
        add("X-Amz-Credential", &credential);
        add("X-Amz-Date", &date);
        add("X-Amz-Expires", &expires);
        add("X-Amz-SignedHeaders", &signed.join(";"));
        if let Some(token) = self.credentials.session_token {
            add("X-Amz-Security-Token", token);
        }
        let hash = if self.service == "s3" { UNSIGNED_PAYLOAD.into() } else { sha256_hex(b"") };
        let (_, signature) =
            self.signature(&RequestParts { query: &query, ..*parts }, &signed, &hash, &date)?;
        Ok(format!("{query}&X-Amz-Signature={signature}"))
    }

    fn scope(&self, date: &str) -> Scope {
        let day = date.get(..8).unwrap_or_default();
        Scope { date: day.into(), region: self.region.into(), service: self.service.into() }
    }

    fn signature(
        &self,
        parts: &RequestParts<'_>,
        signed: &[String],
        payload_hash: &str,
        date: &str,
    ) -> Result<(Scope, String), AuthFault> {
        let scope = self.scope(date);
        let path = if self.service == "s3" { PathEncoding::Once } else { PathEncoding::Twice };
        let request = canonical::request(parts, signed, payload_hash, path)?;
        let text = canonical::string_to_sign(date, &scope, &request);
        let mac = canonical::signer(self.credentials.secret_access_key, &scope).chain_update(text);
        Ok((scope, hex::encode(mac.finalize().into_bytes())))
    }
}

fn sorted_names(headers: &[(&str, &str)]) -> Vec<String> {
    let mut names: Vec<_> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    names.dedup();
    names
}
