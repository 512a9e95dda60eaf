//! Clients that lie, or vanish at any byte. The server and the volume outlive them all.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use super::disk::ForgetfulDisk;
use super::{VOLUME_BYTES, create, noise, open, temp_dir};
use crate::nbd::{Export, serve};
use crate::volume::Volume;

const NO_ZEROES: u32 = 3;
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const TRIM: u16 = 4;
const CACHE: u16 = 5;
const ZERO: u16 = 6;
const STATUS: u16 = 7;

struct Rig {
    _dir: TempDir,
    socket: PathBuf,
    volume: Volume,
    disk: Arc<ForgetfulDisk>,
    shutdown: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn start(read_only: bool) -> Self {
        let dir = temp_dir();
        create(dir.path());
        let disk = Arc::new(ForgetfulDisk::default());
        let volume = open(dir.path(), &disk).await.unwrap();
        let socket = dir.path().join("sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let shutdown = CancellationToken::new();
        let export = Export { name: "x".to_owned(), read_only };
        let server = tokio::spawn(serve(volume.clone(), listener, export, shutdown.clone()));
        Self { _dir: dir, socket, volume, disk, shutdown, server }
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).await.unwrap()
    }

    /// A client in transmission.
    async fn client(&self) -> UnixStream {
        let mut stream = self.connect().await;
        stream.write_all(&hello()).await.unwrap();
        stream.read_exact(&mut [0; 28]).await.unwrap();
        stream
    }

    /// Says all of `bytes`, leaves, and waits until the server noticed.
    async fn say_and_leave(&self, bytes: &[u8]) {
        let mut stream = self.connect().await;
        // The server may hang up first.
        drop(stream.write_all(bytes).await);
        drop(stream.shutdown().await);
        let mut heard = Vec::new();
        let heard = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut heard)).await;
        drop(heard.expect("the server hangs up on a client that left"));
    }

    /// An honest client still gets what it asks for.
    async fn is_well(&self) {
        let mut stream = self.connect().await;
        stream.write_all(&[hello(), request(READ, 0, 1, 0, 512)].concat()).await.unwrap();
        let mut reply = [0; 18 + 10 + 16 + 512];
        stream.read_exact(&mut reply).await.unwrap();
        let mut expected = [0; 512];
        self.volume.read_at(0, &mut expected).await.unwrap();
        assert_eq!(reply[44..], expected);
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.server).await.unwrap().unwrap();
        self.volume.close().await.unwrap();
    }
}

fn option(number: u32, data: &[u8]) -> Vec<u8> {
    let len = u32::try_from(data.len()).unwrap().to_be_bytes();
    [b"IHAVEOPT".as_slice(), &number.to_be_bytes(), &len, data].concat()
}

/// Straight to transmission, by the old way, without the padding.
fn hello() -> Vec<u8> {
    [NO_ZEROES.to_be_bytes().to_vec(), option(1, b"x")].concat()
}

fn request(command: u16, flags: u16, cookie: u64, offset: u64, len: u32) -> Vec<u8> {
    [
        0x2560_9513_u32.to_be_bytes().as_slice(),
        &flags.to_be_bytes(),
        &command.to_be_bytes(),
        &cookie.to_be_bytes(),
        &offset.to_be_bytes(),
        &len.to_be_bytes(),
    ]
    .concat()
}

fn conversation() -> Vec<u8> {
    let go = [[0, 0, 0, 1].as_slice(), b"x", &[0, 1, 0, 3]].concat();
    let context = [[0, 0, 0, 1].as_slice(), b"x", &[0, 0, 0, 1, 0, 0, 0, 15], b"base:allocation"].concat();
    [
        NO_ZEROES.to_be_bytes().to_vec(),
        option(3, b""),
        option(8, b""),
        option(10, &context),
        option(6, &go),
        option(99, b"?"),
        option(7, &go),
        request(WRITE, 1, 1, 512, 1024),
        noise(1, 1024),
        request(READ, 0, 2, 0, 4096),
        request(STATUS, 0, 3, 0, 65_536),
        request(ZERO, 0, 4, 100, 900),
        request(TRIM, 0, 5, 0, 4096),
        request(CACHE, 0, 6, 0, 4096),
        request(FLUSH, 0, 7, 0, 0),
        request(DISCONNECT, 0, 8, 0, 0),
    ]
    .concat()
}

