//! Launches over a network: the first of a root is remembered as a trace, later ones are read ahead of the
//! guest by it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
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
use crate::remote::sealed::{Part, Wanted, groups};
use crate::root::Root;

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
    /// the first launch read, or remembers what this one, the first, reads.
    pub async fn launch_reader(&self, root: &Root) -> Result<Reader> {
        let reader = self.reader(root).await?;
        let (Some(_), Some(clock)) = (&self.inner.store.sealed, self.inner.store.clock()) else {
            return Ok(reader);
        };
        let (trace, _) = tokio::join!(self.inner.trace(root.node_pack()), self.inner.has_moved_since(0));
        let relocations = &self.inner.ledger.relocations;
        let is_stale = |trace: &Trace| trace.parts.iter().any(|part| relocations.has(part.pack));
        match trace {
            Ok(trace) if !is_stale(&trace) => {
                tokio::spawn(replay(Arc::clone(&self.inner), trace));
                Ok(reader)
            }
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => Ok(reader),
            // A damaged one is replaced, and one of packs whose blocks were moved.
            _ => {
                let recorder = Arc::new(Recorder::new(clock));
                tokio::spawn(record(Arc::clone(&self.inner), root.node_pack(), Arc::clone(&recorder)));
                Ok(reader.recorded(recorder))
            }
        }
    }
}

impl DomainInner {
    fn trace_path(&self, root: NodePackId) -> Path {
        named("trace", &self.keys.domain, &hex::encode(root.0))
    }

    async fn trace(&self, root: NodePackId) -> Result<Trace> {
        let bytes = self.store.objects.get(&self.trace_path(root), TRACE_BYTES_MAX).await?;
        Trace::parse(&self.keys, root, &bytes)
    }

    /// Brings frames near, where they are not yet. What fails is fetched when it is read.
    pub(crate) async fn fetch_soon(&self, parts: &[Part]) {
        let (Some(sealed), Some(first)) = (&self.store.sealed, parts.first()) else { return };
        let path = self.pack_path(first.pack);
        if let Err(error) = sealed.fill(&self.store.objects, &path, parts, Wanted::Soon).await {
            tracing::debug!(%error, "reading ahead failed");
        }
    }
}

async fn replay(domain: Arc<DomainInner>, trace: Trace) {
    let nodes = stream::iter(trace.node_packs).map(|id| {
        let domain = &domain;
        async move { domain.node_pack(id).await }
    });
    nodes.buffer_unordered(REPLAYED_AT_ONCE).for_each(|_| async {}).await;
    let fetches = stream::iter(groups(trace.parts)).map(|group| {
        let domain = &domain;
        async move { domain.fetch_soon(&group).await }
    });
    fetches.buffer_unordered(REPLAYED_AT_ONCE).for_each(|()| async {}).await;
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
