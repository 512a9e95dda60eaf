"""How long a guest waits for a root disk that lies in a bucket 20 ms away behind a link of 80 MB/s.

A Debian guest boots once from the disk itself, up to cloud-init, and every read is written down with what the guest did between them.
`crates/testkit/examples/lazy` reads the same from the bucket: on a host without anything, on another one with the
trace that the first has left, and once more there. The peer has no trace and no cache, and fetches what is missing
when it is read: 128 KiB at a time, as its readers' own reads are.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import tempfile

import common
import rig

LAZY = pathlib.Path(os.environ.get("KATAGAMI_LAZY", common.ROOT / "target/release/examples/lazy"))
# A faster one leaves the guest less to do between its reads.
ACCELERATOR = os.environ.get("ACCELERATOR", "tcg")
BOOT_S = 120
FIRST_BYTE_S = 0.020
BYTES_A_SECOND = 80e6
UNIT = 128 << 10
LOG_LINE = re.compile(r"^\S+ (\S+) connection=\d+ (\.\.\.)?Read id=(\d+) ?(?:offset=(\S+) count=(\S+))?")


def boot(disk, folder):
    """When QEMU was started, and the reads of a boot: (begin, end, offset, length), in the order in which they began."""
    log, socket, console = folder / "log", folder / "disk.sock", folder / "console"
    nbdkit = subprocess.Popen(
        ["nbdkit", "-f", "-U", socket, "--filter=log", "--filter=cow", "file", disk, f"logfile={log}"]
    )
    rig.wait_for(socket.exists, 10, "nbdkit")
    begun = datetime.datetime.now().time().isoformat()
    qemu = subprocess.Popen(
        ["qemu-system-x86_64", "-machine", f"q35,accel={ACCELERATOR}", "-cpu", "max", "-m", "1024", "-display", "none", "-nodefaults",
         "-serial", f"file:{console}", "-no-reboot", "-drive", f"file=nbd+unix:///?socket={socket},format=raw,if=virtio"]
    )
    try:
        # What follows waits for a metadata service that is not there.
        rig.wait_for(lambda: console.exists() and b"Cloud-init v" in console.read_bytes(), BOOT_S, "cloud-init")
    finally:
        for process in (qemu, nbdkit):
            process.terminate()
            process.wait(timeout=30)
    return seconds(begun), parse(log.read_text())


def seconds(stamp):
    hours, minutes, rest = stamp.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def parse(text):
    begun, reads = {}, []
    for line in text.splitlines():
        found = LOG_LINE.match(line)
        if not found:
            continue
        stamp, is_end, number, offset, count = found.groups()
        if is_end:
            begin, offset, count = begun.pop(number)
            reads.append((begin, seconds(stamp), offset, count))
        else:
            begun[number] = seconds(stamp), int(offset, 16), int(count, 16)
    return sorted(reads)


def with_pauses(begun, reads):
    """A line for each read: what the guest (first of all QEMU itself) did before it, in microseconds, besides reading."""
    lines, last = [], begun
    for begin, end, offset, count in reads:
        lines.append(f"{max(0, round((begin - last) * 1e6))} {offset} {count}")
        last = max(last, end)
    return "\n".join(lines) + "\n"


def on_demand_seconds(reads):
    """What the same boot waits where each unit that is missing is one request."""
    missing = {unit for _, _, offset, count in reads for unit in range(offset // UNIT, (offset + count - 1) // UNIT + 1)}
    return len(missing) * (FIRST_BYTE_S + UNIT / BYTES_A_SECOND), len(missing)


def main():
    if "KATAGAMI_LAZY" not in os.environ:
        build = ["cargo", "build", "-q", "--release", "--locked", "-p", "testkit", "--example", "lazy"]
        subprocess.run(build, cwd=common.ROOT, check=True)
    disk = common.debian_disk()
    with tempfile.TemporaryDirectory(dir=common.ROOT / "target/bench") as name:
        folder = pathlib.Path(name)
        begun, reads = boot(disk, folder)
        common.say(f"{len(reads)} reads in a boot of {reads[-1][1] - begun:.1f} s")
        (folder / "reads").write_text(with_pauses(begun, reads))
        told = subprocess.run([LAZY, disk, folder / "reads"], stdout=subprocess.PIPE, text=True, check=True).stdout
    boots = {boot["boot"]: boot for boot in map(json.loads, told.splitlines())}
    for found in boots.values():
        common.say(json.dumps(found))
    peer, units = on_demand_seconds(reads)
    peers = (peer, f"{units} requests of 128 KiB, computed")
    common.row("stall of a boot, first", "s", boots["without a trace"]["stall_seconds"], *peers, "ours <= 3")
    common.row("stall of a boot, traced", "s", boots["with a trace"]["stall_seconds"], *peers, "ours <= 0.1")
    common.row("gets of a second instance", "", boots["second instance"]["gets"], target="ours <= 0")
    common.row("stall of a second instance", "s", boots["second instance"]["stall_seconds"], target="ours <= 0.1")


if __name__ == "__main__":
    main()
