//! From names to decoded things: every read of a domain's objects, cached and checked.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;

use crate::cache::Fingerprint;
use crate::domain::DomainInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::node::{Leaf, Node, NodePack, NodeRef, PackRef};
use crate::format::pack::{Directory, PackTable};
use crate::format::trailer::TRAILER_BYTES_U64;
use crate::format::{NodePackId, PackId};
use crate::objects::sharded;
use crate::tree::{Tree, digit};

/// Enough for the directory of nearly every pack of 16 MiB in one request.
const DIRECTORY_GUESS_BYTES: u64 = 384 << 10;

impl DomainInner {
    pub(crate) fn pack_path(&self, id: PackId) -> Path {
        sharded("pack", &self.keys.domain, &id.0)
    }

    pub(crate) fn node_pack_path(&self, id: NodePackId) -> Path {
        sharded("node", &self.keys.domain, &id.0)
    }

    /// `NotFound` where there is none; a caller that found the name in a stored object turns
    /// that into `Corrupt`.
    pub(crate) async fn node_pack(&self, id: NodePackId) -> Result<Arc<NodePack>> {
        let key = (self.keys.fingerprint, id);
        let fetch = || async {
            let disk = self.store.sealed.as_ref().and_then(|sealed| sealed.disk.as_ref());
            if let Some(bytes) = disk.and_then(|disk| disk.read_whole("node", &id.0))
                && let Ok(pack) = NodePack::parse(&self.keys, id, &bytes)
            {
                return Ok(Arc::new(pack));
            }
            let limit = crate::format::node::NODE_PACK_BYTES_MAX;
            let bytes = self.store.objects.get(&self.node_pack_path(id), limit).await?;
            let pack = NodePack::parse(&self.keys, id, &bytes)?;
            if let Some(disk) = disk {
                disk.write_whole("node", &id.0, &bytes);
            }
            Ok(Arc::new(pack))
        };
        self.store.caches.node_packs.get_or_fetch(&key, fetch).await
    }

    async fn node(&self, reference: NodeRef, level: u8) -> Result<Node> {
        let key = self.node_key(reference);
        let fetch = || async {
            let pack = self.node_pack(reference.pack).await.map_err(Error::missing_is_corrupt)?;
            match pack.node(&self.keys, reference.number, level)? {
                Node::Leaf(leaf) => Ok(Node::Leaf(self.ledger.relocations.map().translate(&leaf)?)),
                inner @ Node::Inner(_) => Ok(inner),
            }
        };
        self.store.caches.nodes.get_or_fetch(&key, fetch).await
    }

    /// With the version of the relocation map: what was read by an older one is not found any more.
    fn node_key(&self, reference: NodeRef) -> (Fingerprint, u64, NodeRef) {
        (self.keys.fingerprint, self.ledger.relocations.version(), reference)
    }

    /// Its blocks where they are now.
    pub(crate) async fn leaf(&self, reference: NodeRef) -> Result<Arc<Leaf>> {
        match self.node(reference, 0).await? {
            Node::Leaf(leaf) => Ok(leaf),
            Node::Inner(_) => Err(Error::corrupt("read leaf: it is an inner node")),
        }
    }

    /// The leaf of this index, an empty one where there is none, if the way to it is cached.
    pub(crate) fn cached_leaf(&self, tree: &Tree, leaf: u32) -> Option<Arc<Leaf>> {
        let mut reference = tree.root;
        for level in (1..=tree.head.height).rev() {
            let Node::Inner(children) = self.cached_node(reference)? else { return None };
            let wanted = digit(leaf, level);
            let Ok(position) = children.binary_search_by_key(&wanted, |(index, _)| *index) else {
                return Some(Arc::default());
            };
            reference = children.get(position)?.1;
        }
        match self.cached_node(reference)? {
            Node::Leaf(leaf) => Some(leaf),
            Node::Inner(_) => None,
        }
    }

    fn cached_node(&self, reference: NodeRef) -> Option<Node> {
        self.store.caches.nodes.get(&self.node_key(reference))
    }

    pub(crate) fn cached_table(&self, pack: &PackRef) -> Option<Arc<PackTable>> {
        self.store.caches.tables.get(&(self.keys.fingerprint, pack.id))
    }

