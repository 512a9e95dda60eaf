//! What `bench/lazy.py` measures: how long a guest waits for a root disk that is in a distant bucket.
//!
//! `lazy DISK READS` puts a raw disk into a bucket and reads it as a guest did that booted from it, three times: on a
//! host that knows nothing, on another one when the first has left its trace, and again on that one. READS has a line
//! for each read of the guest, in order: microseconds that the guest did something else before it, offset, length.
//! Prints one JSON object for each boot.

#![expect(clippy::print_stdout, reason = "its report is its output")]

use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blockstore::{BLOCK_BYTES, CacheOptions, Domain, DomainSecret, Options, RemoteOptions, Root, Store};
use model::{Clock, OsIdGen, SystemClock};
use serde_json::{Value, json};
use testkit::s3::{Faults, S3Server};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const FIRST_BYTE: Duration = Duration::from_millis(20);
const BYTES_A_SECOND: u64 = 80_000_000;
const CACHE_BYTES: u64 = 4 << 30;
/// A read that takes less had all in memory.
const INSTANT: Duration = Duration::from_millis(1);
const INGESTED_BYTES: usize = 1 << 20;
const USAGE: &str = "usage: lazy DISK READS";

struct GuestRead {
    pause: Duration,
    offset: u64,
    len: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let [disk, reads] =
        <[String; 2]>::try_from(std::env::args().skip(1).collect::<Vec<_>>()).map_err(|_| USAGE)?;
    let reads = parse(&std::fs::read_to_string(reads)?)?;
    let server = S3Server::start(Faults::none()).await;
    let root = store(&server, Path::new(&disk)).await?;
    server.set_faults(Faults::none().paced(FIRST_BYTE, Some(BYTES_A_SECOND)));
    let hosts = [tempfile::tempdir()?, tempfile::tempdir()?];
    let [first, second] = [hosts[0].path(), hosts[1].path()];
    for (boot, host) in [("without a trace", first), ("with a trace", second), ("second instance", second)] {
        println!("{}", play(&server, boot, host, &root, &reads).await?);
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<GuestRead>> {
    let reads = text.lines().map(|line| {
        let numbers: Vec<u64> =
            line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
        let [pause, offset, len] = <[u64; 3]>::try_from(numbers).map_err(|_| "a line has three numbers")?;
        Ok(GuestRead { pause: Duration::from_micros(pause), offset, len: usize::try_from(len)? })
    });
    reads.collect()
}

/// The bucket as a process of its own sees it.
async fn open(server: &S3Server, host: Option<&Path>) -> Result<Domain> {
    let cache = host.map(|dir| CacheOptions { dir: dir.to_owned(), bytes_max: CACHE_BYTES });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let remote = RemoteOptions { cache, is_checked: false, ..RemoteOptions::new(clock) };
    let options = Options { remote: Some(remote), ..Options::default() };
    let store = Store::open(Store::s3(&server.options("lazy"))?, Arc::new(OsIdGen), options).await?;
    Ok(store.domain("d", &DomainSecret::new([7; 32])))
}

async fn store(server: &S3Server, disk: &Path) -> Result<Root> {
    let domain = open(server, None).await?;
    let mut file = File::open(disk)?;
    let size_bytes = file.metadata()?.len().next_multiple_of(BLOCK_BYTES);
    let mut writer = domain.writer(None, size_bytes).await?;
    let (mut offset, mut bytes) = (0, vec![0; INGESTED_BYTES]);
    while offset < size_bytes {
        let len = bytes.len().min(usize::try_from(size_bytes - offset)?);
        let part = bytes.get_mut(..len).unwrap_or_default();
        file.read_exact(part)?;
        writer.write(offset, part).await?;
        offset += len as u64;
    }
    Ok(writer.commit().await?.0)
}

/// One boot. What a read waits for beyond memory is a stall of the guest, which has nothing else to do.
async fn play(server: &S3Server, boot: &str, host: &Path, root: &Root, reads: &[GuestRead]) -> Result<Value> {
    let clock = SystemClock::new();
    let before = server.counts();
    let domain = open(server, Some(host)).await?;
    let opened = clock.monotonic();
    let reader = domain.launch_reader(root).await?;
    let opened = clock.monotonic().saturating_sub(opened);
    let (mut stall, mut stalls, mut longest) = (Duration::ZERO, 0, Duration::ZERO);
    let mut buf = Vec::new();
    for read in reads {
        tokio::time::sleep(read.pause).await;
        buf.resize(read.len, 0);
        let begun = clock.monotonic();
        reader.read_at(read.offset, &mut buf).await?;
        let waited = clock.monotonic().saturating_sub(begun);
        if waited >= INSTANT {
            stall += waited;
            stalls += 1;
            longest = longest.max(waited);
        }
    }
    // The trace is put when the boot is over, which a pause tells.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let after = server.counts();
    Ok(json!({
        "boot": boot,
        "opened_seconds": opened.as_secs_f64(),
        "stall_seconds": stall.as_secs_f64(),
        "stalls": stalls,
        "longest_seconds": longest.as_secs_f64(),
        "gets": after.gets - before.gets,
        "bytes": after.bytes_out - before.bytes_out,
    }))
}
