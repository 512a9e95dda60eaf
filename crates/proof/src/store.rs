//! An object store in memory that answers late, refuses, loses answers, and delivers twice.
//!
//! Refuses to know: what is stored. A request that was dropped on its way may still arrive.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use model::Clock as _;
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use crate::chance::Chance;
use crate::sim::Sim;

const NAME: &str = "simulated store";
/// No request arrives later: the collector waits longer than that before it condemns.
const LATE_MS_MAX: u64 = 20 * 60 * 1000;

#[derive(Debug, Clone)]
pub(crate) struct SimStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    sim: Arc<Sim>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Path, Object>,
    /// Requests that arrive when the clock has come so far, told apart by their text.
    late: BTreeMap<(Duration, String), Request>,
}

#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Bytes,
    /// When it was put; also its tag.
    tick: u64,
}

#[derive(Debug, Clone)]
enum Request {
    Put(Path, Bytes, PutMode),
    Delete(Path),
}

impl SimStore {
    pub(crate) fn new(sim: &Arc<Sim>) -> Self {
        Self { inner: Arc::new(Inner { sim: Arc::clone(sim), state: Mutex::default() }) }
    }

    /// A store of its own with these objects.
    pub(crate) fn with(sim: &Arc<Sim>, objects: BTreeMap<Path, Bytes>) -> Self {
        let store = Self::new(sim);
        let objects = objects.into_iter().map(|(path, bytes)| (path, Object { bytes, tick: 0 }));
        store.inner.state().objects = objects.collect();
        store
    }

    pub(crate) fn objects(&self) -> BTreeMap<Path, Bytes> {
        let state = self.inner.state();
        state.objects.iter().map(|(path, object)| (path.clone(), object.bytes.clone())).collect()
    }

    /// Delivers what is still on its way.
    pub(crate) fn deliver_all(&self) {
        self.inner.deliver(Duration::MAX);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(&self, now: Duration) {
        loop {
            let request = {
                let mut state = self.state();
                match state.late.first_entry() {
                    Some(entry) if entry.key().0 <= now => entry.remove(),
                    _ => return,
                }
            };
            self.sim.note(format_args!("late {request}"));
            drop(self.apply(&request));
        }
    }

    fn apply(&self, request: &Request) -> Result<u64> {
        let tick = self.sim.tick();
        let mut state = self.state();
        match request {
            Request::Put(path, bytes, mode) => {
                let found = state.objects.get(path).map(|object| object.tick);
                check_mode(path, found, mode)?;
                state.objects.insert(path.clone(), Object { bytes: bytes.clone(), tick });
            }
            Request::Delete(path) => {
                if state.objects.remove(path).is_none() {
                    return Err(not_found(path));
                }
            }
        }
        Ok(tick)
    }

    /// The way there: time passes, the process may die, the request may be refused.
    async fn go(&self) -> Result<()> {
        self.sim.pass().await;
        tokio::time::sleep(self.latency()).await;
        self.sim.tick();
        self.deliver(self.sim.monotonic());
        if self.sim.strikes(self.sim.weather().refused) {
            self.sim.note(format_args!("refused"));
            return Err(unavailable("503 slow down"));
        }
        Ok(())
    }

    /// The way back.
    async fn come(&self) {
        tokio::time::sleep(self.latency()).await;
        self.sim.pass().await;
    }

    fn latency(&self) -> Duration {
        let longest = if self.sim.one_in(50) { 1000 } else { 10 };
        Duration::from_millis(1 + self.sim.below(longest))
    }

    async fn change(self: &Arc<Self>, request: Request) -> Result<u64> {
        self.sim.note(format_args!("{request}"));
        let mut on_its_way = OnItsWay { store: Arc::clone(self), request: Some(request) };
        let gone = self.go().await;
        // Arrived, or refused: either way it is on its way no more.
        let request = on_its_way.request.take().expect("taken once");
        gone?;
        let done = self.apply(&request);
        if self.sim.strikes(self.sim.weather().duplicate) {
            self.send_later(request, self.sim.fork());
        }
        self.come().await;
        if self.sim.strikes(self.sim.weather().lost_reply) {
            self.sim.note(format_args!("lost reply"));
            return Err(unavailable("timed out"));
        }
        done
    }

    fn send_later(&self, request: Request, mut chance: Chance) {
        let due = self.sim.monotonic() + Duration::from_millis(chance.below(LATE_MS_MAX));
        self.state().late.insert((due, request.to_string()), request);
    }

    fn find(&self, path: &Path) -> Result<Object> {
        self.state().objects.get(path).cloned().ok_or_else(|| not_found(path))
    }

    async fn metas(self: Arc<Self>, prefix: Option<Path>) -> Result<Vec<Result<ObjectMeta>>> {
        self.sim.note(format_args!("list {}", prefix.as_ref().map_or("", Path::as_ref)));
        self.go().await?;
        let prefix = prefix.unwrap_or_default();
        let inside = |path: &Path| path.prefix_match(&prefix).is_some_and(|mut rest| rest.next().is_some());
        let mut metas: Vec<_> = {
            let state = self.state();
            let found = state.objects.iter().filter(|(path, _)| inside(path));
            found.map(|(path, object)| Ok(object.meta(path))).collect()
        };
        self.come().await;
        if self.sim.strikes(self.sim.weather().partial) {
            metas.truncate(metas.len() / 2);
            metas.push(Err(unavailable("the line broke")));
        }
        Ok(metas)
    }
}

/// A change that the caller may give up while it is still under way.
struct OnItsWay {
    store: Arc<Inner>,
    request: Option<Request>,
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let Some(request) = self.request.take() else { return };
        // By its name alone: in which order a dying process drops its tasks is nobody's promise.
        let mut hasher = DefaultHasher::new();
        hasher.write(request.to_string().as_bytes());
        let mut chance = Chance::new(hasher.finish());
        if chance.one_in(2) {
            self.store.send_later(request, chance);
        }
    }
}

