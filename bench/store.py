"""The snapshot store at its limit: what five disks of one fleet take, what storing and restoring them costs the
processor, and what the EBS direct API costs the server for a block. With --full, casync and borg too.
"""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode

import boto3
import common
import rig
from botocore.config import Config

DISKS = ("v1", "v2", "v3", "v4", "v1b")
BLOCK = 512 << 10
BLOCKS = 600
CLIENTS = 8
ROUNDS = 3
# Of stored bytes, of storing, of restoring. The absolute ones stand in restic's rows and need a quiet machine; the others
# are beside a peer, which other work slows down as well.
TARGETS = {
    "restic": ("ours <= 335", "ours >= 750", "ours <= 0.85"),
    "qcow2, zstd": ("ratio <= 0.33", "ratio >= 3", "ratio <= 0.8"),
    "zstd -3": ("ratio <= 0.37", "ratio >= 4.5", "ratio <= 0.8"),
}
MEASURE = pathlib.Path(os.environ.get("KATAGAMI_MEASURE", common.ROOT / "target/release/examples/measure"))
PASSWORD = {"RESTIC_PASSWORD": "x", "BORG_PASSPHRASE": "x", "GOMAXPROCS": "1"}


def corpus():
    made = subprocess.run([common.ROOT / "bench/make-corpus.sh"], stdout=subprocess.PIPE, text=True, check=True)
    return pathlib.Path(made.stdout.strip())


