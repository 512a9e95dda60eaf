"""What the programs of this folder share: the server in its release build, the disk, rows."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
# A volume without a server around it, and the clients that drive one.
BENCH = pathlib.Path(os.environ.get("KATAGAMI_BENCH", ROOT / "target/release/examples/bench"))
OWN_BINARY = "KATAGAMI" not in os.environ
os.environ.setdefault("KATAGAMI", str(ROOT / "target/release/katagami"))
sys.path.insert(0, str(ROOT / "tests/clients"))

import rig  # noqa: E402  (the path to it is set above)


def row(measure, unit, ours, peer=None, peer_name=None, target=None):
    """Prints one measurement; its ratio and whether its target is met are added by `cargo xtask bench`."""
    fields = {"measure": measure, "unit": unit, "ours": ours, "peer": peer, "peer_name": peer_name, "target": target}
    print(json.dumps(fields), flush=True)


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def server():
    """A server in an empty folder on the disk that holds target/."""
    if OWN_BINARY:
        subprocess.run(["cargo", "build", "-q", "--release", "--locked", "-p", "katagami"], cwd=ROOT, check=True)
    (ROOT / "target/bench").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "target/bench") as folder:
        started = rig.Server(pathlib.Path(folder) / "data")
        started.start()
        try:
            yield started
        finally:
            started.close()


def debian_disk():
    made = subprocess.run([ROOT / "demo/make-disk.sh"], stdout=subprocess.PIPE, text=True, check=True)
    return pathlib.Path(made.stdout.strip())


def push(started, disk, name):
    done = started.katagami("push", disk, "--name", name, timeout_s=3600)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def bench(*args):
    """What the volume's own program prints last, read as JSON."""
    done = subprocess.run([BENCH, *map(str, args)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def processor_seconds(pid):
    """What a process has used of the processor, for itself and for the kernel's work."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def allocated_mib(path):
    """What a file or everything in a folder takes on the disk."""
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return sum(f.stat().st_blocks for f in files) * 512 / 2**20
