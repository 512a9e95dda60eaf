//! How long a guest's writes stand still while its volume is frozen.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use volume::nbd::Export;
use volume::{Spec, Volume, ZeroBase};

use super::Result;
use super::client::{self, Kind, Load, Served};

const BETWEEN_FREEZES: Duration = Duration::from_millis(25);
/// A busy guest, and not one that takes both processors: then it would wait for these and not for the freeze.
const BETWEEN_WRITES: Duration = Duration::from_micros(200);
/// Writes before the first freeze, which tell what is usual.
const WARM_UP: Duration = Duration::from_secs(1);
const SPAN_BYTES: u64 = 256 << 20;

pub(crate) async fn measure(dir: &Path, size_bytes: u64, count: usize) -> Result<Value> {
    Volume::create(dir, &Spec { size_bytes, base_root: None, domain: None })?;
    let volume = Volume::open(dir, Arc::new(ZeroBase)).await?;
    let socket = dir.join("bench.sock");
    let listener = UnixListener::bind(&socket)?;
    let shutdown = CancellationToken::new();
    let export = Export { name: "bench".to_owned(), read_only: false };
    let server = tokio::spawn(volume::nbd::serve(volume.clone(), listener, export, shutdown.clone()));
    let clock = Arc::new(SystemClock::new());
    let writes = Arc::new(AtomicBool::new(true));
    let writer = {
        let (clock, writes) = (Arc::clone(&clock), Arc::clone(&writes));
        std::thread::spawn(move || {
            let load = Load { kind: Kind::Rewrite, depth: 1, span_bytes: SPAN_BYTES };
            client::drive(client::connect(&socket)?, &load, &clock, |_| {
                std::thread::sleep(BETWEEN_WRITES);
                writes.load(Ordering::Acquire)
            })
        })
    };
    tokio::time::sleep(WARM_UP).await;
    let mut freezes = Vec::new();
    for number in 0..count {
        let key = format!("freeze-{number}");
        let from = clock.monotonic();
        volume.freeze(&key).await?;
        freezes.push(Served { from, to: clock.monotonic() });
        volume.release(&key).await?;
        tokio::time::sleep(BETWEEN_FREEZES).await;
    }
    writes.store(false, Ordering::Release);
    let written = writer.join().map_err(|_| "the writer panicked")??;
    shutdown.cancel();
    server.await?;
    volume.close().await?;
    Ok(report(&written, &freezes))
}

/// The pause of a freeze is the longest wait of a write that met it.
fn report(written: &[Served], freezes: &[Served]) -> Value {
    let wait = |served: &Served| served.to.saturating_sub(served.from).as_nanos();
    let mut pauses: Vec<u128> = freezes
        .iter()
        .map(|freeze| {
            let first = written.partition_point(|write| write.to < freeze.from);
            let met = written.iter().skip(first).take_while(|write| write.from <= freeze.to);
            met.map(wait).max().unwrap_or(0)
        })
        .collect();
    pauses.sort_unstable();
    let mut usual: Vec<u128> = written.iter().map(wait).collect();
    usual.sort_unstable();
    let percentile = |waits: &[u128], percent: usize| waits.get(waits.len() * percent / 100).copied();
    json!({
        "freezes": freezes.len(),
        "writes": written.len(),
        "pause_p50_nanos": percentile(&pauses, 50),
        "pause_p99_nanos": percentile(&pauses, 99),
        "pause_max_nanos": pauses.last(),
        "usual_p50_nanos": percentile(&usual, 50),
        "usual_p99_nanos": percentile(&usual, 99),
    })
}