def measure(*words, cores=None):
    """The rows that the store's own program prints, read as JSON."""
    pinned = ["taskset", "-c", cores] if cores else []
    done = subprocess.run([*pinned, MEASURE, *words], stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def processor(*commands, **options):
    """Seconds of the processor that commands take, with all that they start."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in commands:
        env = {**os.environ, **PASSWORD}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def megabytes(path):
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6


def total(rows, field):
    return sum(row[field] for row in rows)


@contextlib.contextmanager
def scratch():
    """A folder on the disk that holds target/."""
    with tempfile.TemporaryDirectory(dir=common.ROOT / "target/bench") as folder:
        yield pathlib.Path(folder)


def restic(disks, repo, out):
    stored = processor(
        ["restic", "init", "-q", "-r", repo],
        *(["restic", "backup", "-q", "--no-cache", "--force", "-r", repo, disk] for disk in disks),
    )
    restored = processor(["restic", "restore", "-q", "--no-cache", "-r", repo, "latest", "--path", disks[1], "-t", out])
    return "restic", stored, restored, megabytes(repo)


def qcow2(disks, repo, out):
    repo.mkdir()
    options = ["-m", "1", "-c", "-O", "qcow2", "-o", "compression_type=zstd"]
    packed = [repo / disk.name for disk in disks]
    stored = processor(*(["qemu-img", "convert", *options, disk, to] for disk, to in zip(disks, packed)))
    restored = processor(["qemu-img", "convert", "-O", "raw", packed[1], out / "disk"])
    return "qcow2, zstd", stored, restored, megabytes(repo)


def zstd(disks, repo, out):
    repo.mkdir()
    packed = [repo / disk.name for disk in disks]
    stored = processor(*(["zstd", "-q", "-3", "-T1", disk, "-o", to] for disk, to in zip(disks, packed)))
    restored = processor(["zstd", "-q", "-d", "--sparse", packed[1], "-o", out / "disk"])
    return "zstd -3", stored, restored, megabytes(repo)


def casync(disks, repo, out):
    repo.mkdir()
    store = f"--store={repo / 'chunks'}"
    indexes = [repo / f"{disk.stem}.caibx" for disk in disks]
    stored = processor(*(["casync", "make", store, index, disk] for index, disk in zip(indexes, disks)))
    restored = processor(["casync", "extract", store, indexes[1], out / "disk"])
    return "casync", stored, restored, megabytes(repo)


def borg(disks, repo, out):
    options = ["--sparse", "--compression", "zstd,3"]
    stored = processor(
        ["borg", "init", "-e", "repokey-blake2", repo],
        *(["borg", "create", *options, f"{repo}::{disk.stem}", disk] for disk in disks),
    )
    restored = processor(["borg", "extract", "--sparse", f"{repo}::{disks[1].stem}"], cwd=out)
    return "borg", stored, restored, megabytes(repo)


def ingested_anew(folder, disks, cores=None):
    rows = measure("ingest", folder / "again", *disks, cores=cores)
    shutil.rmtree(folder / "again")
    return rows


def restored(store, disk, out):
    """Processor seconds of restoring a disk; what it makes is held against the disk."""
    spent = []
    for _ in range(ROUNDS):
        spent.append(measure("restore", store, disk.stem, out)[0]["cpu_seconds"])
        subprocess.run(["cmp", out, disk], check=True)
        out.unlink()
    return statistics.median(spent)


def compared(disks, peers):
    """Size, storing and restoring, against each peer on the same disks. The peers read them on one core."""
    with scratch() as folder:
        store = folder / "store"
        rows = measure("ingest", store, *disks)
        restore = restored(store, disks[1], folder / "restored")
        unchanged = measure("unchanged", store, disks[0].stem)
        stored_again = [*(ingested_anew(folder, disks) for _ in range(ROUNDS - 1)), rows]
        copies = [measure("copy", store, disks[0].stem), measure("copy", store, disks[3].stem, disks[0].stem)]
        one_core = min(total(ingested_anew(folder, disks, "0"), "seconds") for _ in range(ROUNDS))
        shutil.rmtree(store)
        measure("ingest", store, *disks)
        dense = measure("repack", store)[0]
        dense_restore = restored(store, disks[1], folder / "restored")
    size, data = total(rows, "stored_bytes") / 1e6, total(rows, "bytes") / 1e6
    per_core = data / statistics.median(total(round, "cpu_seconds") for round in stored_again)
    for peer in peers:
        with scratch() as folder:
            (folder / "out").mkdir()
            name, stored, there, megabytes_there = peer(disks, folder / "repo", folder / "out")
        smaller, faster, sooner = TARGETS.get(name, (None, None, None))
        common.row("five disks stored", "MB", size, megabytes_there, name, smaller)
        common.row("storing, a core", "MB/s", per_core, data / stored, name, faster)
        common.row("restoring v2", "CPU s", restore, there, name, sooner)
        if peer is restic:
            common.row("five disks packed densely", "MB", dense["stored_bytes"] / 1e6, megabytes_there, name, "ours <= 305")
            common.row("restoring v2 after it", "CPU s", dense_restore, there, name, sooner)
    common.row("packing densely, a core", "MB/s", dense["bytes"] / dense["cpu_seconds"] / 1e6)
    common.row("v4 after v1: edits", "MB", rows[3]["stored_bytes"] / 1e6, target="ours <= 10")
    common.row("v1b: built again", "MB", rows[4]["stored_bytes"] / 1e6, target="ours <= 15")
    all_cores = min(total(round, "seconds") for round in stored_again)
    common.row("storing, all cores", "MB/s", data / all_cores, data / one_core, "one core", "ratio >= 1.9")
    waited = statistics.median(row["seconds"] for row in unchanged) * 1e3
    common.row("snapshot of no change", "ms", waited, target="ours <= 5")
    common.row("its bytes besides the name", "B", total(unchanged, "stored_bytes"), target="ours <= 0")
    ((whole,), (change,)) = copies
    common.row("copy of v1, a core", "MB/s", whole["bytes"] / whole["cpu_seconds"] / 1e6)
    stored_change = rows[3]["stored_bytes"]
    common.row("copy of v4 after v1", "MB", change["stored_bytes"] / 1e6, stored_change / 1e6, "stored", "ratio <= 1.05")


def blocks_of(disk):
    """Blocks of a disk that are not all zeros."""
    found = []
    with disk.open("rb") as file:
        file.seek(64 << 20)
        while len(found) < BLOCKS:
            block = file.read(BLOCK)
            if block.count(0) < BLOCK // 2:
                found.append((block, b64encode(hashlib.sha256(block).digest()).decode()))
    return found


def block_calls(disk):
    """Server's processor seconds for each block that is put, taken into the store, and read."""
    blocks = blocks_of(disk)
    with common.server() as server, concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        # The rig's client has every answer checked, which costs more than the answer.
        config = Config(max_pool_connections=CLIENTS, retries={"total_max_attempts": 1})
        key_id, secret = server.keys()
        ebs = boto3.client(
            "ebs",
            endpoint_url=server.url,
            region_name=rig.REGION,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=config,
        )

        def spent(call, items):
            before = common.processor_seconds(server.process.pid)
            results = list(pool.map(call, items))
            return (common.processor_seconds(server.process.pid) - before) / len(items), results

        snapshot = ebs.start_snapshot(VolumeSize=3)["SnapshotId"]
        put, _ = spent(
            lambda item: ebs.put_snapshot_block(
                SnapshotId=snapshot,
                BlockIndex=item[0],
                BlockData=item[1][0],
                DataLength=BLOCK,
                Checksum=item[1][1],
                ChecksumAlgorithm="SHA256",
            ),
            list(enumerate(blocks)),
        )
        ebs.complete_snapshot(SnapshotId=snapshot, ChangedBlocksCount=len(blocks))
        describe = server.client().describe_snapshots
        deadline = time.monotonic() + 300
        while describe(SnapshotIds=[snapshot])["Snapshots"][0]["State"] != "completed":
            assert time.monotonic() < deadline, "the snapshot is not completed"
            time.sleep(0.2)
        listed = ebs.list_snapshot_blocks(SnapshotId=snapshot)["Blocks"]

        def get(block):
            index, token = block["BlockIndex"], block["BlockToken"]
            return ebs.get_snapshot_block(SnapshotId=snapshot, BlockIndex=index, BlockToken=token)["BlockData"].read()

        got, contents = spent(get, listed)
        assert contents == [block for block, _ in blocks]
    common.row("PutSnapshotBlock, a core", "blocks/s", 1 / put, target="ours >= 1000")
    common.row("GetSnapshotBlock, a core", "blocks/s", 1 / got, target="ours >= 1000")


def main():
    if "KATAGAMI_MEASURE" not in os.environ:
        build = ["cargo", "build", "-q", "--release", "--locked", "-p", "blockstore", "--example", "measure"]
        subprocess.run(build, cwd=common.ROOT, check=True)
    folder = corpus()
    disks = [folder / f"{name}.raw" for name in DISKS]
    for disk in disks:
        with disk.open("rb") as file:  # into the page cache, for all alike
            while file.read(1 << 24):
                pass
    compared(disks, [restic, qcow2, zstd] + ([casync, borg] if "--full" in sys.argv else []))
    block_calls(disks[0])


if __name__ == "__main__":
    main()
