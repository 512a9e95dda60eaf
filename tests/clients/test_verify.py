"""What an operator does about damage: `katagami verify`, with a server and without."""

import json
import random
import shutil
import stat
import time

import pytest

import rig

FRAME = 256 * 1024


def push(server, path, name):
    done = server.katagami("push", path, "--name", name)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def verify(server, *words):
    done = server.katagami("verify", *words, "--json", "--data", server.data)
    return done.returncode, json.loads(done.stdout)


def packs(server):
    return set((server.data / "store/pack").rglob("*/*/*"))


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_damage_is_named_with_the_images_and_bytes_that_it_costs(own_server, tmp_path):
    own_server.start()
    noise = random.Random(7)
    shared, more = noise.randbytes(4 * FRAME), noise.randbytes(FRAME)
    (tmp_path / "one.raw").write_bytes(shared)
    (tmp_path / "two.raw").write_bytes(shared + more)
    one = push(own_server, tmp_path / "one.raw", "one")
    first = packs(own_server)
    two = push(own_server, tmp_path / "two.raw", "two")
    [second] = packs(own_server) - first
    [first] = first

    status, report = verify(own_server, "--all")
    assert (status, report["damaged_objects"], report["affected"]) == (0, [], [])
    assert (report["images"], report["snapshots"], report["packs"]) == (2, 2, 2)
    assert report["decoded_bytes"] == 5 * FRAME

    # Only the second image has the second pack.
    flip(second, 100)
    status, report = verify(own_server, "--all")
    assert status == 6
    [affected] = report["affected"]
    assert [image["image_id"] for image in affected["images"]] == [two]
    assert affected["images"][0]["name"] == "two"
    [lost] = affected["ranges"]
    assert (lost["offset_bytes"], lost["len_bytes"]) == (4 * FRAME, FRAME)
    assert lost["object"].endswith(second.name)
    assert verify(own_server, one)[0] == 0
    assert verify(own_server, two)[0] == 6
    flip(second, 100)

    # Both have the first one; no server runs now.
    own_server.stop()
    flip(first, 100)
    status, report = verify(own_server, "--all")
    assert status == 6
    named = {image["image_id"]: affected["ranges"] for affected in report["affected"] for image in affected["images"]}
    assert set(named) == {one, two}
    assert all([(r["offset_bytes"], r["len_bytes"]) for r in ranges] == [(0, FRAME)] for ranges in named.values())

    first.unlink()
    done = own_server.katagami("verify", "--all", "--data", own_server.data)
    assert done.returncode == 6
    assert f"missing: {first.relative_to(own_server.data / 'store')}" in done.stdout
    assert f'image {one} "one"' in done.stdout and f"{4 * FRAME} bytes at 0 " in done.stdout


def test_verify_refuses_what_it_does_not_know(own_server, tmp_path):
    done = own_server.katagami("verify", "--all", "--data", tmp_path / "nowhere")
    assert done.returncode == 2 and "nowhere" in done.stderr
    own_server.start()
    done = own_server.katagami("verify", "ami-00000000", "--data", own_server.data)
    assert done.returncode == 1 and "ami-00000000" in done.stderr
    assert own_server.katagami("verify", "banana", "--data", own_server.data).returncode == 2
    assert own_server.katagami("verify", "--data", own_server.data).returncode == 2


def test_images_come_back_when_the_database_is_lost(own_server, tmp_path):
    own_server.start()
    content = random.Random(8).randbytes(3 * FRAME)
    (tmp_path / "one.raw").write_bytes(content)
    image_id = push(own_server, tmp_path / "one.raw", "one")
    ec2 = own_server.client()
    ec2.create_tags(Resources=[image_id], Tags=[{"Key": "colour", "Value": "red"}])
    ec2.modify_image_attribute(ImageId=image_id, LaunchPermission={"Add": [{"Group": "all"}]})
    account_id = own_server.create_account("alice")
    images = ec2.describe_images(ImageIds=[image_id])["Images"]
    snapshots = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    keys = own_server.keys()
    records = own_server.data / "store/record"
    rig.wait_for(lambda: len(list(records.rglob("*-*"))) >= 2, 10, "the records")
    assert stat.S_IMODE((own_server.data / "domains.key").stat().st_mode) == 0o600
    done = own_server.katagami("rebuild", "--data", own_server.data)
    assert done.returncode == 5 and "a server uses" in done.stderr
    time.sleep(1)  # the last change's record
    own_server.stop()
    done = own_server.katagami("rebuild", "--data", own_server.data)
    assert done.returncode == 5 and "it is not lost" in done.stderr

    shutil.rmtree(own_server.data / "meta")
    lost = rig.Server(own_server.data)
    lost.log = tmp_path / "lost.log"
    with pytest.raises(AssertionError, match="katagami rebuild"):
        lost.start()
    done = own_server.katagami("rebuild", "--data", own_server.data)
    assert done.returncode == 0, done.stderr
    assert "2 accounts, 1 images, 1 snapshots (of 0 only" in done.stdout, done.stdout

    own_server.start()
    assert own_server.keys() == keys
    ec2 = own_server.client()
    assert ec2.describe_images(ImageIds=[image_id])["Images"] == images
    assert ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == snapshots
    assert own_server.client("sts", profile="alice").get_caller_identity()["Account"] == account_id
    assert verify(own_server, "--all")[0] == 0
    again = push(own_server, tmp_path / "one.raw", "again")
    status, report = verify(own_server, again)
    assert (status, report["packs"], report["decoded_bytes"]) == (0, 1, len(content)), "deduplicated as before"
