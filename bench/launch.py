"""From RunInstances to the guest's console: a small and a huge image, against plain QEMU on a qcow2 overlay."""

import re
import shutil
import statistics
import subprocess
import tempfile
import time

import common

SIZES_GIB = (3, 300)
RUNS = 7
LINE = b"Linux version"
DEADLINE_S = 120


def wait_until(path, wanted, begin):
    """Seconds from `begin` until the file holds the bytes."""
    while True:
        try:
            if wanted(path.read_bytes()):
                return time.monotonic() - begin
        except FileNotFoundError:
            pass
        assert time.monotonic() - begin < DEADLINE_S, f"nothing in {path}"
        time.sleep(0.002)


def launch(server, ec2, image_id):
    """(seconds to the first byte, to the kernel's first line, QEMU's arguments)"""
    begin = time.monotonic()
    launched = ec2.run_instances(ImageId=image_id, InstanceType="t3.small", MinCount=1, MaxCount=1)
    instance_id = launched["Instances"][0]["InstanceId"]
    console = server.data / "machines" / instance_id / "console.log"
    first = wait_until(console, lambda text: text, begin)
    line = wait_until(console, lambda text: LINE in text, begin)
    arguments = qemu_of(instance_id)
    ec2.terminate_instances(InstanceIds=[instance_id])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1})
    return first, line, arguments


def qemu_of(instance_id):
    for entry in common.pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "qemu-system" in words[0] and any(instance_id in word for word in words):
            return words
    raise AssertionError(f"no QEMU of {instance_id}")


def like(arguments):
    """The accelerator and the processor of our QEMU, for the peer."""
    joined = " ".join(arguments)
    accelerator = re.search(r"accel(?:=| )(\w+)", joined).group(1)
    processor = re.search(r"-cpu (\S+)", joined)
    return accelerator, ["-cpu", processor.group(1)] if processor else []


def plain(disk, accelerator, processor):
    """(seconds to the first byte, to the kernel's first line) of QEMU by itself."""
    with tempfile.TemporaryDirectory(dir=common.ROOT / "target/bench") as folder:
        overlay, console = common.pathlib.Path(folder) / "overlay.qcow2", common.pathlib.Path(folder) / "console"
        begin = time.monotonic()
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", overlay]
        subprocess.run(create, check=True)
        command = [
            "qemu-system-x86_64", "-machine", f"q35,graphics=off,accel={accelerator}", *processor, "-smp", "2", "-m", "2048",
            "-nodefaults", "-display", "none", "-serial", f"file:{console}",
            "-drive", f"if=none,id=root,format=qcow2,file={overlay}", "-device", "nvme,drive=root,serial=root,bootindex=1",
        ]
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            first = wait_until(console, lambda text: text, begin)
            return first, wait_until(console, lambda text: LINE in text, begin)
        finally:
            qemu.kill()
            qemu.wait()


def main():
    small = common.debian_disk()
    images = {}
    with common.server() as server, tempfile.TemporaryDirectory(dir=common.ROOT / "target/bench") as folder:
        ec2 = server.session().client("ec2", endpoint_url=server.url)
        for size in SIZES_GIB:
            disk = common.pathlib.Path(folder) / f"{size}.raw"
            subprocess.run(["cp", "--sparse=always", small, disk], check=True)
            subprocess.run(["truncate", "-s", f"{size}G", disk], check=True)
            image_id = common.push(server, disk, f"{size}-gib")
            disk.unlink()
            images[size] = image_id
            # The caches are warm afterwards, as the peer's page cache is.
            accelerator, processor = like(launch(server, ec2, image_id)[2])
        common.say(f"accelerator: {accelerator}")
        plain(small, accelerator, processor)
        runs = {who: [] for who in (*SIZES_GIB, "peer")}
        # In turns, so that whatever else the machine does meets them all alike.
        for _ in range(RUNS):
            for size in SIZES_GIB:
                runs[size].append(launch(server, ec2, images[size]))
            runs["peer"].append(plain(small, accelerator, processor))
    medians = {who: [statistics.median(run[part] for run in taken) for part in (0, 1)] for who, taken in runs.items()}
    peer = medians["peer"]
    for part, what in enumerate(("first byte on the console", "first line of the kernel")):
        common.row(f"RunInstances to the {what}, {SIZES_GIB[0]} GiB", "s", medians[SIZES_GIB[0]][part], peer[part], "QEMU, qcow2 overlay")
        common.row(
            f"RunInstances to the {what}, {SIZES_GIB[1]} GiB", "s", medians[SIZES_GIB[1]][part],
            medians[SIZES_GIB[0]][part], f"{SIZES_GIB[0]} GiB", "ratio <= 1.15",
        )


if __name__ == "__main__":
    shutil.which("qemu-img") or exit("qemu-img is missing: scripts/setup-system.sh bench")
    main()
