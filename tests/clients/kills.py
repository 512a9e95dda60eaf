"""Kills the server at the N-th durable system call of a thread, starts it again, and looks.

strace ends the process at the entry of the call, so that the call has no effect. The flow is an image's life without
guests: upload, register, copy to another region, deregister with its snapshots. Run as a program it takes N = 1, 2, 3, ...
until no thread comes so far any more, and says at which calls the server died.
"""

import contextlib
import pathlib
import re
import shutil
import signal
import sys
import tempfile

from botocore.exceptions import BotoCoreError, ClientError

import rig
from test_blocks import block, put, read
from test_images import register

CALLS = "fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat"
WEST = "us-west-2"
DEADLINE_S = 60
# Two blocks of data and one that the second snapshot changes.
FIRST, SECOND = {0: "a", 3: "b"}, {3: "c"}
NOT_FOUND = "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidSnapshot.NotFound"


class Killed(Exception):
    """The server is gone, in the middle of a call or before it."""


class TracedServer(rig.Server):
    """Under strace, which kills it at the N-th durable call of a thread."""

    def __init__(self, data, number):
        super().__init__(data)
        self.trace = self.data.parent / f"{self.data.name}.strace"
        inject = f"inject={CALLS}:signal=KILL:when={number}"
        self.wrapper = ("strace", "-f", "-y", "-o", self.trace, "-e", f"trace={CALLS}", "-e", inject)

    def died_at(self):
        """The call at whose entry the server was killed; None where it lives."""
        if self.process.poll() is None:
            return None
        begun, died_at = {}, "a call"
        for line in self.trace.read_text().splitlines():
            thread, text = line.split(maxsplit=1)
            if "unfinished" in text:
                begun[thread] = text
            elif text.endswith("= ?"):
                died_at = begun.get(thread, text) if "resumed" in text else text
        return died_at.removesuffix(" <unfinished ...>").removesuffix(" = ?").strip()

    def close(self):
        for pid in children(self.process.pid) if self.process else []:
            with contextlib.suppress(ProcessLookupError):
                rig.os.kill(pid, signal.SIGKILL)
        super().close()


def children(pid):
    with contextlib.suppress(OSError):
        return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def template(folder):
    """A data directory that a server has used and left in order."""
    server = rig.Server(folder / "data")
    server.start()
    assert server.stop() == 0
    return server.data


class Flow:
    """An image's life. What was acknowledged is remembered as it is."""

    def __init__(self):
        self.done = {}

    def run(self, server):
        """Goes on where it was; Killed where the server goes away."""
        self.ec2, self.west, self.ebs = (
            server.client(service, region=region)
            for service, region in (("ec2", rig.REGION), ("ec2", WEST), ("ebs", rig.REGION))
        )
        for step in (self.start, self.put, self.complete, self.child, self.image, self.copy, self.copied, self.delete):
            if step.__name__ not in self.done:
                self.done[step.__name__] = call(server, step)

    def start(self):
        return self.ebs.start_snapshot(VolumeSize=1, ClientToken="first")["SnapshotId"]

    def put(self):
        for index, seed in FIRST.items():
            put(self.ebs, self.done["start"], index, block(seed))

    def complete(self):
        complete(self.ec2, self.ebs, self.done["start"], len(FIRST))

    def child(self):
        parent = self.done["start"]
        child = self.ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=parent, ClientToken="second")["SnapshotId"]
        with suppressed(["ConflictException"]):
            # It may be complete already.
            for index, seed in SECOND.items():
                put(self.ebs, child, index, block(seed))
        complete(self.ec2, self.ebs, child, len(SECOND))
        return child

    def image(self):
        found = self.ec2.describe_images(Owners=["self"])["Images"]
        return found[0]["ImageId"] if found else register(self.ec2, "killed", self.done["child"])

    def copy(self):
        copy = self.west.copy_image(
            Name="copy", SourceImageId=self.done["image"], SourceRegion=rig.REGION, ClientToken="third"
        )
        return copy["ImageId"]

    def copied(self):
        available(self.west, self.done["copy"])

    def delete(self):
        with suppressed(NOT_FOUND):
            self.ec2.deregister_image(ImageId=self.done["image"])
        with suppressed(NOT_FOUND):
            self.ec2.delete_snapshot(SnapshotId=self.done["start"])

    def check(self, server):
        """What was acknowledged is there to the byte; what was not is whole or not there."""
        done, expected = self.done, {**FIRST, **SECOND}
        east, west = server.client("ebs"), server.client("ebs", region=WEST)
        if "complete" in done and "delete" not in done:
            with suppressed(NOT_FOUND) if "copied" in done else contextlib.nullcontext():
                assert read(east, done["start"]) == blocks(FIRST)
        if "child" in done:
            assert read(east, done["child"]) == blocks(expected)
        if "image" in done and "copied" not in done:
            assert self.ec2.describe_images(ImageIds=[done["image"]])["Images"][0]["State"] == "available"
        if "copied" in done:
            [copy] = self.west.describe_images(ImageIds=[done["copy"]])["Images"]
            assert read(west, copy["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]) == blocks(expected)
        if "delete" in done:
            assert self.ec2.describe_images(Owners=["self"])["Images"] == []


def blocks(seeds):
    return {index: block(seed) for index, seed in seeds.items()}


def call(server, step):
    """Runs a step. Any failure while the server is gone, or just going, means that it was killed."""
    try:
        return step()
    except (BotoCoreError, ClientError, OSError) as error:
        with contextlib.suppress(rig.subprocess.TimeoutExpired):
            server.process.wait(2)
        if server.process.poll() is None:
            raise
        raise Killed from error


@contextlib.contextmanager
def suppressed(codes):
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


def complete(ec2, ebs, snapshot_id, count):
    [snapshot] = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    with suppressed(["ValidationException", "ConflictException"]):
        ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=count)
    state = lambda: ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["State"]
    assert rig.wait_for(lambda: state() != "pending" and state(), DEADLINE_S, "the snapshot") == "completed", snapshot


def available(ec2, image_id):
    state = lambda: ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"]
    assert rig.wait_for(lambda: state() != "pending" and state(), DEADLINE_S, "the image") == "available"


def at(template_data, folder, number):
    """One point. The call where the server died, or None where no thread made so many."""
    shutil.copytree(template_data, folder / "data", ignore=shutil.ignore_patterns("*.sock"))
    flow, server = Flow(), TracedServer(folder / "data", number)
    died_at = None
    try:
        try:
            server.start()
            flow.run(server)
        except Killed:
            pass
        except AssertionError:
            # It may die before it answers for the first time.
            if server.process.poll() is None:
                raise
        died_at = server.died_at()
    finally:
        server.close()
    again = rig.Server(folder / "data")
    try:
        again.start()
        if flow.done:
            flow.ec2, flow.west = again.client(), again.client(region=WEST)
            flow.check(again)
        flow.run(again)
        flow.check(again)
    finally:
        again.close()
    return died_at


def main():
    number, died = 0, 1
    points = []
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name)
        first = template(root)
        while died:
            number += 1
            folder = root / str(number)
            folder.mkdir()
            died = at(first, folder, number)
            shutil.rmtree(folder)
            print(f"{number:4}  {died or 'no thread came so far'}", flush=True)
            points += [died] if died else []
    kinds = {re.sub(r"[0-9a-f]{16,}|\d{3,}", "*", point) for point in points}
    print(f"{len(points)} kills at {len(kinds)} kinds of call: lost 0, wrong 0")


if __name__ == "__main__":
    sys.exit(main())
