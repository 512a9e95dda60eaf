//! The parts of a call that are not its body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Fault, SnapshotId};

use super::{Reason, RestFault};
use crate::query::Params;
use crate::sigv4::RequestParts;

/// Tokens of ours and of others are at most this long.
const TOKEN_CHARS_MAX: usize = 256;

const LIST_RESULTS: std::ops::RangeInclusive<u32> = 100..=10_000;

pub(super) struct Input<'a> {
    parts: &'a RequestParts<'a>,
    query: Params,
}

impl<'a> Input<'a> {
    pub(super) fn read(parts: &'a RequestParts<'a>) -> Result<Self, RestFault> {
        Ok(Self { parts, query: Params::parse(parts.query.as_bytes())? })
    }

    /// The header's value; None when absent or empty.
    pub(super) fn header(&self, name: &str) -> Result<Option<&'a str>, RestFault> {
        let mut values = self.parts.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(RestFault::value(format!("The header {name} occurs more than once"))),
            (first, None) => Ok(first.map(|(_, value)| value.trim_ascii()).filter(|value| !value.is_empty())),
        }
    }

    pub(super) fn number_header(&self, name: &str) -> Result<Option<u32>, RestFault> {
        self.header(name)?.map(|text| number(name, text)).transpose()
    }

    /// A SHA-256 in base64, whose algorithm another header must name.
    pub(super) fn checksum(&self) -> Result<Option<[u8; 32]>, RestFault> {
        let algorithm = self.header("x-amz-Checksum-Algorithm")?;
        let Some(text) = self.header("x-amz-Checksum")? else { return Ok(None) };
        if algorithm != Some("SHA256") {
            return Err(RestFault::value("x-amz-Checksum-Algorithm must be SHA256"));
        }
        let checksum = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        let checksum = checksum.ok_or_else(|| RestFault::value("x-amz-Checksum is not a base64 SHA-256"))?;
        Ok(Some(checksum))
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query.non_empty(name)
    }

    pub(super) fn snapshot_query(&self, name: &str) -> Result<Option<SnapshotId>, RestFault> {
        self.query(name).map(snapshot_id).transpose()
    }

    pub(super) fn block_token(&self) -> Result<String, RestFault> {
        let token = self.query("blockToken").filter(|token| is_token(token));
        let token = token.ok_or_else(|| {
            RestFault::validation(Reason::InvalidBlockToken, "blockToken is missing or malformed")
        })?;
        Ok(token.to_owned())
    }

    pub(super) fn page_token(&self) -> Result<Option<String>, RestFault> {
        let malformed = || RestFault::validation(Reason::InvalidPageToken, "pageToken is malformed");
        let token = self.query("pageToken");
        token.map(|token| is_token(token).then(|| token.to_owned()).ok_or_else(malformed)).transpose()
    }

    pub(super) fn max_results(&self) -> Result<Option<u32>, RestFault> {
        let Some(text) = self.query("maxResults") else { return Ok(None) };
        let given = number("maxResults", text)?;
        if LIST_RESULTS.contains(&given) {
            return Ok(Some(given));
        }
        let (least, most) = (LIST_RESULTS.start(), LIST_RESULTS.end());
        Err(RestFault::value(format!("maxResults must be from {least} to {most}")))
    }

    pub(super) fn starting_block_index(&self) -> Result<Option<u32>, RestFault> {
        self.query("startingBlockIndex").map(|text| number("startingBlockIndex", text)).transpose()
    }
}

pub(super) fn snapshot_id(text: &str) -> Result<SnapshotId, RestFault> {
    text.parse().map_err(|fault: Fault| fault.into())
}

pub(super) fn block_index(text: &str) -> Result<u32, RestFault> {
    number("blockIndex", text).map_err(|fault| RestFault::validation(Reason::InvalidBlock, fault.message))
}

/// Digits only, within the 31 bits that clients can write.
fn number(name: &str, text: &str) -> Result<u32, RestFault> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| text.parse::<i32>().ok()).flatten();
    let number = number.and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| RestFault::value(format!("{name} must be a whole number from 0 to {}", i32::MAX)))
}

fn is_token(text: &str) -> bool {
    text.len() <= TOKEN_CHARS_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
}
