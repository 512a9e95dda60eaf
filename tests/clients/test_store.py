"""The snapshot store as its owner sees it: deleting frees space, and nothing else."""

import json
import random

import pytest

import rig
from test_blocks import read


def disk(path, seed, mib=6):
    """A raw disk of 16 MiB with some MiB of noise, the rest holes."""
    with open(path, "wb") as file:
        file.truncate(16 << 20)
        file.write(random.Random(seed).randbytes(mib << 20))
    return path


def stat(server):
    done = server.katagami("store", "stat", "--json", "--data", server.data)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def gc(server, *words):
    done = server.katagami("gc", *words, "--data", server.data)
    assert done.returncode == 0, done.stderr
    return done.stdout


def push(server, path, name):
    done = server.katagami("push", path, "--name", name)
    assert done.returncode == 0, done.stderr
    images = server.client().describe_images(Owners=["self"])["Images"]
    return next(image for image in images if image["Name"] == name)


def delete(server, image):
    ec2 = server.client()
    ec2.deregister_image(ImageId=image["ImageId"])
    for mapping in image["BlockDeviceMappings"]:
        ec2.delete_snapshot(SnapshotId=mapping["Ebs"]["SnapshotId"])
    # A job takes the snapshot's name out of the store.
    rig.wait_for(lambda: sum(domain["dead_bytes"] for domain in stat(server)["domains"]), 30, "dead blocks")


def snapshot_of(image):
    return image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]


@pytest.mark.parametrize("runs", [True, False], ids=["through the server", "without a server"])
def test_a_deleted_image_gives_its_space_back_and_the_other_stays(own_server, tmp_path, runs):
    own_server.start()
    kept, gone = (push(own_server, disk(tmp_path / name, name), name) for name in ("kept", "gone"))
    before = stat(own_server)
    (domain,) = (domain for domain in before["domains"] if domain["snapshots"])
    assert (domain["images"], domain["snapshots"], domain["dead_bytes"]) == (2, 2, 0)
    assert domain["unique_bytes"] == 12 << 20 and domain["live_bytes"] > 12 << 20
    content = read(own_server.client("ebs"), snapshot_of(kept))

    delete(own_server, gone)
    if not runs:
        assert own_server.stop() == 0
    text = gc(own_server, "--now", "--retire", "0")
    assert "ALARM" not in text and "deleted 6." in text, text
    after = stat(own_server)
    assert before["disk_bytes"] - after["disk_bytes"] > 6 << 20, (before, after)
    (left,) = (one for one in after["domains"] if one["snapshots"])
    assert (left["images"], left["snapshots"]) == (1, 1)
    assert (left["dead_bytes"], left["retired_bytes"], left["is_alarmed"]) == (0, 0, False)
    if not runs:
        own_server.start()
    assert read(own_server.client("ebs"), snapshot_of(kept)) == content
    again = push(own_server, disk(tmp_path / "again", "gone"), "again")
    assert read(own_server.client("ebs"), snapshot_of(again)).keys() == content.keys()


@pytest.mark.parametrize("runs", [True, False], ids=["through the server", "without a server"])
def test_repacked_images_are_what_they_were(own_server, tmp_path, runs):
    """Both disks are text, which gets smaller with more effort; the second one is new in its second half only."""
    own_server.start()
    chance = random.Random(1)
    words = [chance.randbytes(3).hex() for _ in range(500)]
    text = " ".join(chance.choices(words, k=1_500_000)).encode()
    images = []
    for name, content in (("first", text), ("second", text[: 4 << 20] + text[:-99])):
        path = tmp_path / name
        path.write_bytes(content[: len(content) >> 12 << 12].ljust(16 << 20, b"\0"))
        images.append(push(own_server, path, name))
    ebs = own_server.client("ebs")
    contents = [read(ebs, snapshot_of(image)) for image in images]
    before = stat(own_server)
    if not runs:
        assert own_server.stop() == 0
    told = gc(own_server, "--repack", "all", "--now", "--retire", "0")
    assert "repacked " in told and "ALARM" not in told, told
    assert "repacked" not in gc(own_server, "--repack", "all"), "once is enough"
    if not runs:
        own_server.start()
        ebs = own_server.client("ebs")
    after = stat(own_server)
    assert after["disk_bytes"] < before["disk_bytes"] * 0.97, (before, after)
    assert [read(ebs, snapshot_of(image)) for image in images] == contents
    done = own_server.katagami("verify", "--all", "--data", own_server.data)
    assert done.returncode == 0 and "all is whole" in done.stdout, done.stdout + done.stderr


def test_without_a_word_nothing_young_goes(own_server, tmp_path):
    own_server.start()
    delete(own_server, push(own_server, disk(tmp_path / "disk", 1), "image"))
    before = stat(own_server)["disk_bytes"]
    assert "deleted 0 B" in gc(own_server)
    assert "deleted 0 B" in gc(own_server, "--now")
    assert stat(own_server)["disk_bytes"] >= before
