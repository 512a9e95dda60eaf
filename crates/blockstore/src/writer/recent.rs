//! The packs where a writer found its last duplicates: the next block is most likely there too.

use std::collections::VecDeque;
use std::sync::Arc;

use super::packer::At;
use crate::format::pack::Directory;
use crate::format::{BlockId, IdMap, PackId};
use crate::index::Place;

const DIRECTORIES: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Recent {
    last: Option<At>,
    /// The last one that was asked for: it answers nearly all questions, without the shared cache.
    directory: Option<Arc<Directory>>,
    /// Newest first. Filled only where the index is a sample and does not know every block.
    directories: VecDeque<(Arc<Directory>, IdMap<u64, u32>)>,
}

impl Recent {
    pub(super) const fn hit(&mut self, at: At) {
        self.last = Some(at);
    }

    /// Right after the last duplicate.
    pub(super) fn next(&self) -> Option<At> {
        self.last.map(|at| at.after(1))
    }

    pub(super) fn keep(&mut self, directory: Arc<Directory>) {
        self.directory = Some(directory);
    }

    pub(super) fn directory(&self, pack: PackId) -> Option<Arc<Directory>> {
        self.directory.as_ref().filter(|directory| directory.table.id == pack).cloned()
    }

    pub(super) fn remember(&mut self, directory: &Arc<Directory>) {
        let id = directory.table.id;
        if self.directories.iter().any(|(known, _)| known.table.id == id) {
            return;
        }
        let slots = directory.ids.iter().map(BlockId::prefix).zip(0..).collect();
        self.directories.push_front((Arc::clone(directory), slots));
        self.directories.truncate(DIRECTORIES);
    }

    pub(super) fn find(&self, id: &BlockId) -> Option<Place> {
        let mut places = self.directories.iter().filter_map(|(directory, slots)| {
            Some(Place { pack: directory.table.id, slot: *slots.get(&id.prefix())? })
        });
        places.next()
    }
}
