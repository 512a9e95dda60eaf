//! From a domain's secret to its keys. Fixed contexts; golden vectors in the tests.

use std::fmt;

use blake3::IncrementCounter;
use blake3::platform::{Platform, words_from_le_bytes_32};

use crate::format::{BLOCK_BYTES, BlockId, Hash};

const BLOCK_ID_CONTEXT: &str = "katagami blockstore v1 block id";
const NODE_CONTEXT: &str = "katagami blockstore v1 node";
const PACK_CONTEXT: &str = "katagami blockstore v1 pack";
const NAME_CONTEXT: &str = "katagami blockstore v1 object name";
const DOMAIN_SECRET_CONTEXT: &str = "katagami blockstore v1 domain secret";
const CACHE_CONTEXT: &str = "katagami blockstore v1 cache fingerprint";

/// Blocks that are hashed side by side.
const LANES: usize = 16;
/// BLAKE3's unit of hashing, and how many a block has.
const CHUNK_BYTES: usize = 1024;
const CHUNKS: usize = BLOCK_BYTES / CHUNK_BYTES;
/// BLAKE3's flags, from its paper.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const PARENT: u8 = 1 << 2;
const ROOT: u8 = 1 << 3;
const KEYED_HASH: u8 = 1 << 4;

/// The 32 secret bytes of a domain. Whoever loses them has shredded the domain.
#[derive(Clone, PartialEq, Eq)]
pub struct DomainSecret([u8; 32]);

impl DomainSecret {
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A fresh random secret.
    pub fn generate(ids: &dyn model::IdGen) -> Self {
        Self(model::id_gen::random_bytes(ids))
    }

    /// The secret of a domain of an installation that has one secret for all of its domains.
    pub fn derive(master: &[u8; 32], domain: &str) -> Self {
        let mut material = master.to_vec();
        material.extend(domain.as_bytes());
        Self(blake3::derive_key(DOMAIN_SECRET_CONTEXT, &material))
    }

    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DomainSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DomainSecret(..)")
    }
}

/// The keys that a domain's secret gives.
pub(crate) struct DomainKeys {
    pub(crate) domain: String,
    block_id: [u8; 32],
    node: [u8; 32],
    pack: [u8; 32],
    name: [u8; 32],
    /// Tells domains apart in shared caches, so that knowing an id without the secret finds nothing.
    pub(crate) fingerprint: [u8; 16],
}

impl DomainKeys {
    pub(crate) fn derive(domain: &str, secret: &DomainSecret) -> Self {
        let key = |context| blake3::derive_key(context, &secret.0);
        let mut material = secret.0.to_vec();
        material.extend(domain.as_bytes());
        let [fingerprint, _] = halves(blake3::derive_key(CACHE_CONTEXT, &material));
        Self {
            domain: domain.to_owned(),
            block_id: key(BLOCK_ID_CONTEXT),
            node: key(NODE_CONTEXT),
            pack: key(PACK_CONTEXT),
            name: key(NAME_CONTEXT),
            fingerprint,
        }
    }

    /// The id of a block: keyed, so that nobody outside the domain can confirm a guess.
    pub(crate) fn block_id(&self, block: &[u8]) -> BlockId {
        BlockId(*blake3::keyed_hash(&self.block_id, block).as_bytes())
    }

    /// The ids of several blocks, each as `block_id` gives it. One block has work for four lanes of
    /// a processor's vectors; several side by side fill all of them.
    pub(crate) fn block_ids(&self, blocks: &[&[u8; BLOCK_BYTES]]) -> Vec<BlockId> {
        let key = words_from_le_bytes_32(&self.block_id);
        let mut ids = Vec::with_capacity(blocks.len());
        for group in blocks.chunks(LANES) {
            hash_group(&key, group, &mut ids);
        }
        ids
    }

    /// The key that seals a data pack of this salt.
    pub(crate) fn pack_key(&self, salt: &[u8; 32]) -> [u8; 32] {
        *blake3::keyed_hash(&self.pack, salt).as_bytes()
    }

    /// The key that seals a node pack or a snapshot object of this salt.
    pub(crate) fn node_key(&self, salt: &[u8; 32]) -> [u8; 32] {
        *blake3::keyed_hash(&self.node, salt).as_bytes()
    }

