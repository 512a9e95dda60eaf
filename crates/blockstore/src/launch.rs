//! Launches over a network: the first of a root is remembered as a trace, later ones are read ahead of the
//! guest by it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use model::Clock;
use object_store::path::Path;

use crate::domain::{Domain, DomainInner};
use crate::error::{ErrorKind, Result};
use crate::format::NodePackId;
use crate::format::trace::{TRACE_BYTES_MAX, Trace};
use crate::objects::named;
use crate::reader::Reader;
use crate::remote::sealed::{Part, Sealed, Wanted, groups};
use crate::root::Root;

/// Their folder in the host's cache.
const TRACE: &str = "trace";
/// Requests of a replay at once.
const REPLAYED_AT_ONCE: usize = 32;
const RECORDED_TIME_MAX: Duration = Duration::from_mins(2);
const RECORDED_BYTES_MAX: u64 = 256 << 20;
/// A pause this long ends a boot, but not before it is this old: boot menus wait too.
const GAP: Duration = Duration::from_secs(4);
const GAP_COUNTS_AFTER: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Domain {
    /// A reader for a machine that boots from this root. Over a network it reads ahead of the guest what
    /// the first launch read; or, this being the first, all of the disk, and remembers what the guest reads.
    pub async fn launch_reader(&self, root: &Root) -> Result<Reader> {
        let reader = self.reader(root).await?;
        let (Some(_), Some(clock)) = (&self.inner.store.sealed, self.inner.store.clock()) else {
            return Ok(reader);
        };
        match self.inner.trace(root.node_pack()).await {
            Ok(trace) => {
                tokio::spawn(replay(Arc::clone(&self.inner), root.node_pack(), trace));
                Ok(reader)
            }
            // A damaged one is replaced.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
                let recorder = Arc::new(Recorder::new(clock));
                tokio::spawn(record(Arc::clone(&self.inner), root.node_pack(), Arc::clone(&recorder)));
                tokio::spawn(hydrate(Arc::clone(&self.inner), root.clone(), Arc::downgrade(&recorder)));
                Ok(reader.recorded(recorder))
            }
            Err(_) => Ok(reader),
        }
    }
}

impl DomainInner {
    fn trace_path(&self, root: NodePackId) -> Path {
        named("trace", &self.keys.domain, &hex::encode(root.0))
    }

    async fn trace(&self, root: NodePackId) -> Result<Trace> {
        let disk = self.store.sealed.as_ref().and_then(|sealed| sealed.disk.as_ref());
        if let Some(bytes) = disk.and_then(|disk| disk.read_whole(TRACE, &root.0))
            && let Ok(trace) = Trace::parse(&self.keys, root, &bytes)
        {
            return Ok(trace);
        }
        let bytes = self.store.objects.get(&self.trace_path(root), TRACE_BYTES_MAX).await?;
        let trace = Trace::parse(&self.keys, root, &bytes)?;
        if let Some(disk) = disk {
            disk.write_whole(TRACE, &root.0, &bytes);
        }
        Ok(trace)
    }

    /// Brings frames near, where they are not yet. What fails is fetched when it is read.
    pub(crate) async fn fetch_soon(&self, parts: &[Part]) -> Result<()> {
        let (Some(sealed), Some(first)) = (&self.store.sealed, parts.first()) else { return Ok(()) };
        let path = self.pack_path(first.pack);
        let filled = sealed.fill(&self.store.objects, &path, parts, Wanted::Soon).await;
        filled.map(drop).inspect_err(|error| tracing::debug!(%error, "reading ahead failed"))
    }
}

async fn replay(domain: Arc<DomainInner>, root: NodePackId, trace: Trace) {
    let nodes = stream::iter(trace.node_packs).map(|id| {
        let domain = &domain;
        async move { domain.node_pack(id).await }
    });
    nodes.buffer_unordered(REPLAYED_AT_ONCE).for_each(|_| async {}).await;
    let fetches = stream::iter(groups(trace.parts)).map(|group| {
        let domain = &domain;
        async move { domain.fetch_soon(&group).await }
    });
    let is_gone = |done: Result<()>| done.is_err_and(|e| e.kind() == ErrorKind::NotFound);
    let gone = fetches.buffered(REPLAYED_AT_ONCE).any(|done| std::future::ready(is_gone(done))).await;
    if gone {
        // Its packs were rewritten: the next launch makes another one.
        forget(&domain, root).await;
    }
}

