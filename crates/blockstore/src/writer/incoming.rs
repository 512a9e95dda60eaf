//! Bytes on their way into a writer: they are hashed on other cores while the caller fetches more,
//! and come out in the order they came.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::DomainInner;
use crate::error::{Error, Result};
use crate::format::{BLOCK_BYTES, BlockId};
use crate::keys::DomainKeys;
use crate::workers::Working;

/// Pieces end where a multiple of this does, so none reaches over the end of a leaf.
const PIECE_BYTES: u64 = 512 << 10;
/// Below this a piece is hashed sooner than it is handed over.
const HANDED_OVER_BYTES_MIN: usize = 64 << 10;

const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// Whole blocks, each with its id; none where the block is zeros.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) data: Bytes,
    pub(super) ids: Vec<Option<BlockId>>,
}

#[derive(Debug)]
enum Hashing {
    Done(Piece),
    Running(Working<Piece>),
}

#[derive(Debug, Default)]
pub(super) struct Incoming {
    pieces: VecDeque<Hashing>,
}

impl Incoming {
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn push(&mut self, domain: &Arc<DomainInner>, mut offset: u64, mut data: Bytes) {
        while !data.is_empty() {
            let len = usize::try_from(PIECE_BYTES - offset % PIECE_BYTES).unwrap_or(usize::MAX);
            let part = data.split_to(len.min(data.len()));
            let len = part.len();
            let hashing = if len < HANDED_OVER_BYTES_MIN {
                Hashing::Done(hash(&domain.keys, offset, part))
            } else {
                let of = Arc::clone(domain);
                Hashing::Running(domain.store.workers.run(move || hash(&of.keys, offset, part)))
            };
            self.pieces.push_back(hashing);
            offset += len as u64;
        }
    }

    /// The oldest piece, hashed.
    pub(super) async fn pop(&mut self) -> Result<Option<Piece>> {
        match self.pieces.pop_front() {
            None => Ok(None),
            Some(Hashing::Done(piece)) => Ok(Some(piece)),
            Some(Hashing::Running(piece)) => {
                piece.await.map(Some).map_err(|e| Error::invalid("hash blocks").with_source(e))
            }
        }
    }
}

fn hash(keys: &DomainKeys, offset: u64, data: Bytes) -> Piece {
    let blocks = data.as_chunks::<BLOCK_BYTES>().0;
    let filled: Vec<&[u8; BLOCK_BYTES]> = blocks.iter().filter(|block| **block != ZEROS).collect();
    let mut hashes = keys.block_ids(&filled).into_iter();
    let mut filled = filled.into_iter().peekable();
    let ids = blocks
        .iter()
        .map(|block| filled.next_if(|next| std::ptr::eq(*next, block)).and_then(|_| hashes.next()));
    let ids = ids.collect();
    Piece { offset, data, ids }
}