    /// A name that commits to the parts. `what` separates the kinds of things that are named.
    pub(crate) fn name(&self, what: [u8; 8], parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.name);
        hasher.update(&what);
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// BLAKE3 of at most `LANES` blocks: their chunks, the two parents over each block's four, the root.
fn hash_group(key: &[u32; 8], blocks: &[&[u8; BLOCK_BYTES]], ids: &mut Vec<BlockId>) {
    const NO: IncrementCounter = IncrementCounter::No;
    let platform = Platform::detect();
    let mut hashes = [[0; 32]; 2 * LANES];
    // Chunk values by block and position: two halves of 64 bytes are what the parents hash.
    let mut values = [[[0; 32]; CHUNKS]; LANES];
    for position in 0..CHUNKS {
        let chunks: Vec<&[u8; CHUNK_BYTES]> =
            blocks.iter().filter_map(|block| block.as_chunks().0.get(position)).collect();
        let out = hashes.as_flattened_mut();
        platform.hash_many(&chunks, key, position as u64, NO, KEYED_HASH, CHUNK_START, CHUNK_END, out);
        for (block, hash) in values.iter_mut().zip(hashes) {
            block.iter_mut().skip(position).take(1).for_each(|value| *value = hash);
        }
    }
    let halves: Vec<&[u8; 64]> = values.as_flattened().as_flattened().as_chunks().0.iter().collect();
    let halves = halves.get(..2 * blocks.len()).unwrap_or_default();
    platform.hash_many(halves, key, 0, NO, KEYED_HASH | PARENT, 0, 0, hashes.as_flattened_mut());
    let roots: Vec<&[u8; 64]> = hashes.as_flattened().as_chunks().0.iter().take(blocks.len()).collect();
    let mut found = [[0; 32]; LANES];
    platform.hash_many(&roots, key, 0, NO, KEYED_HASH | PARENT | ROOT, 0, 0, found.as_flattened_mut());
    ids.extend(found.into_iter().take(blocks.len()).map(BlockId));
}

impl fmt::Debug for DomainKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainKeys").field("domain", &self.domain).finish_non_exhaustive()
    }
}

fn halves(bytes: [u8; 32]) -> [[u8; 16]; 2] {
    let mut parts = [[0; 16]; 2];
    for (to, from) in parts.as_flattened_mut().iter_mut().zip(bytes) {
        *to = from;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden vectors: when one of these changes, no stored byte can be read any more.
    #[test]
    fn derivations_never_change() {
        let keys = DomainKeys::derive("d", &DomainSecret::new([7; 32]));
        let block = [0xa5; 4096];
        let found = [
            keys.block_id(&block).0,
            keys.pack_key(&[1; 32]),
            keys.node_key(&[1; 32]),
            keys.name(*b"packname", &[b"a", b"b"]),
        ];
        let expected = [
            "925b013e405ee7af631186ea462f0de2e09f96e4936da39d467eab15c06e7ce4",
            "c889b0efd8e38ad704d9542a41ba1897440b9b62b6a41e04db5cd1887fe0aea7",
            "0a3a2cab2955fcef3a5da6cc715efd383be9727d5c1124c528b435948127ddae",
            "3b5d407955c4811dd3f75f8d51f661531c647eaefb3e7d7dade450dcf25ecd13",
        ];
        assert_eq!(found.map(hex::encode), expected);
    }

    #[test]
    fn every_key_depends_on_the_secret_and_only_the_fingerprint_on_the_name() {
        let keys = |domain, byte| DomainKeys::derive(domain, &DomainSecret::new([byte; 32]));
        let (a, b, c) = (keys("d", 1), keys("d", 2), keys("e", 1));
        assert_ne!(a.block_id(b"x"), b.block_id(b"x"));
        assert_ne!(a.pack_key(&[0; 32]), b.pack_key(&[0; 32]));
        assert_ne!(a.node_key(&[0; 32]), b.node_key(&[0; 32]));
        assert_ne!(a.pack_key(&[0; 32]), a.node_key(&[0; 32]));
        assert_ne!(a.name(*b"whatever", &[]), b.name(*b"whatever", &[]));
        assert_ne!(a.fingerprint, b.fingerprint);
        assert_ne!(a.fingerprint, c.fingerprint);
        assert_eq!(a.block_id(b"x"), c.block_id(b"x"));
    }

    #[test]
    fn many_blocks_at_once_have_the_ids_that_each_has_alone() {
        let keys = DomainKeys::derive("d", &DomainSecret::new([7; 32]));
        let block = |seed: u8| std::array::from_fn(|i| (i % 251).to_le_bytes()[0].wrapping_mul(seed));
        let blocks: Vec<[u8; BLOCK_BYTES]> = (0..50).map(block).collect();
        for count in [0, 1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 50] {
            let some: Vec<_> = blocks.iter().take(count).collect();
            let alone: Vec<BlockId> = some.iter().map(|block| keys.block_id(*block)).collect();
            assert_eq!(keys.block_ids(&some), alone, "{count}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = DomainSecret::new([0xab; 32]);
        let keys = DomainKeys::derive("d", &secret);
        assert!(!format!("{secret:?} {keys:?}").contains("ab"), "{secret:?} {keys:?}");
    }
}
