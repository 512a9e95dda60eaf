"""The snapshot store in a bucket of a stranger's S3 server."""

import subprocess
import sys
import urllib.request

import boto3
import pytest

import rig
from test_blocks import block, read, upload

SECRET = "canary-of-the-bucket"


def is_up(endpoint):
    try:
        with urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture
def bucket(tmp_path):
    """(endpoint, client) of an S3 server with a bucket `images`."""
    port = rig.free_port()
    endpoint = f"http://127.0.0.1:{port}"
    with open(tmp_path / "s3.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="AKID", aws_secret_access_key=SECRET
    )
    try:
        rig.wait_for(lambda: is_up(endpoint), 60, "the S3 server")
        client.create_bucket(Bucket="images")
        yield endpoint, client
    finally:
        process.kill()
        process.wait()


def test_snapshots_live_in_a_bucket(bucket, tmp_path):
    endpoint, s3 = bucket
    config = tmp_path / "katagami.toml"
    config.write_text(
        f'[store]\nurl = "s3://images/a/b"\nendpoint = "{endpoint}"\ncredentials-file = "keys"\nprofile = "store"\n'
    )
    (tmp_path / "keys").write_text(f"[store]\naws_access_key_id = AKID\naws_secret_access_key = {SECRET}\n")
    server = rig.Server(tmp_path / "data", "--config", str(config))
    server.start()
    try:
        blocks = {0: block("a"), 5: block("b"), 1023: block("c"), 2047: block("a")}
        first = upload(server, blocks)
        second = upload(server, {5: block("d")}, parent=first)
        disk = tmp_path / "disk.raw"
        with open(disk, "wb") as file:
            file.truncate(64 << 20)
            file.seek(3 << 20)
            file.write(block("e") * 4)
        pushed = server.katagami("push", disk, "--name", "in-a-bucket")
        assert pushed.returncode == 0, pushed.stderr
        image = server.client().describe_images(Owners=["self"])["Images"][0]
        third = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
        server.stop()
        server.start()
        ebs = server.client("ebs")
        assert read(ebs, first) == blocks
        assert read(ebs, second) == {**blocks, 5: block("d")}
        assert read(ebs, third) == {index: block("e") for index in range(6, 10)}
    finally:
        server.close()
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket="images")["Contents"]]
    assert {key.split("/")[2] for key in keys} >= {"store", "pack", "node", "snap"}, keys
    assert all(key.startswith("a/b/") for key in keys)
    assert not [path for path in (tmp_path / "data/store").rglob("*") if path.is_file()]
    assert SECRET not in server.log.read_text()