#[tokio::test]
async fn a_client_may_vanish_at_any_byte() {
    let rig = Rig::start(false).await;
    let whole = conversation();
    for end in 0..=whole.len() {
        rig.say_and_leave(&whole[..end]).await;
        if end % 64 == 0 {
            rig.is_well().await;
        }
    }
    rig.is_well().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_silent_clients() {
    let rig = Rig::start(false).await;
    let mut silent = Vec::new();
    for end in [0, 4, 30, 60, conversation().len() - 30] {
        let mut stream = rig.connect().await;
        stream.write_all(&conversation()[..end]).await.unwrap();
        silent.push(stream);
    }
    rig.is_well().await;
    rig.stop().await;
}

#[tokio::test]
async fn hostile_requests_are_refused_and_the_connection_goes_on() {
    let rig = Rig::start(false).await;
    let size = VOLUME_BYTES as u64;
    let mut stream = rig.connect().await;
    stream.write_all(&hello()).await.unwrap();
    stream.read_exact(&mut [0; 28]).await.unwrap();
    for (command, offset, len) in [
        (READ, 0, u32::MAX),
        (READ, 0, (32 << 20) + 1),
        (READ, size - 511, 512),
        (READ, u64::MAX, 512),
        (READ, u64::MAX - 511, 512),
        (TRIM, size, 512),
        (ZERO, u64::MAX - 5, 512),
        (ZERO, 1, u32::MAX),
        (CACHE, size, 1),
        (STATUS, 0, 512),
        (77, 0, 0),
    ] {
        stream.write_all(&request(command, 0, 42, offset, len)).await.unwrap();
        let mut reply = [0; 16];
        stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[4..8], 22_u32.to_be_bytes(), "command {command} at {offset} of {len}");
        assert_eq!(reply[8..], 42_u64.to_be_bytes());
    }
    stream.write_all(&request(WRITE, 0, 42, 0, (32 << 20) + 1)).await.unwrap();
    assert_eq!(
        stream.read(&mut [0; 16]).await.unwrap(),
        0,
        "a payload nobody could hold ends the connection"
    );
    rig.is_well().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_read_only_export_refuses_every_change() {
    let rig = Rig::start(true).await;
    let mut stream = rig.connect().await;
    let before = super::content(&rig.volume).await;
    stream.write_all(&hello()).await.unwrap();
    stream.read_exact(&mut [0; 28]).await.unwrap();
    for (command, payload) in [(WRITE, 512), (TRIM, 0), (ZERO, 0)] {
        stream.write_all(&[request(command, 0, 1, 0, 512), vec![1; payload]].concat()).await.unwrap();
        let mut reply = [0; 16];
        stream.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[4..8], 1_u32.to_be_bytes(), "command {command}");
    }
    assert!(super::content(&rig.volume).await == before);
    rig.stop().await;
}

