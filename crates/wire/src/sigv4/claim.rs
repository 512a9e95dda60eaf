//! What a request says about its signer, before anything is believed.

use model::Timestamp;

use super::{ALGORITHM, AuthFault, PRESIGNED_SECONDS_MAX, RequestParts, TERMINATOR};
use crate::percent;

/// The credential scope: the day, region and service that the signing key is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `YYYYMMDD`.
    pub date: String,
    pub region: String,
    pub service: String,
}

impl Scope {
    pub(super) fn text(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service)
    }
}

/// Where the signature stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In the `Authorization` header; good for minutes around its time.
    Header,
    /// In the query; good for `expires_seconds` from its time.
    Presigned { expires_seconds: u32 },
}

/// A parsed, unverified claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub access_key_id: String,
    pub scope: Scope,
    pub form: Form,
    /// When the request was signed, as it says.
    pub signed_at: Timestamp,
    /// The session token, which temporary keys must bring.
    pub session_token: Option<String>,
    /// Lower-case, sorted, each once.
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: [u8; 32],
}

impl Claim {
    /// Reads the claim of a request: from the `Authorization` header or from the query, never both.
    pub fn parse(parts: &RequestParts<'_>) -> Result<Self, AuthFault> {
        refuse_folded(parts)?;
        let header = parts.header("authorization")?;
        let query = SignedQuery::read(parts.query)?;
        let claim = match (header, query) {
            (None, None) => Err(AuthFault::Missing),
            (Some(_), Some(_)) => Err(AuthFault::Incomplete("both a header and a query carry a signature")),
            (Some(header), None) => Self::from_header(header, parts),
            (None, Some(query)) => Self::from_query(query),
        }?;
        claim.check_coverage(parts)?;
        Ok(claim)
    }

    fn from_header(header: &str, parts: &RequestParts<'_>) -> Result<Self, AuthFault> {
        let fields = header
            .strip_prefix(ALGORITHM)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or(AuthFault::Incomplete("the Authorization header must begin with AWS4-HMAC-SHA256"))?;
        let [mut credential, mut signed_headers, mut signature] = [None; 3];
        for field in fields.split(',') {
            let (name, value) = field
                .trim_matches(' ')
                .split_once('=')
                .ok_or(AuthFault::Incomplete("the Authorization header has a field without a value"))?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => return Err(AuthFault::Incomplete("the Authorization header has an unknown field")),
            };
            if slot.replace(value).is_some() {
                return Err(AuthFault::Incomplete("the Authorization header repeats a field"));
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature)) =
            (credential, signed_headers, signature)
        else {
            return Err(AuthFault::Incomplete("Authorization needs Credential, SignedHeaders and Signature"));
        };
        let date = parts.header("x-amz-date")?.ok_or(AuthFault::Incomplete("X-Amz-Date is missing"))?;
        let token = parts.header("x-amz-security-token")?.map(str::to_owned);
        Self::assemble(Form::Header, credential, signed_headers, signature, date, token)
    }

    fn from_query(query: SignedQuery) -> Result<Self, AuthFault> {
        if query.algorithm.as_deref() != Some(ALGORITHM) {
            return Err(AuthFault::Incomplete("X-Amz-Algorithm must be AWS4-HMAC-SHA256"));
        }
        let (Some(credential), Some(signed_headers), Some(signature), Some(date), Some(expires)) =
            (query.credential, query.signed_headers, query.signature, query.date, query.expires)
        else {
            return Err(AuthFault::Incomplete("the query lacks a part of the signature"));
        };
        let seconds = Some(expires.as_str()).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let expires_seconds = seconds
            .and_then(|text| text.parse().ok())
            .filter(|seconds| *seconds <= PRESIGNED_SECONDS_MAX)
            .ok_or(AuthFault::Incomplete("X-Amz-Expires must be at most 604800 seconds"))?;
        let form = Form::Presigned { expires_seconds };
        Self::assemble(form, &credential, &signed_headers, &signature, &date, query.token)
    }

    fn assemble(
        form: Form,
        credential: &str,
        signed_headers: &str,
        signature: &str,
        date: &str,
        session_token: Option<String>,
    ) -> Result<Self, AuthFault> {
        let (access_key_id, scope) = parse_credential(credential)?;
        let signed_at =
            Timestamp::parse_basic_iso8601(date).ok_or(AuthFault::Incomplete("X-Amz-Date is not a date"))?;
        // parse_basic_iso8601 has made sure that the first eight bytes are digits.
        if date.get(..8) != Some(scope.date.as_str()) {
            return Err(AuthFault::Incomplete("the date of the credential is not that of X-Amz-Date"));
        }
        Ok(Self {
            access_key_id,
            scope,
            form,
            signed_at,
            session_token,
            signed_headers: parse_signed_headers(signed_headers)?,
            signature: parse_signature(signature)?,
        })
    }

    /// Every signed header is there once; `host` and all that begins with `x-amz-` is signed.
    fn check_coverage(&self, parts: &RequestParts<'_>) -> Result<(), AuthFault> {
        for name in &self.signed_headers {
            parts.header(name)?.ok_or(AuthFault::Incomplete("a signed header is missing"))?;
        }
        let signed = |name: &str| self.signed_headers.iter().any(|signed| signed.eq_ignore_ascii_case(name));
        if !signed("host") {
            return Err(AuthFault::Incomplete("the host header must be signed"));
        }
        let is_amz = |name: &str| name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
        if parts.headers.iter().any(|(name, _)| is_amz(name) && !signed(name)) {
            return Err(AuthFault::Incomplete("every x-amz- header must be signed"));
        }
        Ok(())
    }
}

