//! Records: what a caller says of a key, sealed. See docs/formats/snapshot.md.

use super::cursor::Cursor;
use super::seal::{Seal, Section};
use super::{Encoding, VERSION, compress, decompress};
use crate::error::{Error, Result};
use crate::keys::DomainKeys;

/// No record's content is longer.
pub(crate) const RECORD_PLAIN_MAX: usize = 4 << 20;
/// Nor the object that holds it.
pub(crate) const RECORD_BYTES_MAX: u64 = (4 << 20) + 1024;

const MAGIC: &[u8; 8] = b"KTGMRECD";
const HEAD_BYTES: usize = 8 + 2 + 1 + 32;

/// `salt` must be fresh and random. The key is sealed in: an object under another name fails.
pub(crate) fn encode(keys: &DomainKeys, key: &str, content: &[u8], salt: [u8; 32]) -> Result<Vec<u8>> {
    if content.len() > RECORD_PLAIN_MAX {
        return Err(Error::invalid("a record is too long"));
    }
    let (encoding, encoded) = compress(content);
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out.push(encoding.bit());
    out.extend(salt);
    let seal = Seal::new(&keys.node_key(&salt), &keys.domain);
    out.extend(seal.seal(Section::Record, 0, &detail(key, encoding), encoded));
    Ok(out)
}

pub(crate) fn parse(keys: &DomainKeys, key: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut cursor = Cursor::new(bytes);
    if cursor.take(8)? != MAGIC || cursor.u16()? != VERSION {
        return Err(Error::corrupt("read record: unknown magic or version"));
    }
    let encoding = match cursor.u8()? {
        bit @ 0..=1 => Encoding::from_bit(bit == 1),
        _ => return Err(Error::corrupt("read record: unknown encoding")),
    };
    let seal = Seal::new(&keys.node_key(&cursor.array()?), &keys.domain);
    let sealed = bytes.get(HEAD_BYTES..).unwrap_or_default();
    let encoded = seal.open(Section::Record, 0, &detail(key, encoding), sealed.to_vec())?;
    decompress(encoding, encoded, RECORD_PLAIN_MAX)
}

fn detail(key: &str, encoding: Encoding) -> Vec<u8> {
    let mut detail = vec![encoding.bit()];
    detail.extend(key.as_bytes());
    detail
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::DomainSecret;

    fn keys(domain: &str) -> DomainKeys {
        DomainKeys::derive(domain, &DomainSecret::new([7; 32]))
    }

    #[test]
    fn a_record_opens_only_under_its_key_in_its_domain() {
        let sealed = encode(&keys("d"), "k", b"content", [3; 32]).unwrap();
        assert_eq!(parse(&keys("d"), "k", &sealed).unwrap(), b"content");
        assert!(parse(&keys("d"), "l", &sealed).is_err());
        assert!(parse(&keys("e"), "k", &sealed).is_err());
        assert!(encode(&keys("d"), "k", &vec![0; RECORD_PLAIN_MAX + 1], [3; 32]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn content_comes_back_and_no_changed_byte_passes(
            content in prop::collection::vec(0u8..4, 0..3000),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let mut sealed = encode(&keys("d"), "k", &content, [3; 32]).unwrap();
            prop_assert_eq!(parse(&keys("d"), "k", &sealed).unwrap(), content);
            let at = at.index(sealed.len());
            prop_assert!(parse(&keys("d"), "k", &sealed[..at]).is_err());
            sealed[at] ^= 1 << bit;
            prop_assert!(parse(&keys("d"), "k", &sealed).is_err());
        }

        #[test]
        fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&keys("d"), "k", &bytes).is_err());
            prop_assert!(parse(&keys("d"), "k", &[MAGIC, bytes.as_slice()].concat()).is_err());
        }
    }
}