async fn forget(domain: &DomainInner, root: NodePackId) {
    if let Some(disk) = domain.store.sealed.as_ref().and_then(|sealed| sealed.disk.as_ref()) {
        disk.forget_whole(TRACE, &root.0);
    }
    if let Err(error) = domain.store.objects.delete(&domain.trace_path(root)).await {
        tracing::debug!(%error, "a stale boot trace could not be removed");
    }
}

/// All of a disk, from its beginning, as long as somebody boots from it: whatever the guest reads next is in it.
async fn hydrate(domain: Arc<DomainInner>, root: Root, boot: Weak<Recorder>) {
    if let Err(error) = hydrate_as_far_as_is_wise(&domain, &root, &boot).await {
        tracing::debug!(%error, "reading ahead of a first launch failed");
    }
}

async fn hydrate_as_far_as_is_wise(
    domain: &Arc<DomainInner>,
    root: &Root,
    boot: &Weak<Recorder>,
) -> Result<()> {
    let tree = domain.tree(root).await?;
    let mut left = domain.store.sealed.as_ref().map_or(0, Sealed::bytes_max);
    let mut next = Some(0);
    while let Some(from) = next.filter(|_| left > 0 && boot.strong_count() > 0) {
        let Some((index, leaf)) = domain.next_leaf(&tree, from).await? else { break };
        next = index.checked_add(1);
        let mut parts = Vec::new();
        let leaf = domain.leaf(leaf).await?;
        for run in &leaf.runs {
            let table = domain.table(leaf.pack(run)?).await?;
            let (first, _) = table.frame_of(run.slot)?;
            let (last, _) = table.frame_of(run.slot + u32::from(run.len.saturating_sub(1)))?;
            for number in first..=last {
                parts.push(table.part(number)?);
            }
        }
        parts.sort_unstable_by_key(|part| (part.pack, part.offset));
        parts.dedup();
        left = left.saturating_sub(parts.iter().map(|part| u64::from(part.len)).sum());
        let fetches = stream::iter(groups(parts)).map(|group| async move { domain.fetch_soon(&group).await });
        fetches.buffer_unordered(REPLAYED_AT_ONCE).for_each(|_| async {}).await;
    }
    Ok(())
}

/// Puts the trace when the boot is over. A machine that ends before leaves none.
async fn record(domain: Arc<DomainInner>, root: NodePackId, recorder: Arc<Recorder>) {
    while !recorder.is_over() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let trace = recorder.take();
    let salt = model::id_gen::random_bytes(&*domain.store.ids);
    let bytes = trace.encode(&domain.keys, root, salt);
    if trace.parts.is_empty() || bytes.len() as u64 > TRACE_BYTES_MAX {
        return;
    }
    let put = domain.store.objects.replace(&domain.trace_path(root), bytes.into()).await;
    if let Err(error) = put {
        tracing::debug!(%error, "a boot trace could not be kept");
    }
}

/// What a launch reads, in the order of first touches.
#[derive(Debug)]
pub(crate) struct Recorder {
    clock: Arc<dyn Clock>,
    start: Duration,
    touched: Mutex<Touched>,
}

#[derive(Debug)]
struct Touched {
    known: HashSet<(crate::format::PackId, u64)>,
    trace: Trace,
    bytes: u64,
    last: Duration,
    is_over: bool,
}

impl Recorder {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let start = clock.monotonic();
        let touched =
            Touched { known: HashSet::new(), trace: Trace::default(), bytes: 0, last: start, is_over: false };
        Self { clock, start, touched: Mutex::new(touched) }
    }

    pub(crate) fn touch(
        &self,
        node_packs: impl Iterator<Item = NodePackId>,
        parts: impl Iterator<Item = Part>,
    ) {
        let now = self.clock.monotonic();
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        if touched.is_over {
            return;
        }
        for id in node_packs {
            if !touched.trace.node_packs.contains(&id) {
                touched.trace.node_packs.push(id);
            }
        }
        for part in parts {
            if touched.known.insert((part.pack, part.offset)) {
                touched.bytes += u64::from(part.len);
                touched.last = now;
                touched.trace.parts.push(part);
            }
        }
    }

    fn is_over(&self) -> bool {
        let now = self.clock.monotonic();
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_sub(self.start);
        let pause = now.saturating_sub(touched.last);
        touched.is_over = age >= RECORDED_TIME_MAX
            || touched.bytes >= RECORDED_BYTES_MAX
            || age >= GAP_COUNTS_AFTER && pause >= GAP && !touched.known.is_empty();
        touched.is_over
    }

    fn take(&self) -> Trace {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut touched.trace)
    }
}
