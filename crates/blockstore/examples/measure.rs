//! What `bench/store.py` measures of the store by itself, without a server around it. Prints one JSON
//! object a disk, with the wall and the processor seconds that it took.
//!
//! `measure ingest STORE DISK...` stores raw disks one after another, each published under its file's name.
//! `measure restore STORE NAME FILE` writes a stored disk into a sparse file.
//! `measure unchanged STORE NAME` snapshots a disk of which nothing has changed since it was stored.
//! `measure repack STORE [BATCH_MIB]` packs everything densely and deletes what is left over.
//! `measure copy STORE NAME [BASE]` copies a disk into another domain; with a base, as a change of it.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use blockstore::{BLOCK_BYTES, Domain, DomainSecret, Options, Policy, Repack, Store};
use bytes::Bytes;
use model::{Clock as _, OsIdGen, SystemClock};
use rustix::fs::SeekFrom;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// What is read of a disk at once.
const READ_BYTES: u64 = 1 << 20;
const UNCHANGED_ROUNDS: u32 = 9;
const REPACKED_MIB: u64 = 1024;
/// Reads ahead of the writer.
const READS_AHEAD: usize = 4;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["ingest", store, disks @ ..] => ingest(store, disks).await,
        ["restore", store, name, file] => restore(store, name, file).await,
        ["unchanged", store, name] => unchanged(store, name).await,
        ["repack", store] => repack(store, REPACKED_MIB).await,
        ["repack", store, mib] => repack(store, mib.parse()?).await,
        ["copy", store, name] => copy(store, name, None).await,
        ["copy", store, name, base] => copy(store, name, Some(base)).await,
        _ => Err("usage: measure ingest|restore|unchanged|repack|copy STORE ...".into()),
    }
}

async fn open(store: &str) -> Result<Domain> {
    open_domain(store, "measured", 7).await
}

async fn open_domain(store: &str, domain: &str, secret: u8) -> Result<Domain> {
    let objects = Store::local(Path::new(store))?;
    let store = Store::open(objects, Arc::new(OsIdGen), Options::default()).await?;
    Ok(store.domain(domain, &DomainSecret::new([secret; 32])))
}

async fn ingest(store: &str, disks: &[&str]) -> Result<()> {
    let domain = open(store).await?;
    for disk in disks {
        let meter = Meter::start();
        let size_bytes = std::fs::metadata(disk)?.len().next_multiple_of(BLOCK_BYTES);
        let mut writer = domain.writer(None, size_bytes).await?;
        let (sender, receiver) = sync_channel(READS_AHEAD);
        let file = File::open(disk)?;
        let reader = std::thread::spawn(move || read_data(&file, &sender));
        while let Ok((offset, bytes)) = tokio::task::block_in_place(|| receiver.recv()) {
            writer.write_bytes(offset, bytes).await?;
        }
        reader.join().map_err(|_| "the reading thread failed")??;
        let (root, stats) = writer.commit().await?;
        domain.publish(&name(disk), &root, None).await?;
        print(&meter.stop(json!({
            "disk": name(disk),
            "bytes": stats.bytes_written,
            "stored_bytes": stats.stored_bytes,
            "node_bytes": stats.node_bytes,
            "new_blocks": stats.new_blocks,
            "packs": stats.packs,
        })))?;
    }
    Ok(())
}

/// Sends what a file has outside its holes.
fn read_data(file: &File, to: &SyncSender<(u64, Bytes)>) -> Result<()> {
    let mut at = 0;
    loop {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Err(rustix::io::Errno::NXIO) => return Ok(()),
            start => start? / BLOCK_BYTES * BLOCK_BYTES,
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(start))?.next_multiple_of(BLOCK_BYTES);
        at = start;
        while at < end {
            let stop = end.min((at / READ_BYTES + 1) * READ_BYTES);
            to.send((at, read(file, at, usize::try_from(stop - at)?)?.into()))?;
            at = stop;
        }
    }
}

/// What is beyond the end of the file is zeros.
fn read(mut file: &File, at: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len);
    file.seek(io::SeekFrom::Start(at))?;
    file.take(len as u64).read_to_end(&mut bytes)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

