"""A volume at its limit: what a request costs the server, what a flush costs, how long a freeze holds writes up.

Server figures are processor time of the server's process per request; wall time depends on the other core.
"""

import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

import common

SPAN = 256 << 20
BLOCK = 4096
SECONDS = 2
ROUNDS = 3
HUGE = 64 << 40
SMALL = 1 << 30
FREEZES = 200


def resident_mib(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def load(served, kind, depth, span=SPAN, seconds=SECONDS):
    """(microseconds of the server's processor per request, requests per second, median wait in microseconds)"""
    before = common.processor_seconds(served.pid)
    told = common.bench("load", served.socket, kind, depth, seconds, span)
    spent = common.processor_seconds(served.pid) - before
    requests = told["requests"]
    return spent / requests * 1e6, requests / (told["nanos"] / 1e9), told["p50_nanos"] / 1e3


class Served:
    def __init__(self, process, socket):
        self.process, self.pid, self.socket = process, process.pid, socket
        self.told = None

    def ask(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextlib.contextmanager
def ours(folder, size, *base):
    socket = folder / "ours.sock"
    command = [common.BENCH, "serve", folder / "volume", str(size), socket, *map(str, base)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    served = Served(process, socket)
    try:
        served.told = json.loads(process.stdout.readline())
        yield served
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        socket.unlink(missing_ok=True)


@contextlib.contextmanager
def peer(folder, *command):
    socket = folder / "peer.sock"
    words = [str(word).replace("SOCKET", str(socket)) for word in command]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            assert time.monotonic() < deadline and process.poll() is None, f"{words[0]} does not listen"
            time.sleep(0.01)
        yield Served(process, socket)
    finally:
        process.terminate()
        process.wait(timeout=60)
        socket.unlink(missing_ok=True)


def qemu_nbd(image, image_format, *options):
    return ["qemu-nbd", "-t", "-e", "4", "-f", image_format, *options, "-k", "SOCKET", image]


def make_raw(folder):
    """Half noise, half text, so that frames compress as disks do."""
    raw = folder / "base.raw"
    with raw.open("wb") as file:
        for number in range(SPAN >> 20):
            text = (b"%08d The quick brown fox jumps over the lazy dog. " % number) * 20_000
            file.write(b"".join(os.urandom(2048) + text[at:at + 2048] for at in range(0, 256 * 2048, 2048)))
    return raw


def overlay(folder, raw, name, options=""):
    path = folder / name
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw"]
    subprocess.run([*command, *(["-o", options] if options else []), path], check=True)
    return path


def reads(folder, raw, root):
    servers = {
        "ours": lambda: ours(folder, SPAN, folder / "store", root),
        "nbdkit file": lambda: peer(folder, "nbdkit", "-f", "-U", "SOCKET", "file", raw),
        "qemu-nbd raw": lambda: peer(folder, *qemu_nbd(raw, "raw")),
        "qemu-nbd raw, io_uring": lambda: peer(folder, *qemu_nbd(raw, "raw", "--aio=io_uring")),
        "qemu-nbd qcow2 overlay": lambda: peer(folder, *qemu_nbd(overlay(folder, raw, "read.qcow2"), "qcow2")),
    }
    results = {}
    for name, serve in servers.items():
        with serve() as served:
            load(served, "read", 32, seconds=1)
            for depth in (32, 1):
                rounds = [load(served, "read", depth, seconds=1 if name != "ours" else SECONDS) for _ in range(ROUNDS)]
                results[name, depth] = [min(column) for column in zip(*rounds)][0], max(r[1] for r in rounds)
                common.say(f"{name}, depth {depth}: {results[name, depth]}")
    for depth, target in ((32, "ours <= 4"), (1, "ours <= 20")):
        for name in list(servers)[1:]:
            common.row(f"4 KiB read, QD{depth}: server", "us", results["ours", depth][0], results[name, depth][0], name, target)
            target = None
    common.row("4 KiB read, QD32", "IOPS", results["ours", 32][1], results["nbdkit file", 32][1], "nbdkit file", "ours >= 250000")


def writes(folder, raw, root):
    """Each block of the span is touched once at most."""
    results = {}

    def measure(name, served, place):
        before = place_bytes(place)
        cost, rate, _ = load(served, "write", 16, seconds=SECONDS)
        if name == "ours":
            stats = served.ask()
            space = stats["log_bytes"] / stats["live_bytes"]
        else:
            written = min(SPAN, rate * SECONDS * BLOCK)
            space = (place_bytes(place) - before) / written
        known = results.get(name)
        results[name] = (cost, rate, space) if known is None or known[1] < rate else known
        common.say(f"{name}, first touch: {cost:.1f} us, {rate:.0f} IOPS, space {space:.2f}")

    for _ in range(2):
        with ours(folder, SPAN, folder / "store", root) as served:
            measure("ours", served, folder / "volume")
        shutil.rmtree(folder / "volume")
        for name, options in (("qcow2 overlay", ""), ("qcow2 overlay, subclusters", "extended_l2=on,cluster_size=128k")):
            path = overlay(folder, raw, "write.qcow2", options)
            with peer(folder, *qemu_nbd(path, "qcow2")) as served:
                measure(name, served, path)
            path.unlink()
    for number, column, unit, target in ((1, "rate", "IOPS", "ours >= 85000"), (0, "server", "us", "ours <= 11"), (2, "space", "x", "ours <= 1.15")):
        for name in list(results)[1:]:
            common.row(f"4 KiB first-touch write, QD16: {column}", unit, results["ours"][number], results[name][number], name, target)
            target = None


def place_bytes(place):
    files = [place] if place.is_file() else place.rglob("*") if place.exists() else []
    return sum(file.stat().st_blocks for file in files) * 512


def raw_flushes(raw):
    """pwrite and fdatasync of 4 KiB in a file whose blocks are all written, per second."""
    data, count, state = os.urandom(BLOCK), 0, 88172645463325252
    descriptor = os.open(raw, os.O_RDWR)
    try:
        begin = time.monotonic()
        while time.monotonic() < begin + SECONDS:
            state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
            os.pwrite(descriptor, data, (state >> 33) % (SPAN // BLOCK) * BLOCK)
            os.fdatasync(descriptor)
            count += 1
        return count / (time.monotonic() - begin)
    finally:
        os.close(descriptor)


def flushes(folder, raw):
    """In turns, because a disk that others use is not the same disk a minute later."""
    ratios, rates, costs = [], [], []
    copy = folder / "flush.raw"
    shutil.copyfile(raw, copy)
    with ours(folder, SPAN) as served:
        load(served, "flush", 1, seconds=1)
        for _ in range(ROUNDS + 2):
            peer_rate = raw_flushes(copy)
            cost, rate, _ = load(served, "flush", 1)
            common.say(f"write and flush: {rate:.0f}/s ({cost:.1f} us of the server), raw file {peer_rate:.0f}/s")
            ratios.append((rate / peer_rate, rate, peer_rate))
            costs.append(cost)
    shutil.rmtree(folder / "volume")
    copy.unlink()
    _, rate, peer_rate = sorted(ratios)[len(ratios) // 2]
    common.row("4 KiB write + flush, QD1", "per s", rate, peer_rate, "pwrite + fdatasync on a raw file", "ratio >= 0.95")
    common.row("4 KiB write + flush, QD1: server", "us", statistics.median(costs))


def freezes(folder):
    for size, name in ((SMALL, "1 GiB"), (HUGE, "64 TiB")):
        told = common.bench("freezes", folder / "frozen", size, FREEZES)
        shutil.rmtree(folder / "frozen")
        common.say(f"freezes of {name}: {told}")
        usual = told["usual_p99_nanos"] / 1e6
        common.row(f"longest write during a freeze, p99, {name}", "ms", told["pause_p99_nanos"] / 1e6, usual, "p99 of all writes", "ours <= 1")


def sparse(folder):
    resident, told = {}, {}
    for size in (SMALL, HUGE):
        with ours(folder, size) as served:
            load(served, "rewrite", 1, span=1 << 20, seconds=1)
            resident[size], told[size] = resident_mib(served.pid), served.told
            if size == HUGE and shutil.which("nbdinfo"):
                begin = time.monotonic()
                subprocess.run(["nbdinfo", "--map", f"nbd+unix:///?socket={served.socket}"], stdout=subprocess.DEVNULL, check=True)
                seconds = time.monotonic() - begin
                common.row("block status of all of 64 TiB", "s", seconds, None, None, "ours <= 2")
        shutil.rmtree(folder / "volume")
    for what in ("create", "open"):
        ours_ms, small_ms = (told[size][f"{what}_nanos"] / 1e6 for size in (HUGE, SMALL))
        common.row(f"{what} a volume of 64 TiB", "ms", ours_ms, small_ms, "of 1 GiB", "ours <= 50")
    common.row("memory of a server of 64 TiB", "MiB", resident[HUGE], resident[SMALL], "of 1 GiB", "ratio <= 1.1")


def main():
    if "KATAGAMI_BENCH" not in os.environ:
        build = ["cargo", "build", "-q", "--release", "--locked", "-p", "volume", "--example", "bench"]
        subprocess.run(build, cwd=common.ROOT, check=True)
    (common.ROOT / "target/bench").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=common.ROOT / "target/bench") as name:
        folder = pathlib.Path(name)
        raw = make_raw(folder)
        root = common.bench("store", raw, folder / "store")["root"]
        reads(folder, raw, root)
        shutil.rmtree(folder / "volume", ignore_errors=True)
        writes(folder, raw, root)
        flushes(folder, raw)
        freezes(folder)
        sparse(folder)


main()
