//! The flat parameters of a request: decoded, counted, each name once.

use model::{Code, Fault};
use sha2::{Digest, Sha256};

use crate::percent;

/// Upper bounds on what a request may ask of the parser. Real requests stay far below: the
/// largest that clients send are user data (22 KiB encoded) and presigned URLs.
const BYTES_MAX: usize = 1 << 20;
const COUNT_MAX: usize = 10_000;
const NAME_BYTES_MAX: usize = 512;

/// Decoded name and value pairs, sorted by name. A name occurs once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads an `application/x-www-form-urlencoded` body or a URL query.
    ///
    /// Refuses bad percent-encoding, text that is not UTF-8, a name given twice, and more than a
    /// megabyte or ten thousand parameters.
    pub fn parse(encoded: &[u8]) -> Result<Self, Fault> {
        if encoded.len() > BYTES_MAX {
            let message = format!("The request is larger than {BYTES_MAX} bytes");
            return Err(Fault::new(Code::RequestEntityTooLarge, message));
        }
        let mut pairs = Vec::new();
        for piece in encoded.split(|b| *b == b'&').filter(|piece| !piece.is_empty()) {
            if pairs.len() == COUNT_MAX {
                return Err(malformed(format!("The request has more than {COUNT_MAX} parameters")));
            }
            pairs.push(decode_pair(piece)?);
        }
        pairs.sort();
        if let Some([(name, _), _]) = pairs.array_windows().find(|[a, b]| a.0 == b.0) {
            return Err(malformed(format!("The parameter {name} occurs more than once")));
        }
        Ok(Self { pairs })
    }

    /// The parameters of the URL and the body of one request together. A name in both is refused:
    /// whoever checks one and uses the other could be fooled.
    pub fn parse_both(query: &str, body: &[u8]) -> Result<Self, Fault> {
        let mut joined = Vec::with_capacity(query.len() + 1 + body.len());
        joined.extend_from_slice(query.as_bytes());
        joined.push(b'&');
        joined.extend_from_slice(body);
        Self::parse(&joined)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok()?;
        self.pairs.get(at).map(|(_, value)| value.as_str())
    }

    /// The value, unless it is absent or empty.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All pairs, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A digest of what the request asks for, whatever the order of its parameters: SHA-256 over
    /// the pairs whose names are not in `except`. Client tokens and page tokens are bound to it.
    pub fn digest(&self, except: &[&str]) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (name, value) in self.iter().filter(|(name, _)| !except.contains(name)) {
            for part in [name, value] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        hash.finalize().into()
    }
}

fn decode_pair(piece: &[u8]) -> Result<(String, String), Fault> {
    let split = piece.iter().position(|b| *b == b'=');
    let (name, value) = match split {
        Some(at) => (piece.get(..at).unwrap_or_default(), piece.get(at + 1..).unwrap_or_default()),
        None => (piece, &b""[..]),
    };
    let decode =
        |part| percent::decode_form(part).ok_or_else(|| malformed("The query string is malformed".into()));
    let (name, value) = (decode(name)?, decode(value)?);
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(malformed("The query string contains a malformed parameter name".into()));
    }
    Ok((name, value))
}

fn malformed(message: String) -> Fault {
    Fault::new(Code::MalformedQueryString, message)
}
