"""A volume in a guest's memory: what a request over vhost-user-blk costs the server, against QEMU's storage daemon.

The client is a guest's driver of our own that looks for answers without sleeping, on one ring. Server figures are
processor time of the server's process per request, the time in which it looks for requests included.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import common

SPAN = 256 << 20
SECONDS = 2
ROUNDS = 3


def load(served, kind, depth, block, seconds=SECONDS):
    """(microseconds of the server's processor per request, requests per second, median wait in microseconds)"""
    pid, socket = served
    before = common.processor_seconds(pid)
    told = common.bench("vload", socket, kind, depth, seconds, SPAN, block)
    spent = common.processor_seconds(pid) - before
    return spent / told["requests"] * 1e6, told["requests"] / (told["nanos"] / 1e9), told["p50_nanos"] / 1e3


@contextlib.contextmanager
def ours(folder, *base):
    socket = folder / "ours.vhost"
    command = [common.BENCH, "serve", folder / "volume", str(SPAN), socket, *map(str, base)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        json.loads(process.stdout.readline())
        yield process.pid, socket
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        socket.unlink(missing_ok=True)
        shutil.rmtree(folder / "volume", ignore_errors=True)


@contextlib.contextmanager
def daemon(folder, *blockdevs):
    socket = folder / "daemon.vhost"
    nodes = [word for blockdev in blockdevs for word in ("--blockdev", blockdev)]
    export = f"vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path={socket},writable=on"
    process = subprocess.Popen(["qemu-storage-daemon", *nodes, "--export", export])
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            assert time.monotonic() < deadline and process.poll() is None, "qemu-storage-daemon does not listen"
            time.sleep(0.01)
        yield process.pid, socket
    finally:
        process.terminate()
        process.wait(timeout=60)
        socket.unlink(missing_ok=True)


def make_raw(folder):
    raw = folder / "base.raw"
    with raw.open("wb") as file:
        for number in range(SPAN >> 20):
            text = (b"%08d The quick brown fox jumps over the lazy dog. " % number) * 20_000
            file.write(b"".join(os.urandom(2048) + text[at:at + 2048] for at in range(0, 256 * 2048, 2048)))
    return raw


def file_node(path, name, aio="threads"):
    return f"driver=file,node-name={name},filename={path},aio={aio}"


def main():
    if "KATAGAMI_BENCH" not in os.environ:
        build = ["cargo", "build", "-q", "--release", "--locked", "-p", "volume", "--example", "bench"]
        subprocess.run(build, cwd=common.ROOT, check=True)
    (common.ROOT / "target/bench").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=common.ROOT / "target/bench") as name:
        folder = pathlib.Path(name)
        raw, overlay = make_raw(folder), folder / "overlay.qcow2"
        root = common.bench("store", raw, folder / "store")["root"]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", overlay], check=True)
        qcow2 = "driver=qcow2,node-name=disk,file=top,backing=bottom"
        servers = {
            "ours": lambda: ours(folder, folder / "store", root),
            "ours, from the log": lambda: ours(folder),
            "storage daemon raw, io_uring": lambda: daemon(folder, file_node(raw, "disk", "io_uring")),
            "storage daemon qcow2 overlay": lambda: daemon(folder, file_node(raw, "bottom"), file_node(overlay, "top"), qcow2),
        }
        loads = {"QD32": ("read", 32, 4096), "QD1": ("read", 1, 4096), "128 KiB": ("sequential", 8, 131072), "write": ("write", 16, 4096)}
        results = {}
        for server, serve in servers.items():
            with serve() as served:
                if server == "ours, from the log":
                    for _ in range(2):
                        load(served, "write", 16, 4096, seconds=1)
                load(served, "read", 32, 4096, seconds=1)
                for what, (kind, depth, block) in loads.items():
                    rounds = [load(served, kind, depth, block) for _ in range(ROUNDS)]
                    costs, rates, waits = zip(*rounds)
                    results[server, what] = min(costs), max(rates), min(waits)
                    common.say(f"{server}, {what}: {results[server, what]}")
        rows(list(servers), results)


def rows(servers, results):
    columns = [
        ("4 KiB read in shared memory, QD32: server", "us", "QD32", 0, "ours <= 3"),
        ("4 KiB read in shared memory, QD32", "IOPS", "QD32", 1, "ours >= 300000"),
        ("4 KiB read in shared memory, QD1: median", "us", "QD1", 2, "ours <= 5"),
        ("128 KiB read in shared memory, QD8: server", "us", "128 KiB", 0, None),
        ("4 KiB write in shared memory, QD16: server", "us", "write", 0, None),
    ]
    for measure, unit, what, number, target in columns:
        for peer in servers[1:]:
            common.row(measure, unit, results["ours", what][number], results[peer, what][number], peer, target)
            target = None


main()
