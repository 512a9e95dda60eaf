//! The vhost-user device as a guest and a machine see it, well-behaved and not.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use model::SystemClock;
use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::SealFlags;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vhost::VhostBackend as _;
use vhost::vhost_user::VhostUserFrontend as _;
use vhost::vhost_user::message::VhostUserConfigFlags;
use vm_memory::{Bytes as _, GuestAddress};

use super::vhost_client::{CONFIG_WCE, Client, Data, Driver, EVENT_IDX, FLUSH, SLOTS};
use super::{noise, temp_dir};
use crate::base::{Base, MemoryBase, ZeroBase};
use crate::disk::{Disk, OsDisk};
use crate::segment::Segment;
use crate::vhost::{Device, serve};
use crate::volume::{Options, Spec, Volume};

const MIB: usize = 1 << 20;
const READ: u32 = 0;
const WRITE: u32 = 1;
const FLUSH_CACHE: u32 = 4;
const GET_ID: u32 = 8;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;
const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;
const SERIAL: &str = "vol0123456789abcdef0";
const PATIENCE: Duration = Duration::from_secs(10);

struct Served {
    dir: TempDir,
    volume: Volume,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Served {
    async fn start(size_bytes: usize, base: Arc<dyn Base>, disk: Arc<dyn Disk>) -> Self {
        let dir = temp_dir();
        let spec = Spec { size_bytes: size_bytes as u64, base_root: None, domain: None };
        Volume::create(&dir.path().join("volume"), &spec).unwrap();
        let options = Options { disk, segment_bytes_max: None };
        let volume = Volume::open_with(&dir.path().join("volume"), base, options).await.unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let shutdown = CancellationToken::new();
        let device = Device { serial: SERIAL.to_owned(), queue_count: 4 };
        let clock = Arc::new(SystemClock::new());
        let server = tokio::spawn(serve(volume.clone(), listener, device, clock, shutdown.clone()));
        Self { dir, volume, shutdown, server }
    }

    async fn plain(size_bytes: usize) -> Self {
        Self::start(size_bytes, Arc::new(ZeroBase), Arc::new(OsDisk)).await
    }

    fn connect(&self, features: u64) -> Client {
        Client::connect(&self.dir.path().join("sock"), 4, 128 << 10, features)
    }

    /// Somebody else's request gets an answer.
    fn is_well(&self) {
        let mut client = self.connect(FLUSH);
        assert_eq!(ask(&mut client.rings[0], READ, 0, Data::ToGuest(512)), OK);
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.server).await.expect("the server ends").unwrap();
        self.volume.close().await.unwrap();
    }
}

fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    for _ in 0..100_000 {
        if let Some(found) = attempt() {
            return found;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    panic!("never: {what}");
}

/// One request in slot 0, answered.
fn ask(ring: &mut Driver, kind: u32, sector: u64, data: Data) -> u8 {
    ring.submit(0, kind, sector, data);
    ring.kick();
    assert_eq!(eventually("an answer", || ring.answered()), 0);
    ring.status(0)
}

fn write(ring: &mut Driver, sector: u64, data: &[u8]) -> u8 {
    ring.put(0, data);
    ask(ring, WRITE, sector, Data::FromGuest(u32::try_from(data.len()).unwrap()))
}

fn read(ring: &mut Driver, sector: u64, len: u32) -> Vec<u8> {
    assert_eq!(ask(ring, READ, sector, Data::ToGuest(len)), OK);
    ring.get(0, len)
}

fn range(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    [sector.to_le_bytes().as_slice(), &sectors.to_le_bytes(), &flags.to_le_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_request_does_what_it_says() {
    let served = Served::start(8 * MIB, Arc::new(MemoryBase::new(noise(1, MIB))), Arc::new(OsDisk)).await;
    let mut client = served.connect(FLUSH | EVENT_IDX | CONFIG_WCE);
    let config = client.config();
    assert_eq!(config[..8], (8 * MIB as u64 / 512).to_le_bytes());
    assert_eq!((config[32], config[34]), (1, 4), "a write cache, and four rings");

    let [first, second, ..] = client.rings.as_mut_slice() else { panic!("rings") };
    assert_eq!(read(first, 0, 64 << 10), noise(1, 64 << 10), "the base shows through");
    let (data, short) = (noise(2, 100 << 10), noise(3, 512));
    assert_eq!(write(first, 8, &data), OK);
    assert_eq!(write(second, 9, &short), OK);
    let mut expected = data.clone();
    expected[512..1024].copy_from_slice(&short);
    assert_eq!(read(second, 8, 100 << 10), expected);
    let mut stored = vec![0; 100 << 10];
    served.volume.read_at(4096, &mut stored).await.unwrap();
    assert_eq!(stored, expected);

    let stats = served.volume.stats().unwrap();
    assert!(stats.durable_seq < stats.written_seq);
    assert_eq!(ask(second, FLUSH_CACHE, 0, Data::FromGuest(0)), OK);
    let stats = served.volume.stats().unwrap();
    assert_eq!(stats.durable_seq, stats.written_seq);

    first.put(0, &[range(8, 8, 1), range(24, 1, 0)].concat());
    assert_eq!(ask(first, WRITE_ZEROES, 0, Data::FromGuest(32)), OK);
    first.put(0, &range(32, 8, 0));
    assert_eq!(ask(first, DISCARD, 0, Data::FromGuest(16)), OK);
    expected[..4096].fill(0);
    expected[8192..8704].fill(0);
    expected[12_288..16_384].fill(0);
    assert_eq!(read(first, 8, 100 << 10), expected);

    assert_eq!(ask(first, GET_ID, 0, Data::ToGuest(20)), OK);
    assert_eq!(first.get(0, 20), SERIAL.as_bytes());
    drop(client);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_and_the_ring_goes_on() {
    let served = Served::plain(MIB).await;
    let mut client = served.connect(FLUSH);
    let ring = &mut client.rings[0];
    let end = MIB as u64 / 512;
    for (kind, sector, data, expected) in [
        (READ, end, Data::ToGuest(512), IO_ERROR),
        (READ, end - 1, Data::ToGuest(1024), IO_ERROR),
        (READ, u64::MAX, Data::ToGuest(512), IO_ERROR),
        (READ, u64::MAX / 512, Data::ToGuest(512), IO_ERROR),
        (READ, 0, Data::ToGuest(513), IO_ERROR),
        (READ, 0, Data::ToGuest(0), OK),
        (WRITE, end, Data::FromGuest(512), IO_ERROR),
        (WRITE, 0, Data::FromGuest(100), IO_ERROR),
        (77, 0, Data::FromGuest(0), UNSUPPORTED),
        (u32::MAX, 0, Data::ToGuest(64), UNSUPPORTED),
        (DISCARD, 0, Data::FromGuest(0), IO_ERROR),
        (DISCARD, 0, Data::FromGuest(15), IO_ERROR),
        (DISCARD, 0, Data::FromGuest(8192), IO_ERROR),
        (GET_ID, 0, Data::ToGuest(4), OK),
    ] {
        assert_eq!(ask(ring, kind, sector, data), expected, "{kind} at {sector} of {data:?}");
    }
    for (bad, expected) in [
        (range(0, 1, 1), UNSUPPORTED),
        (range(end, 1, 0), IO_ERROR),
        (range(u64::MAX / 512, u32::MAX, 0), IO_ERROR),
    ] {
        ring.put(0, &bad);
        assert_eq!(ask(ring, DISCARD, 0, Data::FromGuest(16)), expected);
    }
    assert_eq!(write(ring, 0, &[7; 512]), OK);
    drop(client);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_flush_or_a_cache_every_write_is_durable() {
    let served = Served::plain(MIB).await;
    let is_durable = || {
        let stats = served.volume.stats().unwrap();
        stats.durable_seq == stats.written_seq
    };
    let mut simple = served.connect(0);
    assert_eq!(simple.config()[32], 0, "no cache");
    assert_eq!(write(&mut simple.rings[0], 0, &[1; 512]), OK);
    assert!(is_durable());
    drop(simple);
    let mut client = served.connect(FLUSH | CONFIG_WCE);
    assert_eq!(write(&mut client.rings[0], 0, &[2; 512]), OK);
    assert!(!is_durable());
    client.frontend.set_config(32, VhostUserConfigFlags::WRITABLE, &[0]).unwrap();
    assert_eq!(client.config()[32], 0);
    assert_eq!(write(&mut client.rings[0], 0, &[3; 512]), OK);
    assert!(is_durable());
    drop(client);
    served.stop().await;
}

/// Four rings, each in its part of the volume, full of requests: what is read is what was written last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rings_work_side_by_side_and_a_snapshot_is_taken_meanwhile() {
    const BLOCKS: usize = SLOTS as usize;
    let served = Served::start(8 * MIB, Arc::new(MemoryBase::new(noise(5, MIB))), Arc::new(OsDisk)).await;
    let mut client = served.connect(FLUSH | EVENT_IDX);
    let mut chance = super::disk::Chance(11);
    let mut written = vec![[0_u8; BLOCKS]; 4];
    let sector = |ring: usize, slot: usize| (4 << 20 >> 9) + (ring * BLOCKS + slot) as u64 * 8;
    let mut frozen = None;
    for round in 1..=40 {
        let mut waits = [0_usize; 4];
        for ring in &mut client.rings {
            let number = ring.number();
            for (slot, holds) in written[number].iter_mut().enumerate() {
                let place = u16::try_from(slot).unwrap();
                if chance.below(2) == 0 {
                    ring.put(place, &[round; 4096]);
                    ring.submit(place, WRITE, sector(number, slot), Data::FromGuest(4096));
                    *holds = round;
                } else {
                    ring.put(place, &[0xee; 4096]);
                    ring.submit(place, READ, sector(number, slot), Data::ToGuest(4096));
                }
                waits[number] += 1;
            }
            ring.kick();
        }
        for ring in &mut client.rings {
            let number = ring.number();
            for _ in 0..waits[number] {
                let slot = eventually("an answer", || ring.answered());
                assert_eq!(ring.status(slot), OK);
                assert_eq!(ring.get(slot, 4096), [written[number][usize::from(slot)]; 4096]);
            }
        }
        if round == 20 {
            served.volume.freeze("snap-1").await.unwrap();
            frozen = Some(written.clone());
        }
    }
    let view = crate::FrozenView::open(&served.dir.path().join("volume"), "snap-1").unwrap();
    for (ring, blocks) in frozen.unwrap().iter().enumerate() {
        for (slot, expected) in blocks.iter().enumerate() {
            let mut block = [0; 4096];
            view.read_at(sector(ring, slot) * 512, &mut block).unwrap();
            assert_eq!(block, [*expected; 4096], "ring {ring}, block {slot}");
        }
    }
    drop(client);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_sleeps_is_called() {
    for features in [FLUSH, FLUSH | EVENT_IDX] {
        let served = Served::plain(MIB).await;
        let mut client = served.connect(features);
        let ring = &mut client.rings[0];
        for kind in [READ, FLUSH_CACHE, WRITE, FLUSH_CACHE] {
            let is_early = ring.await_call();
            assert!(!is_early);
            let data = if kind == READ {
                Data::ToGuest(512)
            } else {
                Data::FromGuest(if kind == WRITE { 512 } else { 0 })
            };
            ring.submit(0, kind, 0, data);
            ring.kick();
            eventually("a call", || ring.was_called().then_some(()));
            assert_eq!(ring.answered(), Some(0));
        }
        drop(client);
        served.stop().await;
    }
}

/// A base that answers when it is let.
#[derive(Debug)]
struct SlowBase {
    permits: Semaphore,
}

impl Base for SlowBase {
    fn size_bytes(&self) -> u64 {
        MIB as u64
    }

    fn read_at<'a>(&'a self, _: u64, buf: &'a mut [u8]) -> BoxFuture<'a, crate::Result<()>> {
        Box::pin(async move {
            self.permits.acquire().await.unwrap().forget();
            buf.fill(9);
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_waits_holds_up_nothing_but_the_end() {
    let base = Arc::new(SlowBase { permits: Semaphore::new(0) });
    let served = Served::start(2 * MIB, Arc::clone(&base) as _, Arc::new(OsDisk)).await;
    let mut client = served.connect(FLUSH | EVENT_IDX);
    let ring = &mut client.rings[0];
    ring.submit(1, READ, 0, Data::ToGuest(4096));
    ring.submit(2, READ, 8, Data::ToGuest(4096));
    assert_eq!(write(ring, 64, &[1; 512]), OK);
    assert_eq!(read(ring, 64, 512), [1; 512]);
    base.permits.add_permits(1);
    let first = eventually("an answer", || ring.answered());
    assert_eq!((ring.status(first), ring.get(first, 4096)), (OK, vec![9; 4096]));

    // The other is answered before the ring has stopped.
    let releasing = Arc::clone(&base);
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        releasing.permits.add_permits(1);
    });
    assert_eq!(client.stop(0), 4);
    release.join().unwrap();
    let second = client.rings[0].answered().unwrap();
    assert_eq!((client.rings[0].status(second), second == first), (OK, false));

    // The ring goes on where it stopped; what is never answered fails in the end.
    client.start(0, 4).unwrap();
    let ring = &mut client.rings[0];
    assert_eq!(read(ring, 64, 512), [1; 512]);
    ring.submit(3, READ, 0, Data::ToGuest(4096));
    ring.kick();
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(client.stop(0), 6);
    assert_eq!(client.rings[0].answered(), Some(3));
    assert_eq!(client.rings[0].status(3), IO_ERROR);
    base.permits.add_permits(9);
    drop(client);
    served.stop().await;
}

#[derive(Debug, Default)]
struct SmallDisk {
    is_full: AtomicBool,
}

impl Disk for SmallDisk {
    fn write(&self, segment: &Segment, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        OsDisk.write(segment, position, parts)
    }

    fn sync(&self, segment: &Segment) -> io::Result<()> {
        OsDisk.sync(segment)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.sync_dir(dir)
    }

    fn remove(&self, segment: &Segment) -> io::Result<()> {
        OsDisk.remove(segment)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_space_and_fails_only_with_its_ring() {
    let disk = Arc::new(SmallDisk::default());
    let served = Served::start(MIB, Arc::new(ZeroBase), Arc::clone(&disk) as _).await;
    let mut client = served.connect(FLUSH | EVENT_IDX);
    let ring = &mut client.rings[0];
    assert_eq!(write(ring, 0, &[1; 512]), OK);
    disk.is_full.store(true, Ordering::SeqCst);
    ring.put(1, &[2; 512]);
    ring.submit(1, WRITE, 0, Data::FromGuest(512));
    ring.kick();
    assert_eq!(read(ring, 0, 512), [1; 512], "reads go on");
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(ring.answered(), None);
    disk.is_full.store(false, Ordering::SeqCst);
    assert_eq!(eventually("space", || ring.answered()), 1);
    assert_eq!((ring.status(1), read(ring, 0, 512)), (OK, vec![2; 512]));

    disk.is_full.store(true, Ordering::SeqCst);
    ring.submit(1, WRITE, 0, Data::FromGuest(512));
    ring.kick();
    std::thread::sleep(Duration::from_millis(20));
    client.stop(0);
    assert_eq!(client.rings[0].answered(), Some(1));
    assert_eq!(client.rings[0].status(1), IO_ERROR);
    drop(client);
    disk.is_full.store(false, Ordering::SeqCst);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_could_be_cut_away_is_refused() {
    let served = Served::plain(MIB).await;
    let socket = served.dir.path().join("sock");
    assert!(Client::connect_with(&socket, 1, 4096, FLUSH, SealFlags::GROW).is_err());
    served.is_well();
    let mut client = served.connect(FLUSH);
    client.rings[0].submit(0, READ, 0, Data::ToGuest(512));
    drop(client);
    served.is_well();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_ends_the_conversation() {
    let served = Served::plain(MIB).await;
    let mut client = served.connect(FLUSH);
    assert_eq!(write(&mut client.rings[0], 0, &[1; 512]), OK);
    served.stop().await;
    assert!(client.frontend.get_features().is_err());
}

#[derive(Debug, Clone)]
enum Hostile {
    Describe(u16, u64, u32, u16, u16),
    Noise(u64, Vec<u8>),
    Offer(u16),
    SetAvail(u16),
    Kick,
}

fn hostile() -> impl Strategy<Value = Hostile> {
    let address = prop_oneof![0..0x4_0000_u64, any::<u64>(), Just(u64::MAX), Just(1 << 40)];
    let len = prop_oneof![0..9000_u32, any::<u32>(), Just(16)];
    prop_oneof![
        4 => (0..12_u16, address, len, 0..8_u16, prop_oneof![0..12_u16, any::<u16>()])
            .prop_map(|(at, address, len, flags, next)| Hostile::Describe(at, address, len, flags, next)),
        2 => (0..0x1_2000_u64, vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Hostile::Noise(at, bytes)),
        4 => prop_oneof![0..12_u16, any::<u16>()].prop_map(Hostile::Offer),
        1 => any::<u16>().prop_map(Hostile::SetAvail),
        2 => Just(Hostile::Kick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn no_ring_kills_the_device(acts in vec(vec(hostile(), 1..80), 1..6)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let served = Served::plain(MIB).await;
            for acts in acts {
                let mut client = served.connect(FLUSH);
                let [first, .., last] = client.rings.as_mut_slice() else { panic!("rings") };
                for act in acts {
                    match act {
                        Hostile::Describe(at, address, len, flags, next) => first.describe(at, address, len, flags, next),
                        Hostile::Noise(at, bytes) => client.memory.write_slice(&bytes, GuestAddress(at)).unwrap(),
                        Hostile::Offer(head) => first.offer(head),
                        Hostile::SetAvail(index) => first.set_avail(index),
                        Hostile::Kick => first.kick(),
                    }
                }
                first.kick();
                // Another ring of the same device, while the first one is at work or given up.
                assert_eq!(ask(last, READ, 0, Data::ToGuest(512)), OK);
            }
            served.is_well();
            served.stop().await;
        });
    }

    #[test]
    fn no_bytes_kill_the_socket(says in vec((0..60_u32, any::<u32>(), vec(any::<u8>(), 0..80), any::<bool>()), 1..12)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let served = Served::plain(MIB).await;
            for (request, flags, body, is_framed) in says {
                let mut stream = std::os::unix::net::UnixStream::connect(served.dir.path().join("sock")).unwrap();
                let flags = if is_framed { 1 } else { flags };
                let size = if is_framed { u32::try_from(body.len()).unwrap() } else { flags };
                let header = [request.to_le_bytes(), flags.to_le_bytes(), size.to_le_bytes()].concat();
                // It may hang up in the middle of a sentence.
                drop(stream.write_all(&[header, body].concat()));
            }
            served.is_well();
            served.stop().await;
        });
    }
}