/// The cookie and the error of a reply without data.
async fn answered(stream: &mut UnixStream) -> (u64, u32) {
    let mut reply = [0; 16];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut reply)).await;
    read.expect("an answer").unwrap();
    (u64::from_be_bytes(reply[8..].try_into().unwrap()), u32::from_be_bytes(reply[4..8].try_into().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_wait_while_the_disk_is_full_and_reads_go_on() {
    let rig = Rig::start(false).await;
    let mut stream = rig.client().await;
    rig.disk.is_full.store(true, Ordering::SeqCst);
    let held = [request(WRITE, 0, 1, 0, 512), vec![1; 512], request(ZERO, 1, 2, 4096, 512)].concat();
    stream.write_all(&held).await.unwrap();
    stream.write_all(&request(READ, 0, 3, 0, 512)).await.unwrap();
    let mut read = [0; 16 + 512];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(read[8..16], 3_u64.to_be_bytes());
    assert_eq!(read[16..], super::base_bytes()[..512]);
    rig.disk.is_full.store(false, Ordering::SeqCst);
    let mut answers = [answered(&mut stream).await, answered(&mut stream).await];
    answers.sort_unstable();
    assert_eq!(answers, [(1, 0), (2, 0)]);
    assert_eq!(super::content(&rig.volume).await[..512], [1; 512]);
    // Nobody makes room: with the end of the server comes the error.
    rig.disk.is_full.store(true, Ordering::SeqCst);
    stream.write_all(&[request(WRITE, 0, 4, 0, 512), vec![2; 512]].concat()).await.unwrap();
    stream.write_all(&request(READ, 0, 5, 0, 512)).await.unwrap();
    stream.read_exact(&mut read).await.unwrap();
    rig.shutdown.cancel();
    assert_eq!(answered(&mut stream).await, (4, 28));
    rig.disk.is_full.store(false, Ordering::SeqCst);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushes_that_wait_together_share_one_sync() {
    let rig = Rig::start(false).await;
    let before = rig.disk.syncs.load(Ordering::SeqCst);
    let turn = rig.volume.inner.sync.lock().await;
    let mut clients = Vec::new();
    for client in 0..8 {
        let mut stream = rig.client().await;
        stream.write_all(&[request(WRITE, 0, 1, client * 512, 512), vec![1; 512]].concat()).await.unwrap();
        assert_eq!(answered(&mut stream).await, (1, 0));
        let flushes = [request(FLUSH, 0, 2, 0, 0), request(FLUSH, 0, 2, 0, 0)].concat();
        stream.write_all(&flushes).await.unwrap();
        clients.push(stream);
    }
    drop(turn);
    for stream in &mut clients {
        assert_eq!([answered(stream).await, answered(stream).await], [(2, 0); 2]);
    }
    assert_eq!(rig.disk.syncs.load(Ordering::SeqCst) - before, 1);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_fetches_nothing_is_read_no_further() {
    let rig = Rig::start(false).await;
    let mut stream = rig.client().await;
    let greedy = tokio::spawn(async move {
        // The replies would be 512 MiB.
        for cookie in 0..8192 {
            stream.write_all(&request(READ, 0, cookie, 0, 65_536)).await?;
        }
        stream.read_exact(&mut [0; 16]).await
    });
    rig.is_well().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    greedy.abort();
    rig.is_well().await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_one_by_one_and_at_once_give_the_same() {
    let rig = Rig::start(false).await;
    let mut stream = rig.client().await;
    let mut expected = super::content(&rig.volume).await;
    for round in 0..40_u8 {
        let at = usize::from(round) * 512;
        stream.write_all(&[request(WRITE, 0, 1, at as u64, 512), vec![round; 512]].concat()).await.unwrap();
        assert_eq!(answered(&mut stream).await, (1, 0));
        expected[at..at + 512].fill(round);
        stream.write_all(&request(FLUSH, 0, 2, 0, 0)).await.unwrap();
        assert_eq!(answered(&mut stream).await, (2, 0));
    }
    let stats = rig.volume.stats().unwrap();
    assert_eq!(stats.durable_seq, stats.written_seq);
    let mut all = Vec::new();
    for round in 0..40_u8 {
        let at = 8192 + usize::from(round) * 700;
        all.extend(request(WRITE, u16::from(round % 5 == 0), u64::from(round), at as u64, 700));
        all.extend(vec![round; 700]);
        expected[at..at + 700].fill(round);
    }
    stream.write_all(&all).await.unwrap();
    for _ in 0..40 {
        assert_eq!(answered(&mut stream).await.1, 0);
    }
    // Neighbours in one sector were written by requests in flight together: these are all there.
    assert!(super::content(&rig.volume).await == expected);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_on_one_connection_covers_writes_of_another() {
    let rig = Rig::start(false).await;
    let (mut writer, mut flusher) = (rig.connect().await, rig.connect().await);
    for stream in [&mut writer, &mut flusher] {
        stream.write_all(&hello()).await.unwrap();
        stream.read_exact(&mut [0; 28]).await.unwrap();
    }
    writer.write_all(&[request(WRITE, 0, 1, 0, 512), vec![1; 512]].concat()).await.unwrap();
    writer.read_exact(&mut [0; 16]).await.unwrap();
    assert!(rig.volume.stats().unwrap().durable_seq < rig.volume.stats().unwrap().written_seq);
    flusher.write_all(&request(FLUSH, 0, 1, 0, 0)).await.unwrap();
    flusher.read_exact(&mut [0; 16]).await.unwrap();
    let stats = rig.volume.stats().unwrap();
    assert_eq!(stats.durable_seq, stats.written_seq);
    rig.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn no_bytes_kill_the_server(
        says in vec((any::<bool>(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), vec(any::<u8>(), 0..200)), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = Rig::start(false).await;
            for (in_transmission, changes, random) in &says {
                let mut bytes = conversation();
                for (at, byte) in changes {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
                if *in_transmission {
                    bytes = [hello(), random.clone()].concat();
                } else if changes.is_empty() {
                    bytes.clone_from(random);
                }
                rig.say_and_leave(&bytes).await;
            }
            rig.is_well().await;
            rig.stop().await;
        });
    }
}
