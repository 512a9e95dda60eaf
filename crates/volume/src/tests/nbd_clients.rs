//! The NBD server against clients that other people wrote, where they are installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::noise;
use crate::nbd::{Export, serve};
use crate::{Base, MemoryBase, Spec, Volume, ZeroBase};
use futures::future::BoxFuture;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const MIB: usize = 1 << 20;

/// A base that is never there at once.
#[derive(Debug)]
struct SlowBase(MemoryBase);

impl Base for SlowBase {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_at<'a>(&'a self, offset_bytes: u64, buf: &'a mut [u8]) -> BoxFuture<'a, crate::Result<()>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.0.read_at(offset_bytes, buf).await
        })
    }
}

struct Served {
    dir: tempfile::TempDir,
    volume: Volume,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Served {
    async fn start(size_bytes: usize, base: Arc<dyn Base>, read_only: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spec = Spec { size_bytes: size_bytes as u64, base_root: None, domain: None };
        Volume::create(&dir.path().join("volume"), &spec).unwrap();
        let volume = Volume::open(&dir.path().join("volume"), base).await.unwrap();
        let listener = UnixListener::bind(dir.path().join("sock")).unwrap();
        let shutdown = CancellationToken::new();
        let export = Export { name: "disk".to_owned(), read_only };
        let server = tokio::spawn(serve(volume.clone(), listener, export, shutdown.clone()));
        Self { dir, volume, shutdown, server }
    }

    fn uri(&self) -> String {
        format!("nbd+unix:///disk?socket={}", self.dir.path().join("sock").display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.server.await.unwrap();
        self.volume.close().await.unwrap();
    }
}

/// Runs a client, which must be there.
#[expect(clippy::disallowed_methods, reason = "foreign clients are the point of these tests")]
async fn run(program: &str, args: &[&str]) -> String {
    let is_there =
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|dir| dir.join(program).exists());
    assert!(is_there, "{program} is not installed: scripts/setup-system.sh clients");
    let mut command = Command::new(program);
    command.args(args);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {text}{errors}");
    text
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nbdinfo_sees_what_is_offered() {
    let served = Served::start(64 * MIB, Arc::new(ZeroBase), false).await;
    let info = run("nbdinfo", &[&served.uri()]).await;
    for line in [
        "export-size: 67108864",
        "can_multi_conn: true",
        "can_flush: true",
        "can_fua: true",
        "can_trim: true",
        "can_zero: true",
        "can_cache: true",
        "is_read_only: false",
        "block_size_minimum: 512",
        "base:allocation",
    ] {
        assert!(info.contains(line), "{line} in {info}");
    }
    let list = run("nbdinfo", &["--list", &served.uri()]).await;
    assert!(list.contains("export=\"disk\""), "{list}");
    let map = run("nbdinfo", &["--map", &served.uri()]).await;
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "67108864", "3", "hole,zero"]);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nbdcopy_writes_and_reads_back() {
    let served = Served::start(8 * MIB, Arc::new(MemoryBase::new(noise(1, 4 * MIB))), false).await;
    let (sent, fetched) = (served.path("sent"), served.path("fetched"));
    let mut content = noise(1, 9 * MIB).split_off(MIB);
    content[3 * MIB..5 * MIB].fill(0);
    std::fs::write(&sent, &content).unwrap();
    run("nbdcopy", &["--flush", text(&sent), &served.uri()]).await;
    run("nbdcopy", &[&served.uri(), text(&fetched)]).await;
    assert!(std::fs::read(&fetched).unwrap() == content, "nbdcopy fetched something else");
    let mut read = vec![0; content.len()];
    served.volume.read_at(0, &mut read).await.unwrap();
    assert!(read == content, "the volume holds something else");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_base_shows_through_and_its_end_reads_as_zeros() {
    let base = noise(1, MIB + 512);
    let slow = SlowBase(MemoryBase::new(base.clone()));
    let served = Served::start(2 * MIB, Arc::new(slow), true).await;
    let fetched = served.path("fetched");
    run("nbdcopy", &[&served.uri(), text(&fetched)]).await;
    let mut expected = base;
    expected.resize(2 * MIB, 0);
    assert!(std::fs::read(&fetched).unwrap() == expected, "nbdcopy fetched something else");
    let info = run("nbdinfo", &[&served.uri()]).await;
    assert!(info.contains("is_read_only: true"), "{info}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fio_verifies_what_it_wrote_through_several_connections() {
    let served = Served::start(16 * MIB, Arc::new(MemoryBase::new(noise(2, 4 * MIB))), false).await;
    let job = served.path("job");
    let settings = format!(
        "[global]\nioengine=nbd\nuri={}\nverify=crc32c\nverify_fatal=1\niodepth=16\nfsync=50\nsize=4m\n\
         [a]\nrw=randwrite\nbs=4k\noffset=0\n[b]\nrw=randwrite\nbsrange=512-64k\nbs_unaligned=0\noffset=8m\n",
        served.uri()
    );
    std::fs::write(&job, settings).unwrap();
    run("fio", &[text(&job)]).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qemu_agrees_about_content_and_allocation() {
    let served = Served::start(4 * MIB, Arc::new(MemoryBase::new(noise(3, MIB))), false).await;
    let uri = served.uri();
    let commands =
        ["write -P 0x5a 64k 128k", "write -z 96k 4k", "discard 128k 32k", "write -P 1 512 512", "flush"];
    let mut args = vec!["-f", "raw"];
    for command in commands {
        args.extend(["-c", command]);
    }
    args.push(&uri);
    run("qemu-io", &args).await;
    let mut expected = noise(3, MIB);
    expected.resize(4 * MIB, 0);
    expected[64 << 10..192 << 10].fill(0x5a);
    expected[96 << 10..100 << 10].fill(0);
    expected[128 << 10..160 << 10].fill(0);
    expected[512..1024].fill(1);
    let raw = served.path("raw");
    std::fs::write(&raw, &expected).unwrap();
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", text(&raw), &uri]).await;
    let map = run("qemu-img", &["map", "--output=json", "-f", "raw", &uri]).await;
    assert!(map.contains("\"zero\": true"), "{map}");
    served.stop().await;
}