/// A line break inside a value would let one header stand for two.
fn refuse_folded(parts: &RequestParts<'_>) -> Result<(), AuthFault> {
    let folded = |value: &str| value.contains(['\r', '\n', '\0']);
    if parts.headers.iter().any(|(name, value)| folded(name) || folded(value)) {
        return Err(AuthFault::Incomplete("a header contains a line break"));
    }
    Ok(())
}

fn parse_credential(text: &str) -> Result<(String, Scope), AuthFault> {
    let parts: Vec<&str> = text.split('/').collect();
    let [access_key_id, date, region, service, TERMINATOR] = parts.as_slice() else {
        return Err(AuthFault::Incomplete("Credential must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request"));
    };
    let plain = |part: &str| {
        !part.is_empty()
            && part.len() <= 128
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    if ![access_key_id, date, region, service].into_iter().all(|part| plain(part)) {
        return Err(AuthFault::Incomplete("Credential has an empty or malformed part"));
    }
    let scope = Scope { date: (*date).into(), region: (*region).into(), service: (*service).into() };
    Ok(((*access_key_id).to_owned(), scope))
}

fn parse_signed_headers(text: &str) -> Result<Vec<String>, AuthFault> {
    let names: Vec<String> = text.split(';').map(str::to_owned).collect();
    let is_name = |name: &String| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let ascending = names.is_sorted_by(|a, b| a < b);
    if !ascending || !names.iter().all(is_name) {
        return Err(AuthFault::Incomplete("SignedHeaders must be lower-case names in order, each once"));
    }
    Ok(names)
}

fn parse_signature(text: &str) -> Result<[u8; 32], AuthFault> {
    let mut signature = [0; 32];
    let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    match hex::decode_to_slice(text, &mut signature) {
        Ok(()) if lower => Ok(signature),
        _ => Err(AuthFault::Incomplete("Signature must be 64 lower-case hexadecimal digits")),
    }
}

/// The parameters of a presigned request, decoded.
#[derive(Debug, Default)]
struct SignedQuery {
    algorithm: Option<String>,
    credential: Option<String>,
    date: Option<String>,
    expires: Option<String>,
    signed_headers: Option<String>,
    signature: Option<String>,
    token: Option<String>,
}

impl SignedQuery {
    /// None when the query carries no signature at all.
    fn read(query: &str) -> Result<Option<Self>, AuthFault> {
        let mut read = Self::default();
        for piece in query.split('&') {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let decode = |text: &str| percent::decode_form(text.as_bytes());
            // What cannot be decoded is no parameter of ours; the canonical request refuses it.
            let Some(name) = decode(name) else { continue };
            let Some(slot) = read.slot(&name) else { continue };
            let value = decode(value).ok_or(AuthFault::Incomplete("the signed query is malformed"))?;
            if slot.replace(value).is_some() {
                return Err(AuthFault::Incomplete("the query repeats a part of the signature"));
            }
        }
        let signed = read.algorithm.is_some() || read.credential.is_some() || read.signature.is_some();
        Ok(signed.then_some(read))
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "X-Amz-Algorithm" => &mut self.algorithm,
            "X-Amz-Credential" => &mut self.credential,
            "X-Amz-Date" => &mut self.date,
            "X-Amz-Expires" => &mut self.expires,
            "X-Amz-SignedHeaders" => &mut self.signed_headers,
            "X-Amz-Signature" => &mut self.signature,
            "X-Amz-Security-Token" => &mut self.token,
            _ => return None,
        })
    }
}
