//! Randomness as an effect: ids, salts, tokens and secrets all come from an [`IdGen`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random bytes.
pub trait IdGen: Send + Sync + fmt::Debug {
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` random bytes.
pub fn random_bytes<const N: usize>(ids: &dyn IdGen) -> [u8; N] {
    let mut bytes = [0; N];
    ids.fill(&mut bytes);
    bytes
}

/// A random (version 4) UUID in its usual text form: request ids, client tokens.
pub fn random_uuid(ids: &dyn IdGen) -> String {
    let mut n = u128::from_be_bytes(random_bytes(ids));
    n = (n & !(0xf << 76)) | (0x4 << 76);
    n = (n & !(0x3 << 62)) | (0x2 << 62);
    let hex = format!("{n:032x}");
    let part = |range| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

/// The operating system's generator. The only place that asks for real randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct OsIdGen;

impl IdGen for OsIdGen {
    #[expect(clippy::disallowed_methods, reason = "this is the adapter that the ban points to")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system can always give random bytes once it has booted");
    }
}

/// A deterministic generator for tests: the same seed gives the same ids.
#[derive(Debug)]
pub struct SeededIdGen {
    state: AtomicU64,
}

impl SeededIdGen {
    pub const fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }
}

impl IdGen for SeededIdGen {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            // splitmix64: any counter becomes a well-mixed word.
            let mut z = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            for (to, from) in chunk.iter_mut().zip((z ^ (z >> 31)).to_le_bytes()) {
                *to = from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_uuids_have_their_version() {
        let (a, b) = (SeededIdGen::new(7), SeededIdGen::new(7));
        assert_eq!(random_bytes::<16>(&a), random_bytes::<16>(&b));
        let uuid = random_uuid(&a);
        assert_eq!(uuid.len(), 36);
        assert_eq!(uuid.as_bytes().get(14), Some(&b'4'));
        assert_ne!(uuid, random_uuid(&a));
    }
}
