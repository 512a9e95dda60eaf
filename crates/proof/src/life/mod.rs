//! The life of one process over the world: it recovers, works on everything at once, and dies or ends.

mod collector;
mod librarian;
mod recovery;
mod uploader;
mod writer;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use blockstore::{Domain, DomainSecret, ErrorKind, Options, Store};
use futures::future::{Either, select, try_join_all};
use model::{Clock, SeededIdGen};
use object_store::ObjectStore;
use tokio::sync::Notify;
use volume::Volume;

use crate::sim::{Death, Sim};
use crate::world::World;

/// Attempts before the weather is made calm, and before a fault that stays is a finding.
const TRIES_IN_THE_STORM: u32 = 6;
const TRIES: u32 = 12;

/// What a broken promise looks like.
pub(crate) type Verdict<T = ()> = Result<T, String>;

/// How a life ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Died(Death),
    Finished,
}

pub(crate) struct Life<'a> {
    world: &'a World,
    sim: &'a Arc<Sim>,
    domains: [Domain; 2],
    /// Another process's view of the store: one process writes, and any number read.
    readers: RefCell<[Domain; 2]>,
    volumes: Vec<RefCell<Option<Volume>>>,
    /// A snapshot is being used in some way.
    is_library_busy: Cell<bool>,
    /// A layer was frozen, or a writer has stopped.
    news: Vec<Notify>,
}

/// One process over the world, from its start to its death or its orderly end.
pub(crate) async fn live(world: &World) -> Verdict<End> {
    world.sim.be_born(world.disks());
    if world.budget.get() == 0 {
        world.sim.be_immortal();
    }
    let death = std::pin::pin!(world.sim.death());
    let work = std::pin::pin!(work(world));
    match select(death, work).await {
        Either::Left((death, _)) => Ok(End::Died(death)),
        Either::Right((done, _)) => done.map(|()| End::Finished),
    }
}

async fn work(world: &World) -> Verdict {
    let life = Life::begin(world).await?;
    life.recover().await?;
    let slots = 0..world.slots.len();
    let writers = try_join_all(slots.clone().map(|slot| life.write(slot)));
    let uploaders = try_join_all(slots.map(|slot| life.upload(slot)));
    let library = life.keep_library();
    let collection = life.collect();
    futures::try_join!(writers, uploaders, library, collection)?;
    life.close().await
}

/// Opens the store as a process does, with objects so small that little data makes many of them.
pub(crate) async fn open_store(
    objects: Arc<dyn ObjectStore>,
    seed: u64,
    clock: Arc<dyn Clock>,
) -> blockstore::Result<[Domain; 2]> {
    let options = Options {
        pack_bytes: 32 << 10,
        node_pack_bytes: 300,
        writer_leaf_bytes: 2 << 10,
        compression_tasks: 2,
        clock,
        ..Options::default()
    };
    let store = Store::open(objects, Arc::new(SeededIdGen::new(seed)), options).await?;
    Ok([store.domain("one", &DomainSecret::new([1; 32])), store.domain("two", &DomainSecret::new([2; 32]))])
}

impl<'a> Life<'a> {
    async fn begin(world: &'a World) -> Verdict<Self> {
        let sim = &world.sim;
        let domains = persist(sim, "open the store", || open(world)).await?;
        Ok(Self {
            world,
            sim,
            readers: RefCell::new(domains.clone()),
            domains,
            volumes: world.slots.iter().map(|_| RefCell::default()).collect(),
            is_library_busy: Cell::new(false),
            news: world.slots.iter().map(|_| Notify::new()).collect(),
        })
    }

    fn domain(&self, number: usize) -> Domain {
        self.domains[number].clone()
    }

    fn reader(&self, number: usize) -> Domain {
        self.readers.borrow()[number].clone()
    }

    fn volume(&self, slot: usize) -> Volume {
        self.volumes[slot].borrow().clone().expect("recovery opened it")
    }

    /// A second process opens the same store, with caches of its own and all empty.
    async fn reopen_store(&self) -> Verdict {
        let domains = persist(self.sim, "open the store again", || open(self.world)).await?;
        *self.readers.borrow_mut() = domains;
        Ok(())
    }

    /// Attempts something that faults of the weather may stop, until they no longer do.
    async fn persist<T, E: Trouble>(
        &self,
        what: &str,
        attempt: impl AsyncFnMut() -> Result<T, E>,
    ) -> Verdict<T> {
        persist(self.sim, what, attempt).await
    }
}

async fn open(world: &World) -> blockstore::Result<[Domain; 2]> {
    let seed = world.sim.below(u64::MAX);
    open_store(Arc::new(world.objects.clone()), seed, Arc::clone(&world.sim) as _).await
}

/// An error that says whether to try again.
pub(crate) trait Trouble: std::error::Error {
    fn passes(&self) -> bool;
}

impl Trouble for blockstore::Error {
    fn passes(&self) -> bool {
        // A conflict: somebody else was first, the collector for one; look again.
        matches!(self.kind(), ErrorKind::Unavailable | ErrorKind::Conflict)
    }
}

impl Trouble for volume::Error {
    fn passes(&self) -> bool {
        self.kind() == volume::ErrorKind::Unavailable
    }
}

async fn persist<T, E: Trouble>(
    sim: &Sim,
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
) -> Verdict<T> {
    for number in 1..=TRIES {
        let is_calm = number > TRIES_IN_THE_STORM;
        if is_calm {
            sim.calm(true);
        }
        let done = attempt().await;
        if is_calm {
            sim.calm(false);
        }
        sim.alive().await;
        match done {
            Ok(done) => return Ok(done),
            Err(e) if e.passes() && number < TRIES => {
                tokio::time::sleep(Duration::from_millis(1 << number)).await;
            }
            Err(e) => return Err(format!("{what}: {}", chain(&e))),
        }
    }
    Err(format!("{what}: never done"))
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

/// For comparisons of whole disks: where they begin to differ.
pub(crate) fn same(what: &str, found: &[u8], expected: &[u8]) -> Verdict {
    if found == expected {
        return Ok(());
    }
    let at = found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
    Err(format!("{what}: {} bytes, not the {} expected ones, from byte {at} on", found.len(), expected.len()))
}
