//! A volume behind its server, in a process of its own so that its processor time can be told.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use blockstore::{DomainSecret, Options, Root, Store};
use model::{Clock as _, OsIdGen, SystemClock};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use volume::nbd::Export;
use volume::vhost::Device;
use volume::{Base, Spec, Volume, ZeroBase};

use super::Result;

const DOMAIN: &str = "bench";
const SECRET: [u8; 32] = [7; 32];
const STEP_BYTES: usize = 1 << 20;
/// Everything that the measurements read stays decoded.
const FRAME_CACHE_BYTES: u64 = 1 << 30;

async fn open_store(store: &Path) -> Result<Store> {
    let objects = Store::local(store)?;
    let options = Options { frame_cache_bytes: FRAME_CACHE_BYTES, ..Options::default() };
    Ok(Store::open(objects, Arc::new(OsIdGen), options).await?)
}

pub(crate) async fn store(raw: &Path, store: &Path) -> Result<Value> {
    let mut file = std::fs::File::open(raw)?;
    let size_bytes = file.metadata()?.len();
    let domain = open_store(store).await?.domain(DOMAIN, &DomainSecret::new(SECRET));
    let mut writer = domain.writer(None, size_bytes).await?;
    let mut step = vec![0; STEP_BYTES];
    for at in (0..size_bytes).step_by(STEP_BYTES) {
        let len = STEP_BYTES.min(usize::try_from(size_bytes - at)?);
        let part = step.get_mut(..len).unwrap_or_default();
        file.read_exact(part)?;
        writer.write(at, part).await?;
    }
    let (root, _) = writer.commit().await?;
    Ok(json!({ "root": root.to_string() }))
}

/// Tells when it listens; answers each line with the figures of the volume, and ends with its input.
pub(crate) async fn serve(dir: &Path, size_bytes: u64, socket: &Path, base: &[&str]) -> Result<Value> {
    let clock = SystemClock::new();
    let spec = Spec { size_bytes, base_root: None, domain: None };
    Volume::create(dir, &spec)?;
    let created = clock.monotonic();
    let base = open_base(base).await?;
    let before = clock.monotonic();
    let volume = Volume::open(dir, base).await?;
    let opened = clock.monotonic().saturating_sub(before);
    let listener = UnixListener::bind(socket)?;
    let shutdown = CancellationToken::new();
    let server = if socket.extension().is_some_and(|protocol| protocol == "vhost") {
        let device = Device { serial: "bench".to_owned(), queue_count: 1 };
        tokio::spawn(volume::vhost::serve(
            volume.clone(),
            listener,
            device,
            Arc::new(clock),
            shutdown.clone(),
        ))
    } else {
        let export = Export { name: "bench".to_owned(), read_only: false };
        tokio::spawn(volume::nbd::serve(volume.clone(), listener, export, shutdown.clone()))
    };
    println!("{}", json!({ "create_nanos": created.as_nanos(), "open_nanos": opened.as_nanos() }));
    while tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await?? > 0 {
        println!("{}", stats(&volume)?);
    }
    shutdown.cancel();
    server.await?;
    volume.close().await?;
    stats(&volume)
}

fn stats(volume: &Volume) -> Result<Value> {
    let stats = volume.stats()?;
    Ok(json!({ "log_bytes": stats.log_bytes, "live_bytes": stats.live_bytes, "extents": stats.extent_count }))
}

async fn open_base(base: &[&str]) -> Result<Arc<dyn Base>> {
    let [store, root] = base else { return Ok(Arc::new(ZeroBase)) };
    let root: Root = root.parse()?;
    let reader =
        open_store(Path::new(store)).await?.domain(DOMAIN, &DomainSecret::new(SECRET)).reader(&root).await?;
    let mut step = vec![0; STEP_BYTES];
    for at in (0..root.size_bytes()).step_by(STEP_BYTES) {
        let len = STEP_BYTES.min(usize::try_from(root.size_bytes() - at)?);
        reader.read_at(at, step.get_mut(..len).unwrap_or_default()).await?;
    }
    Ok(Arc::new(reader))
}
