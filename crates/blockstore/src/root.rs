//! The name of a snapshot's content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::format::{BLOCK_BYTES_U64, NodePackId, SIZE_BYTES_MAX};

/// One immutable disk: which domain, which tree, how many bytes of addresses. Equal roots are
/// equal disks. The text form is `<64 hex digits>.<size>.<domain>`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Root {
    domain: String,
    id: NodePackId,
    size_bytes: u64,
}

impl Root {
    pub(crate) fn new(domain: &str, id: NodePackId, size_bytes: u64) -> Self {
        Self { domain: domain.to_owned(), id, size_bytes }
    }

    pub fn domain(&self) -> &str {
        &self.domain
    }

    pub const fn id(&self) -> &[u8; 32] {
        &self.id.0
    }

    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(crate) const fn node_pack(&self) -> NodePackId {
        self.id
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.id, self.size_bytes, self.domain)
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({self})")
    }
}

impl FromStr for Root {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || Error::invalid("parse root");
        let mut parts = text.splitn(3, '.');
        let (id, size, domain) = (parts.next(), parts.next(), parts.next());
        let mut bytes = [0; 32];
        hex::decode_to_slice(id.unwrap_or_default(), &mut bytes).map_err(|e| refused().with_source(e))?;
        let size_bytes: u64 = size.unwrap_or_default().parse().map_err(|e| refused().with_source(e))?;
        let root = Self::new(domain.ok_or_else(refused)?, NodePackId(bytes), size_bytes);
        check_size(size_bytes)?;
        if root.to_string() == text { Ok(root) } else { Err(refused()) }
    }
}

impl TryFrom<String> for Root {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Root> for String {
    fn from(root: Root) -> Self {
        root.to_string()
    }
}

pub(crate) fn check_size(size_bytes: u64) -> Result<(), Error> {
    if size_bytes <= SIZE_BYTES_MAX && size_bytes.is_multiple_of(BLOCK_BYTES_U64) {
        return Ok(());
    }
    Err(Error::invalid(format!("a size of {size_bytes} bytes is not whole blocks or above 64 TiB")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_give_the_root_back() {
        let root = Root::new("acct.eu-1", NodePackId([0xa5; 32]), 8 << 30);
        assert_eq!(root.to_string().parse::<Root>().unwrap(), root);
        let json = serde_json::to_string(&root).unwrap();
        assert_eq!(serde_json::from_str::<Root>(&json).unwrap(), root);
    }

    #[test]
    fn only_the_one_text_form_is_read() {
        let text = Root::new("d", NodePackId([0xa5; 32]), 4096).to_string();
        for bad in [
            String::new(),
            text.to_uppercase(),
            text.replace(".4096.", ".04096."),
            text.replace(".4096.", ".4097."),
            text.replace(".4096.", ".+4096."),
            text.replace(".4096.", "."),
            format!(" {text}"),
        ] {
            assert!(bad.parse::<Root>().is_err(), "{bad}");
        }
    }
}
