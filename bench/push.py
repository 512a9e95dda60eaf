"""A disk becomes an image: seconds and stored bytes, into an empty store and into one that has it."""

import subprocess
import tempfile
import time

import common


def timed(run):
    begin = time.monotonic()
    run()
    return time.monotonic() - begin


def convert(disk, folder, *options):
    """Seconds and MiB of `qemu-img convert`, with the target flushed as a push flushes."""
    out = common.pathlib.Path(folder) / "disk.qcow2"
    out.unlink(missing_ok=True)
    command = ["qemu-img", "convert", "-O", "qcow2", *options, disk, out]
    seconds = timed(lambda: (subprocess.run(command, check=True), subprocess.run(["sync", out], check=True)))
    return seconds, common.allocated_mib(out)


def main():
    disk = common.debian_disk()
    disk.read_bytes()  # into the page cache, for all alike
    with common.server() as server, tempfile.TemporaryDirectory(dir=common.ROOT / "target/bench") as folder:
        store = server.data / "store"
        first = timed(lambda: common.push(server, disk, "first"))
        first_mib = common.allocated_mib(store)
        again = timed(lambda: common.push(server, disk, "again"))
        again_mib = common.allocated_mib(store) - first_mib
        packed, packed_mib = convert(disk, folder, "-c", "-o", "compression_type=zstd")
        plain, plain_mib = convert(disk, folder)
    peer = "qemu-img convert -c, zstd"
    common.row("push a Debian disk", "s", first, packed, peer, "ratio <= 1.0")
    common.row("stored for it", "MiB", first_mib, packed_mib, peer, "ratio <= 1.0")
    common.row("push it again", "s", again, plain, "qemu-img convert")
    common.row("stored for it again", "MiB", again_mib, plain_mib, "qemu-img convert", "ours <= 8")


if __name__ == "__main__":
    main()
