//! AES-256-GCM over the sections of one object.
//!
//! Invariant: a key seals one object only, because it comes from the object's random salt, and
//! a nonce is the section's kind and number inside it. So no nonce repeats, without any counter
//! that must survive a crash.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::error::{Error, Result};

/// Bytes that a seal adds.
pub(crate) const TAG_BYTES: usize = 16;

/// The parts of an object that are sealed one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Frame = 0,
    BlockIds = 1,
    FrameTable = 2,
    Node = 3,
    NodeDirectory = 4,
    Snapshot = 5,
    Collection = 6,
    Record = 7,
    Trace = 8,
    Relocation = 9,
}

/// Seals and opens the sections of one object.
pub(crate) struct Seal {
    key: LessSafeKey,
    domain: String,
}

impl Seal {
    pub(crate) fn new(key: &[u8; 32], domain: &str) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are the key length of AES-256");
        Self { key: LessSafeKey::new(key), domain: domain.to_owned() }
    }

    /// `detail` is authenticated too: it is what a table beside the section says of it.
    pub(crate) fn seal(&self, section: Section, number: u32, detail: &[u8], mut bytes: Vec<u8>) -> Vec<u8> {
        self.seal_end(section, number, detail, &mut bytes, 0);
        bytes
    }

    /// Seals what `bytes` has from `start` on, where it is.
    pub(crate) fn seal_end(
        &self,
        section: Section,
        number: u32,
        detail: &[u8],
        bytes: &mut Vec<u8>,
        start: usize,
    ) {
        let end = bytes.get_mut(start..).unwrap_or_default();
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce(section, number), Aad::from(self.aad(detail)), end)
            .expect("a section is far below the length limit of AES-GCM");
        bytes.extend(tag.as_ref());
    }

    pub(crate) fn open(
        &self,
        section: Section,
        number: u32,
        detail: &[u8],
        mut bytes: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let len = self
            .key
            .open_in_place(nonce(section, number), Aad::from(self.aad(detail)), &mut bytes)
            .map_err(|_| Error::corrupt(format!("open sealed {section:?} {number}")))?
            .len();
        bytes.truncate(len);
        Ok(bytes)
    }

    fn aad(&self, detail: &[u8]) -> Vec<u8> {
        let mut aad = Vec::with_capacity(self.domain.len() + 1 + detail.len());
        aad.extend(self.domain.as_bytes());
        aad.push(0);
        aad.extend(detail);
        aad
    }
}

fn nonce(section: Section, number: u32) -> Nonce {
    let mut bytes = [0; 12];
    for (to, from) in
        bytes.iter_mut().zip((section as u32).to_le_bytes().into_iter().chain(number.to_le_bytes()))
    {
        *to = from;
    }
    Nonce::assume_unique_for_key(bytes)
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("domain", &self.domain).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> Seal {
        Seal::new(&[9; 32], "d")
    }

    /// Golden vector of one sealed section.
    #[test]
    fn sealing_never_changes() {
        let sealed = seal().seal(Section::Frame, 3, &[1, 2], b"frame".to_vec());
        assert_eq!(hex::encode(sealed), "006a139bb2c701201539ccbd85918bbeb327e4d4cc");
    }

    #[test]
    fn a_section_opens_only_as_what_it_is() {
        let sealed = seal().seal(Section::Frame, 3, &[1, 2], b"frame".to_vec());
        let open =
            |seal: Seal, section, number, detail: &[u8]| seal.open(section, number, detail, sealed.clone());
        assert_eq!(open(seal(), Section::Frame, 3, &[1, 2]).unwrap(), b"frame");
        assert!(open(seal(), Section::Node, 3, &[1, 2]).is_err());
        assert!(open(seal(), Section::Frame, 4, &[1, 2]).is_err());
        assert!(open(seal(), Section::Frame, 3, &[1, 3]).is_err());
        assert!(open(Seal::new(&[9; 32], "e"), Section::Frame, 3, &[1, 2]).is_err());
        assert!(open(Seal::new(&[8; 32], "d"), Section::Frame, 3, &[1, 2]).is_err());
    }
}
