//! The dedup index of a domain: from a block's id to where the domain may have it already.
//!
//! A cache, never the truth: every hit is verified against the pack's own directory, and losing
//! any entry costs space, not data. Above its bound it keeps a sample of the ids; one hit then
//! brings a whole directory, whose neighbours almost always follow.

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, stream};
use tokio::sync::OnceCell;

use crate::domain::DomainInner;
use crate::error::{ErrorKind, Result};
use crate::format::pack::Directory;
use crate::format::{BlockId, IdMap, PackId};
use crate::objects::folder;

/// Directories that are read at once while the index is filled.
const SEED_READS: usize = 8;

/// Where a block may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) pack: PackId,
    pub(crate) slot: u32,
}

#[derive(Debug)]
pub(crate) struct Index {
    entries_max: usize,
    seeded: OnceCell<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Block id prefix to number of the pack and slot.
    entries: IdMap<u64, (u32, u32)>,
    /// Only prefixes with these bits zero are kept.
    mask: u64,
    packs: Vec<PackId>,
    numbers: IdMap<PackId, u32>,
}

impl Index {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries_max: entries_max.max(16), seeded: OnceCell::new(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the block may be; the caller verifies it.
    pub(crate) fn candidate(&self, id: &BlockId) -> Option<Place> {
        let state = self.state();
        let (pack, slot) = state.entries.get(&id.prefix())?;
        Some(Place { pack: *state.packs.get(*pack as usize)?, slot: *slot })
    }

    /// Whether every id that was ever absorbed is still there.
    pub(crate) fn is_complete(&self) -> bool {
        self.state().mask == 0
    }

    pub(crate) fn knows(&self, pack: PackId) -> bool {
        self.state().numbers.contains_key(&pack)
    }

    /// Remembers the blocks of a durable pack.
    pub(crate) fn absorb(&self, directory: &Directory) {
        let mut state = self.state();
        let state = &mut *state;
        let Ok(number) = u32::try_from(state.packs.len()) else { return };
        match state.numbers.entry(directory.table.id) {
            Entry::Occupied(_) => return,
            Entry::Vacant(entry) => entry.insert(number),
        };
        state.packs.push(directory.table.id);
        for (slot, id) in (0..).zip(&directory.ids) {
            if id.prefix() & state.mask == 0 {
                state.entries.entry(id.prefix()).or_insert((number, slot));
            }
        }
        while state.entries.len() > self.entries_max {
            state.mask = state.mask << 1 | 1;
            let mask = state.mask;
            state.entries.retain(|prefix, _| prefix & mask == 0);
            state.entries.shrink_to_fit();
        }
    }

    /// Forgets a pack whose directory could not be read.
    pub(crate) fn forget(&self, pack: PackId) {
        let mut state = self.state();
        if let Some(number) = state.numbers.remove(&pack) {
            state.entries.retain(|_, (other, _)| *other != number);
        }
    }

    /// Forgets packs that nobody may refer to any more.
    pub(crate) fn forget_all(&self, packs: &HashSet<PackId>) {
        let mut state = self.state();
        let numbers: HashSet<u32> = packs.iter().filter_map(|pack| state.numbers.remove(pack)).collect();
        if !numbers.is_empty() {
            state.entries.retain(|_, (number, _)| !numbers.contains(number));
        }
    }

    /// Reads the newest directories of the domain, once a process.
    pub(crate) async fn seed(&self, domain: &DomainInner) -> Result<()> {
        self.seeded.get_or_try_init(|| self.read_newest(domain)).await.copied()
    }

    async fn read_newest(&self, domain: &DomainInner) -> Result<()> {
        let mut metas = domain.store.objects.list(&folder("pack", &domain.keys.domain)).await?;
        metas.sort_by_key(|meta| std::cmp::Reverse(meta.last_modified));
        metas.truncate(domain.store.options.index_seed_packs_max);
        let ids = metas.iter().filter_map(|meta| {
            let mut id = [0; 32];
            hex::decode_to_slice(meta.location.filename()?, &mut id).ok()?;
            Some(PackId(id))
        });
        let reads = stream::iter(ids.collect::<Vec<_>>()).map(|id| self.learn(domain, id));
        let mut reads = reads.buffer_unordered(SEED_READS);
        while let Some(read) = reads.next().await {
            read?;
        }
        Ok(())
    }

    /// Reads one pack's directory. A damaged one is left out: its blocks are stored anew.
    pub(crate) async fn learn(&self, domain: &DomainInner, id: PackId) -> Result<()> {
        let is_going = domain.ledger.is_condemned(id.into()) || domain.ledger.relocations.has(id);
        if self.knows(id) || is_going {
            return Ok(());
        }
        match domain.directory(id).await {
            Ok(directory) => self.absorb(&directory),
            Err(e) if e.kind() == ErrorKind::Unavailable => return Err(e),
            Err(e) => {
                tracing::warn!(error = &e as &dyn std::error::Error, pack = %id, "skip a damaged pack directory");
            }
        }
        Ok(())
    }
}
