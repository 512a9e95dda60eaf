"""Debian's aws cli and the newest of pip, and the commands of katagami itself."""

import json
import os
import re

import rig


def test_versions_are_the_two_that_users_have(server):
    versions = {
        name: server.aws_process(name, "--version").stdout.split()[0] for name in rig.AWS_CLIS
    }
    assert versions["debian"].startswith("aws-cli/2.") and versions["pip"].startswith("aws-cli/1."), versions


def test_describe_commands_answer(server, cli):
    assert server.aws(cli, "ec2", "describe-regions")["Regions"]
    assert server.aws(cli, "sts", "get-caller-identity")["Account"].isdigit()
    assert server.aws(cli, "ec2", "describe-images", "--owners", "self")["Images"] is not None
    for what in ("instances", "volumes", "snapshots", "vpcs", "subnets", "security-groups", "key-pairs", "tags"):
        assert server.aws(cli, "ec2", f"describe-{what}") is not None, what


def test_a_key_pair_is_made_and_opens_with_openssh(server, cli, name, tmp_path):
    pair = server.aws(cli, "ec2", "create-key-pair", "--key-name", name, "--key-type", "ed25519")
    key = tmp_path / "key.pem"
    key.write_text(pair["KeyMaterial"] + "\n")
    key.chmod(0o600)
    public = rig.subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True).stdout
    assert public.startswith("ssh-ed25519 ")
    server.aws(cli, "ec2", "delete-key-pair", "--key-name", name)


def test_errors_reach_the_user(server, cli):
    done = server.aws_process(cli, "ec2", "describe-images", "--image-ids", "ami-0123456789abcdef0")
    assert done.returncode != 0
    assert "(InvalidAMIID.NotFound)" in done.stderr
    assert "The image id '[ami-0123456789abcdef0]' does not exist" in done.stderr


def disk(path, size_mib=64):
    """A sparse file: data at its head, in its middle, at its end."""
    with open(path, "wb") as file:
        file.truncate(size_mib << 20)
        for offset in (0, (size_mib << 19) + 4096, (size_mib << 20) - 5000):
            file.seek(offset)
            file.write(os.urandom(5000))
    return path


def test_push_prints_the_image_id_and_stores_the_bytes(server, cli, name, tmp_path):
    source = disk(tmp_path / "disk.raw")
    done = server.katagami("push", source, "--name", name, "--endpoint", server.url)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"ami-[0-9a-f]{17}\n", done.stdout), done.stdout
    image_id = done.stdout.strip()
    server.aws(cli, "ec2", "wait", "image-available", "--image-ids", image_id)
    [image] = server.aws(cli, "ec2", "describe-images", "--image-ids", image_id)["Images"]
    assert image["Name"] == name
    snapshot_id = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    page = server.aws(cli, "ebs", "list-snapshot-blocks", "--snapshot-id", snapshot_id)
    assert page["VolumeSize"] == 1
    expected = source.read_bytes()
    rebuilt = bytearray(len(expected))
    for listed in page["Blocks"]:
        part = tmp_path / "block"
        server.aws(
            cli, "ebs", "get-snapshot-block", "--snapshot-id", snapshot_id,
            "--block-index", listed["BlockIndex"], "--block-token", listed["BlockToken"], part,
        )
        begin = listed["BlockIndex"] * page["BlockSize"]
        rebuilt[begin:begin + page["BlockSize"]] = part.read_bytes()
    assert len(page["Blocks"]) == 3, "holes and zero blocks are not sent"
    assert bytes(rebuilt[:len(expected)]) == expected


def test_push_says_what_is_wrong(server, tmp_path):
    done = server.katagami("push", tmp_path / "nothing.raw", "--name", "nothing")
    assert done.returncode != 0 and done.stdout == "" and "nothing.raw" in done.stderr


def test_push_tells_of_a_taken_name_before_it_uploads(server, name, tmp_path):
    source = disk(tmp_path / "disk.raw", size_mib=2)
    assert server.katagami("push", source, "--name", name).returncode == 0
    before = len(server.client().describe_snapshots(OwnerIds=["self"])["Snapshots"])
    done = server.katagami("push", source, "--name", name)
    assert done.returncode == 5 and "InvalidAMIName.Duplicate" in done.stderr, done.stderr
    assert len(server.client().describe_snapshots(OwnerIds=["self"])["Snapshots"]) == before


def test_the_json_of_both_clis_is_the_same(server):
    answers = [
        json.dumps(server.aws(name, "ec2", "describe-availability-zones"), sort_keys=True) for name in rig.AWS_CLIS
    ]
    assert answers[0] == answers[1]
