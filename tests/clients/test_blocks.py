"""The EBS direct API with the SDK: upload, list, compare and read back."""

import base64
import concurrent.futures
import hashlib
import random

import pytest
from botocore.exceptions import ClientError

import rig

BLOCK_BYTES = 524288


def digest(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def block(seed):
    """A block that does not compress to nothing and differs by its seed."""
    return b"".join(hashlib.sha256(f"{seed}/{i}".encode()).digest() for i in range(BLOCK_BYTES // 32))


def put(ebs, snapshot_id, index, data, checksum=None):
    return ebs.put_snapshot_block(
        SnapshotId=snapshot_id, BlockIndex=index, BlockData=data, DataLength=len(data),
        Checksum=checksum or digest(data), ChecksumAlgorithm="SHA256",
    )


def upload(server, blocks, size_gib=1, parent=None, profile="default", region=rig.REGION):
    """A completed snapshot with these blocks, {index: data}; its id."""
    ebs, ec2 = (server.client(service, profile, region) for service in ("ebs", "ec2"))
    more = {"ParentSnapshotId": parent} if parent else {}
    snapshot_id = ebs.start_snapshot(VolumeSize=size_gib, **more)["SnapshotId"]
    for index, data in blocks.items():
        put(ebs, snapshot_id, index, data)
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(blocks))
    waiter = ec2.get_waiter("snapshot_completed")
    waiter.wait(SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    return snapshot_id


def list_blocks(ebs, snapshot_id):
    """Every listed block, by pages of a hundred."""
    blocks, token = [], {}
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=100, **token)
        assert len(page["Blocks"]) <= 100
        blocks += page["Blocks"]
        if not page.get("NextToken"):
            return blocks
        token = {"NextToken": page["NextToken"]}


def get(ebs, snapshot_id, listed):
    """A listed block's content, held against its checksum."""
    got = ebs.get_snapshot_block(
        SnapshotId=snapshot_id, BlockIndex=listed["BlockIndex"], BlockToken=listed["BlockToken"]
    )
    data = got["BlockData"].read()
    assert got["DataLength"] == len(data) == BLOCK_BYTES and got["Checksum"] == digest(data)
    return data


def read(ebs, snapshot_id):
    """Every block of a snapshot, {index: data}."""
    return {one["BlockIndex"]: get(ebs, snapshot_id, one) for one in list_blocks(ebs, snapshot_id)}


def error(call, *args, **kwargs):
    with pytest.raises(ClientError) as refused:
        call(*args, **kwargs)
    return refused.value.response


def test_what_is_uploaded_is_read_back(server, ebs):
    blocks = {0: block("a"), 7: block("b"), 2047: block("c")}
    assert read(ebs, upload(server, blocks)) == blocks


def test_a_child_holds_its_parent_and_only_its_changes_are_listed(server, ebs):
    parent = upload(server, {0: block("a"), 1: block("b")})
    child = upload(server, {1: block("B"), 9: block("c")}, parent=parent)
    assert read(ebs, child) == {0: block("a"), 1: block("B"), 9: block("c")}
    changed = ebs.list_changed_blocks(FirstSnapshotId=parent, SecondSnapshotId=child)["ChangedBlocks"]
    assert [c["BlockIndex"] for c in changed] == [1, 9]
    assert "FirstBlockToken" in changed[0] and "FirstBlockToken" not in changed[1]


def test_a_wrong_checksum_is_refused_and_can_be_sent_again(server, ebs):
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    refused = error(put, ebs, snapshot_id, 0, block("a"), checksum=digest(b"other"))
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 400
    put(ebs, snapshot_id, 0, block("a"))
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)


def test_a_wrong_count_does_not_complete(ebs):
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    put(ebs, snapshot_id, 0, block("a"))
    refused = error(ebs.complete_snapshot, SnapshotId=snapshot_id, ChangedBlocksCount=2)
    assert refused["Error"]["Code"] == "ValidationException"


@pytest.mark.parametrize("length", [1, BLOCK_BYTES - 1])
def test_a_truncated_block_is_refused(ebs, length):
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    assert error(put, ebs, snapshot_id, 0, b"x" * length)["Error"]["Code"] == "ValidationException"


def test_a_block_beyond_the_end_is_refused(ebs):
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    assert error(put, ebs, snapshot_id, 2048, block("a"))["Error"]["Code"] == "ValidationException"


def test_unknown_and_foreign_snapshots_are_not_there(server, ebs, second_account):
    unknown = error(ebs.list_snapshot_blocks, SnapshotId="snap-0123456789abcdef0")
    assert unknown["Error"]["Code"] == "ResourceNotFoundException"
    mine = upload(server, {0: block("a")})
    foreign = server.client("ebs", second_account[0])
    code = error(foreign.list_snapshot_blocks, SnapshotId=mine)["Error"]["Code"]
    assert code in ("ResourceNotFoundException", "AccessDeniedException")


def test_the_same_token_starts_one_snapshot(ebs, name):
    first = ebs.start_snapshot(VolumeSize=1, ClientToken=name)["SnapshotId"]
    assert ebs.start_snapshot(VolumeSize=1, ClientToken=name)["SnapshotId"] == first
    again = error(ebs.start_snapshot, VolumeSize=2, ClientToken=name)
    assert again["Error"]["Code"] in ("ConflictException", "ValidationException")


def test_a_kill_in_the_middle_of_an_upload_loses_nothing_acknowledged(own_server):
    own_server.start()
    ebs = own_server.client("ebs")
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    blocks = {index: block(index) for index in range(6)}
    for index in (0, 1, 2):
        put(ebs, snapshot_id, index, blocks[index])
    own_server.kill()
    own_server.start()
    for index in (3, 4, 5):
        put(ebs, snapshot_id, index, blocks[index])
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=len(blocks))
    own_server.kill()
    own_server.start()
    waiter = own_server.client().get_waiter("snapshot_completed")
    waiter.wait(SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    assert read(ebs, snapshot_id) == blocks


def sparse_disk(size_mib, stretches, seed):
    """A disk of zeros with a few stretches of random bytes, at no block's edge; its last block is not full."""
    source, disk = random.Random(seed), bytearray(size_mib << 20)
    for _ in range(stretches):
        length = source.randrange(1 << 10, 2 << 20)
        start = source.randrange(0, len(disk) - length)
        disk[start:start + length] = source.randbytes(length)
    return bytes(disk[:-1000]) + source.randbytes(100)


def test_a_sparse_disk_goes_up_in_parallel_and_comes_back_identical(server, ebs, ec2, name):
    """What a disk uploader does: every block, zeros too, many at once in any order, one checksum over all of them."""
    disk = sparse_disk(64, 20, seed=1)
    blocks = [disk[at:at + BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0") for at in range(0, len(disk), BLOCK_BYTES)]
    started = ebs.start_snapshot(VolumeSize=1, Description=name, ClientToken=name, Timeout=10, Tags=[])
    assert started["BlockSize"] == BLOCK_BYTES
    snapshot_id, order = started["SnapshotId"], list(enumerate(blocks))
    random.Random(2).shuffle(order)
    linear = base64.b64encode(hashlib.sha256(b"".join(hashlib.sha256(b).digest() for b in blocks)).digest()).decode()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda item: put(ebs, snapshot_id, *item), order))
        complete = {"SnapshotId": snapshot_id, "ChangedBlocksCount": len(blocks)}
        method = {"ChecksumAlgorithm": "SHA256", "ChecksumAggregationMethod": "LINEAR"}
        refused = error(ebs.complete_snapshot, **complete, **method, Checksum=digest(b"other"))
        assert refused["Error"]["Code"] == "ValidationException"
        ebs.complete_snapshot(**complete, **method, Checksum=linear)
        ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id], WaiterConfig={"Delay": 1})
        listed = list_blocks(ebs, snapshot_id)
        got = list(pool.map(lambda one: get(ebs, snapshot_id, one), listed))
    back = bytearray(len(blocks) * BLOCK_BYTES)
    for one, data in zip(listed, got, strict=True):
        back[one["BlockIndex"] * BLOCK_BYTES:(one["BlockIndex"] + 1) * BLOCK_BYTES] = data
    assert bytes(back[:len(disk)]) == disk and not any(back[len(disk):])
