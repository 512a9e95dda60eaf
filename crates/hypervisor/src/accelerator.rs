//! Which accelerator runs 64-bit guests on this host, found out by booting one.
//!
//! A KVM device that opens and names its version proves nothing: variants exist under which firmware
//! starts and kernels hang, and hosts where QEMU gives up on the processor model. So the probe boots the
//! tiny guest with the very arguments that instances get, and with a deadline.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::qemu::Qemu;
use crate::tiny_guest;

/// A working KVM boots the probe in a tenth of a second; where it takes seconds, emulation is faster.
const KVM_DEADLINE: Duration = Duration::from_secs(2);
const TCG_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    Kvm,
    Tcg,
}

impl Accelerator {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// The values of `-accel` and `-cpu`.
    pub(crate) const fn options(self) -> (&'static str, &'static str) {
        match self {
            Self::Kvm => ("kvm", "host"),
            Self::Tcg => ("tcg,thread=multi", "max"),
        }
    }
}

/// What a kept answer depends on.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Host {
    qemu: String,
    kernel: String,
    cpu: String,
    kvm_device: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    host: Host,
    accelerator: Accelerator,
    /// None until somebody asked.
    #[serde(default)]
    vhost_user_blk: Option<bool>,
}

const VHOST_USER_BLK: &str = "vhost-user-blk-pci";

/// The best accelerator that works, from `cache_file` when QEMU, kernel and processor are still those of
/// the last probe.
pub async fn choose(qemu: &Qemu, cache_file: &Path) -> Result<Accelerator> {
    let host = Host::describe(qemu);
    if let Some(kept) = recall(cache_file)
        && kept.host == host
    {
        return Ok(kept.accelerator);
    }
    let accelerator = probe(qemu).await?;
    remember(cache_file, &Remembered { host, accelerator, vhost_user_blk: None });
    Ok(accelerator)
}

/// Whether this QEMU has virtio disks whose server works in the guest's memory. The answer is kept with that
/// of [`choose`], which must have been asked before.
pub async fn has_vhost_user_blk(qemu: &Qemu, cache_file: &Path) -> bool {
    let kept = recall(cache_file).filter(|kept| kept.host == Host::describe(qemu));
    if let Some(known) = kept.as_ref().and_then(|kept| kept.vhost_user_blk) {
        return known;
    }
    let found = qemu.has_device(VHOST_USER_BLK).await;
    if let Some(kept) = kept {
        remember(cache_file, &Remembered { vhost_user_blk: Some(found), ..kept });
    }
    found
}

/// Boots the tiny guest under KVM, then under TCG, and returns the first that runs it.
pub async fn probe(qemu: &Qemu) -> Result<Accelerator> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(Accelerator::Tcg);
    }
    if Path::new("/dev/kvm").exists() {
        match boots(qemu, Accelerator::Kvm, KVM_DEADLINE).await {
            Ok(()) => return Ok(Accelerator::Kvm),
            Err(error) => tracing::info!(%error, "KVM does not run a 64-bit guest here; using emulation"),
        }
    }
    boots(qemu, Accelerator::Tcg, TCG_DEADLINE).await.map(|()| Accelerator::Tcg)
}

/// Boots the probe from a file without a name, which QEMU reads as its standard input.
#[expect(clippy::disallowed_methods, reason = "this room starts QEMU")]
async fn boots(qemu: &Qemu, accelerator: Accelerator, deadline: Duration) -> Result<()> {
    let image = nameless_file(&tiny_guest::probe_image())
        .map_err(|e| Error::caused(Kind::Unavailable, "write the probe's disk", e))?;
    let (accel, cpu) = accelerator.options();
    let output = tokio::process::Command::new(qemu.binary())
        .args(["-machine", "pc", "-accel", accel, "-cpu", cpu, "-m", "32M"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .args(["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"])
        .args(["-chardev", "file,id=out,path=/proc/self/fd/1", "-serial", "chardev:out"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
        .args([
            "-blockdev",
            r#"{"driver":"file","node-name":"probe","read-only":true,"filename":"/proc/self/fd/0"}"#,
        ])
        .args(["-device", "virtio-blk-pci,drive=probe"])
        .stdin(image)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(deadline, output)
        .await
        .map_err(|_| failed(accelerator, "it does not finish in time"))?
        .map_err(|e| Error::caused(Kind::Unavailable, "start the probe", e))?;
    let printed = output.stdout.ends_with(tiny_guest::PROBE_TOKEN.as_bytes());
    if printed && output.status.code() == Some(tiny_guest::PROBE_STATUS) {
        return Ok(());
    }
    Err(failed(accelerator, String::from_utf8_lossy(&output.stderr).trim()))
}

fn failed(accelerator: Accelerator, why: &str) -> Error {
    Error::new(Kind::Unavailable, format!("the probe fails under {}: {why}", accelerator.as_str()))
}

fn nameless_file(bytes: &[u8]) -> std::io::Result<std::fs::File> {
    let memory = rustix::fs::memfd_create("katagami-probe", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(memory);
    std::io::Write::write_all(&mut file, bytes)?;
    Ok(file)
}

impl Host {
    fn describe(qemu: &Qemu) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let about = |key: &str| cpuinfo.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        Self {
            qemu: format!("{} {}", qemu.binary().display(), qemu.version()),
            kernel: read("/proc/version").trim().to_owned(),
            cpu: format!("{} {}", about("model name"), about("microcode")),
            kvm_device: Path::new("/dev/kvm").exists(),
        }
    }
}

fn recall(cache_file: &Path) -> Option<Remembered> {
    serde_json::from_slice(&std::fs::read(cache_file).ok()?).ok()
}

/// Best effort: without the file, or with a torn one, the next start probes again.
fn remember(cache_file: &Path, answer: &Remembered) {
    let written = serde_json::to_vec(answer)
        .map_err(std::io::Error::from)
        .and_then(|bytes| std::fs::write(cache_file, bytes));
    if let Err(error) = written {
        tracing::warn!(%error, "the accelerator probe's answer could not be kept");
    }
}