async fn restore(store: &str, name: &str, file: &str) -> Result<()> {
    let domain = open(store).await?;
    let meter = Meter::start();
    let reader = domain.reader(&domain.load(name).await?).await?;
    let file = File::create(file)?;
    file.set_len(reader.size_bytes())?;
    let (sender, parts) = sync_channel::<Vec<(u64, Bytes)>>(READS_AHEAD);
    let writer = std::thread::spawn(move || -> io::Result<()> {
        parts.iter().flatten().try_for_each(|(offset, part)| file.write_all_at(&part, offset))
    });
    let mut contents = reader.contents();
    while let Some(parts) = contents.next().await? {
        tokio::task::block_in_place(|| sender.send(parts))?;
    }
    drop(sender);
    writer.join().map_err(|_| "the writing thread failed")??;
    print(&meter.stop(json!({ "disk": name, "bytes": reader.full_size_bytes() })))
}

/// As a job of the server does it, which has the store open.
async fn unchanged(store: &str, name: &str) -> Result<()> {
    let domain = open(store).await?;
    let base = domain.load(name).await?;
    for round in 0..UNCHANGED_ROUNDS {
        let meter = Meter::start();
        let writer = domain.writer(Some(&base), base.size_bytes()).await?;
        let (root, stats) = writer.commit().await?;
        domain.publish(&format!("{name}-{round}"), &root, Some(&base)).await?;
        print(&meter.stop(json!({ "disk": name, "stored_bytes": stats.stored_bytes })))?;
    }
    Ok(())
}

/// As `katagami gc --repack all --now --retire 0` does it.
async fn repack(store: &str, batch_mib: u64) -> Result<()> {
    let domain = open(store).await?;
    let before = stored_bytes(Path::new(store))?;
    let policy = Policy { dead_time: Duration::ZERO, retire_time: Duration::ZERO, node_packs: 1 << 20 };
    let meter = Meter::start();
    let (mut moved_bytes, mut new_packs) = (0, 0);
    loop {
        let now = SystemClock::new().now();
        let Some(done) = domain.repack(&[], now, &policy, Repack::All, batch_mib << 20).await? else {
            continue;
        };
        moved_bytes += done.moved_blocks * BLOCK_BYTES;
        new_packs += done.new_packs;
        if done.is_done {
            break;
        }
    }
    let row = meter.stop(json!({ "bytes": moved_bytes, "packs": new_packs }));
    // What the first round finds dead the second condemns, and one that begins a while later deletes.
    for pause in [Duration::ZERO, Duration::ZERO, Duration::from_secs(6)] {
        tokio::time::sleep(pause).await;
        domain.collect(&[], SystemClock::new().now(), &policy).await?;
    }
    let mut row = row;
    if let Some(row) = row.as_object_mut() {
        row.insert("stored_bytes_before".to_owned(), json!(before));
        row.insert("stored_bytes".to_owned(), json!(stored_bytes(Path::new(store))?));
    }
    print(&row)
}

/// Of packs, trees, names and maps; what the collector notes for itself is not counted.
fn stored_bytes(dir: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type()))?;
        bytes += if kind?.is_dir() { stored_bytes(&path)? } else { std::fs::metadata(&path)?.len() };
    }
    Ok(bytes)
}

async fn copy(store: &str, name: &str, base: Option<&str>) -> Result<()> {
    let source = open(store).await?;
    let target = open_domain(store, "elsewhere", 8).await?;
    let pair = match base {
        Some(base) => Some((source.load(base).await?, target.load(base).await?)),
        None => None,
    };
    let meter = Meter::start();
    let root = source.load(name).await?;
    let base = pair.as_ref().map(|(from, to)| (from, to));
    let (copy, stats) = target.copy_from(&source, &root, base).await?;
    target.publish(name, &copy, None).await?;
    print(&meter.stop(json!({
        "disk": name,
        "bytes": stats.bytes_read,
        "fetched_bytes": stats.fetched_bytes,
        "stored_bytes": stats.written.stored_bytes,
    })))
}

fn name(disk: &str) -> String {
    Path::new(disk).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[derive(Debug)]
struct Meter {
    wall: Duration,
    cpu: Duration,
}

impl Meter {
    fn start() -> Self {
        Self { wall: now(ClockId::Monotonic), cpu: now(ClockId::ProcessCPUTime) }
    }

    fn stop(&self, mut row: Value) -> Value {
        let since = |clock, start| json!(now(clock).saturating_sub(start).as_secs_f64());
        if let Some(row) = row.as_object_mut() {
            row.insert("seconds".to_owned(), since(ClockId::Monotonic, self.wall));
            row.insert("cpu_seconds".to_owned(), since(ClockId::ProcessCPUTime, self.cpu));
        }
        row
    }
}

fn now(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

fn print(row: &Value) -> Result<()> {
    writeln!(io::stdout(), "{row}")?;
    Ok(())
}