    pub(crate) fn cached_frame(&self, table: &PackTable, number: u32) -> Option<Bytes> {
        self.store.caches.frames.get(&(self.keys.fingerprint, table.id, number))
    }

    /// The children of an inner node.
    pub(crate) async fn children(&self, reference: NodeRef, level: u8) -> Result<Arc<Vec<(u8, NodeRef)>>> {
        match self.node(reference, level).await? {
            Node::Inner(children) => Ok(children),
            Node::Leaf(_) => Err(Error::corrupt("read inner node: it is a leaf")),
        }
    }

    /// The frame table of a pack: from the node pack that repeats it, or from the pack itself.
    pub(crate) async fn table(&self, pack: &PackRef) -> Result<Arc<PackTable>> {
        let key = (self.keys.fingerprint, pack.id);
        let fetch = || async {
            if let Some(table) = self.ledger.relocations.map().table(pack.id) {
                return Ok(Arc::clone(table));
            }
            // Only a hint: a node pack that no tree needs any more may be gone.
            if let Some(node_pack) = pack.table_in {
                match self.node_pack(node_pack).await {
                    Ok(node_pack) => {
                        if let Some(table) = node_pack.table(pack.id) {
                            return Ok(Arc::clone(table));
                        }
                    }
                    // A damaged one is no reason to refuse blocks that are whole: the pack itself knows too.
                    Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(Arc::clone(&self.directory(pack.id).await?.table))
        };
        self.store.caches.tables.get_or_fetch(&key, fetch).await
    }

    /// Frame table and block ids of a pack.
    pub(crate) async fn directory(&self, id: PackId) -> Result<Arc<Directory>> {
        let key = (self.keys.fingerprint, id);
        let fetch =
            || async { Ok(Arc::new(self.fetch_directory(id).await.map_err(Error::missing_is_corrupt)?)) };
        self.store.caches.directories.get_or_fetch(&key, fetch).await
    }

    async fn fetch_directory(&self, id: PackId) -> Result<Directory> {
        let path = self.pack_path(id);
        let (tail, size) = self.store.objects.get_tail(&path, DIRECTORY_GUESS_BYTES).await?;
        let trailer =
            tail.last_chunk().ok_or_else(|| Error::corrupt(format!("read {path}: it has no trailer")))?;
        let len = Directory::tail_bytes(trailer, size)?;
        debug_assert!(len >= TRAILER_BYTES_U64, "a directory ends in its trailer");
        let start = usize::try_from(len).ok().and_then(|len| tail.len().checked_sub(len));
        if let Some(start) = start {
            return Directory::parse(&self.keys, id, tail.get(start..).unwrap_or_default(), size);
        }
        let tail = self.store.objects.get_range(&path, size - len..size).await?;
        Directory::parse(&self.keys, id, &tail, size)
    }

    /// The decoded blocks of a frame.
    pub(crate) async fn frame(&self, table: &PackTable, number: u32) -> Result<Bytes> {
        let key = (self.keys.fingerprint, table.id, number);
        let fetch = || async {
            let sealed = self.sealed_frame(table, number).await?;
            let opened = table.open_frame(number, sealed.into());
            // The host's cache may be damaged, and so may an answer: the store has the last word.
            let is_damaged = opened.as_ref().is_err_and(|e| e.kind() == ErrorKind::Corrupt);
            let (Some(sealed), true) = (&self.store.sealed, is_damaged) else {
                return opened.map(Bytes::from);
            };
            let path = self.pack_path(table.id);
            let again = sealed.get_again(&self.store.objects, &path, table.part(number)?).await;
            let again = again.map_err(Error::missing_is_corrupt)?;
            Ok(Bytes::from(table.open_frame(number, again.into())?))
        };
        self.store.caches.frames.get_or_fetch(&key, fetch).await
    }

    pub(crate) async fn sealed_frame(&self, table: &PackTable, number: u32) -> Result<Bytes> {
        self.ledger.read(self, table.id.into());
        let part = table.part(number)?;
        let path = self.pack_path(table.id);
        let got = match &self.store.sealed {
            Some(sealed) => sealed.get(&self.store.objects, &path, part).await,
            None => self.store.objects.get_range(&path, part.offset..part.end()).await,
        };
        got.map_err(Error::missing_is_corrupt)
    }
}