impl Object {
    fn meta(&self, path: &Path) -> ObjectMeta {
        ObjectMeta {
            location: path.clone(),
            last_modified: (SystemTime::UNIX_EPOCH + Duration::from_millis(self.tick)).into(),
            size: self.bytes.len() as u64,
            e_tag: Some(self.tick.to_string()),
            version: None,
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(path, bytes, _) => write!(f, "put {path} of {} bytes", bytes.len()),
            Self::Delete(path) => write!(f, "delete {path}"),
        }
    }
}

fn check_mode(path: &Path, found: Option<u64>, mode: &PutMode) -> Result<()> {
    let (path, source) = (path.to_string(), "by the mode of the put".into());
    match (mode, found) {
        (PutMode::Create, Some(_)) => Err(Error::AlreadyExists { path, source }),
        (PutMode::Update(version), found)
            if version.e_tag.as_deref() != found.map(|tick| tick.to_string()).as_deref() =>
        {
            Err(Error::Precondition { path, source })
        }
        (PutMode::Create | PutMode::Overwrite | PutMode::Update(_), _) => Ok(()),
    }
}

fn not_found(path: &Path) -> Error {
    Error::NotFound { path: path.to_string(), source: "nothing is there".into() }
}

fn unavailable(why: &'static str) -> Error {
    Error::Generic { store: NAME, source: why.into() }
}

fn refuse<T>(operation: &str) -> Result<T> {
    Err(Error::NotImplemented { operation: operation.to_owned(), implementer: NAME.to_owned() })
}

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, to: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let tick = self.inner.change(Request::Put(to.clone(), payload.into(), options.mode)).await?;
        Ok(PutResult { e_tag: Some(tick.to_string()), version: None, extensions: Extensions::default() })
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        refuse("multipart put")
    }

    async fn get_opts(&self, from: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.sim.note(format_args!("get {from}"));
        self.inner.go().await?;
        let object = self.inner.find(from)?;
        let meta = object.meta(from);
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            None => 0..meta.size,
            Some(range) => {
                range.as_range(meta.size).map_err(|e| Error::Generic { store: NAME, source: Box::new(e) })?
            }
        };
        let bytes = slice(&object.bytes, &range);
        self.inner.come().await;
        let mut parts = vec![Ok(bytes.clone())];
        if self.inner.sim.strikes(self.inner.sim.weather().partial) {
            parts = vec![Ok(bytes.slice(..bytes.len() / 2)), Err(unavailable("the line broke"))];
        }
        let payload = GetResultPayload::Stream(stream::iter(parts).boxed());
        Ok(GetResult {
            payload,
            meta,
            range,
            attributes: Attributes::new(),
            extensions: Extensions::default(),
        })
    }

    async fn get_ranges(&self, from: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.sim.note(format_args!("get {ranges:?} of {from}"));
        self.inner.go().await?;
        let object = self.inner.find(from)?;
        self.inner.come().await;
        if self.inner.sim.strikes(self.inner.sim.weather().partial) {
            return Err(unavailable("the line broke"));
        }
        if ranges.iter().any(|range| range.start >= object.bytes.len() as u64) {
            return Err(unavailable("416 range not satisfiable"));
        }
        Ok(ranges.iter().map(|range| slice(&object.bytes, range)).collect())
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let inner = Arc::clone(&self.inner);
        let delete = move |location: Result<Path>| {
            let inner = Arc::clone(&inner);
            async move {
                let location = location?;
                inner.change(Request::Delete(location.clone())).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let metas = Arc::clone(&self.inner).metas(prefix.cloned());
        stream::once(metas).map_ok(stream::iter).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        refuse("list with delimiter")
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        refuse("copy")
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

/// What of a range is there.
fn slice(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(range.start)..at(range.end))
}
