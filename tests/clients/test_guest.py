"""Guests that really boot. Minutes on a machine without hardware virtualization."""

import base64
import json
import os
import random
import signal
import subprocess
import time

import pytest

import guest_writes
import rig
from test_blocks import BLOCK_BYTES, block, read, upload
from test_images import code_of, register

BOOT_S = 300
USER_DATA = "#!/bin/sh\necho user data of $(hostname) > /etc/said\n"


@pytest.fixture(scope="module")
def debian(server):
    """The image of a Debian disk."""
    made = subprocess.run([rig.ROOT / "demo/make-disk.sh"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    pushed = server.katagami("push", made.stdout.strip(), "--name", "debian")
    assert pushed.returncode == 0, pushed.stderr
    return pushed.stdout.strip()


@pytest.fixture(scope="module")
def reached(server, tmp_path_factory):
    """A key pair and a security group that lets ssh in: what run_instances takes."""
    ec2 = server.client()
    key = tmp_path_factory.mktemp("key") / "key.pem"
    key.write_text(ec2.create_key_pair(KeyName="guests", KeyType="ed25519")["KeyMaterial"] + "\n")
    key.chmod(0o600)
    group = ec2.create_security_group(GroupName="guests", Description="ssh")["GroupId"]
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh])
    return {"KeyName": "guests", "SecurityGroupIds": [group]}, key


def run(ec2, image_id, **more):
    launched = ec2.run_instances(ImageId=image_id, InstanceType="t3.small", MinCount=1, MaxCount=1, **more)
    return launched["Instances"][0]["InstanceId"]


def wait(ec2, waiter, instance_id, deadline_s=BOOT_S):
    ec2.get_waiter(waiter).wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1, "MaxAttempts": deadline_s})


def describe(ec2, instance_id):
    return ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


class Guest:
    """A shell in an instance."""

    def __init__(self, server, key, instance_id):
        self.server, self.key, self.instance_id = server, key, instance_id

    def ssh(self, command):
        ways = self.server.katagami("forwards", self.instance_id).stdout.splitlines()
        address = next((way.split()[1] for way in ways if way.split()[0] == "22"), None)
        if address is None:
            return None
        host, _, port = address.rpartition(":")
        quiet = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes", "ConnectTimeout=5"]
        options = [part for option in quiet for part in ("-o", option)]
        return ["ssh", "-i", self.key, "-p", port, *options, f"debian@{host}", command]

    def process(self, command):
        ssh = self.ssh(command)
        return ssh and subprocess.run(ssh, capture_output=True, text=True, timeout=120, check=False)

    def starts(self, command):
        """A command that goes on, its output to be read."""
        return subprocess.Popen(self.ssh(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def says(self, command):
        done = self.process(command)
        assert done and done.returncode == 0, done and done.stderr
        return done.stdout.strip()

    def is_up(self):
        done = self.process("true")
        return done is not None and done.returncode == 0

    def wait(self):
        rig.wait_for(self.is_up, BOOT_S, f"ssh to {self.instance_id}", every_s=0.5)


def test_the_life_of_an_instance(server, debian, reached):
    ec2, (options, key) = server.client(), reached
    volume = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}}
    instance_id = run(ec2, debian, UserData=USER_DATA, BlockDeviceMappings=[volume], **options)
    wait(ec2, "instance_running", instance_id)
    guest = Guest(server, key, instance_id)
    guest.wait()
    ec2.get_waiter("instance_status_ok").wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1, "MaxAttempts": 120})

    shown = describe(ec2, instance_id)
    assert guest.says("cloud-init status --wait >/dev/null; cat /etc/said") == f"user data of {guest.says('hostname')}"
    assert guest.says("hostname -I").split()[0] == shown["PrivateIpAddress"]
    volumes = {v["Ebs"]["VolumeId"].replace("-", "") for v in shown["BlockDeviceMappings"]}
    assert set(guest.says("lsblk -dno SERIAL").split()) == volumes
    assert guest.says("curl -s http://169.254.169.254/latest/meta-data/instance-id") == instance_id
    console = ec2.get_console_output(InstanceId=instance_id, Latest=True)["Output"]
    assert "Linux version" in console

    # a live image holds what was flushed, on both volumes
    guest.says("echo root | sudo tee /etc/kept && sudo mkfs.ext4 -q /dev/nvme1n1 && sudo mount /dev/nvme1n1 /mnt"
               " && echo data | sudo tee /mnt/kept && sync")
    image_id = ec2.create_image(InstanceId=instance_id, Name="live", NoReboot=True)["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig={"Delay": 1, "MaxAttempts": 300})
    assert guest.is_up()
    second_id = run(ec2, image_id, **options)

    # stopping is a clean shutdown; what was written is there after the start
    ec2.stop_instances(InstanceIds=[instance_id])
    wait(ec2, "instance_stopped", instance_id)
    second = Guest(server, key, second_id)
    second.wait()
    assert second.says("cat /etc/kept; sudo mount /dev/nvme1n1 /mnt; cat /mnt/kept").split() == ["root", "data"]
    ec2.terminate_instances(InstanceIds=[second_id])
    ec2.start_instances(InstanceIds=[instance_id])
    wait(ec2, "instance_running", instance_id)
    guest.wait()
    assert guest.says("cat /etc/kept") == "root"

    # the guest's own poweroff is noticed
    guest.process("sudo poweroff")
    wait(ec2, "instance_stopped", instance_id)
    ec2.terminate_instances(InstanceIds=[instance_id])
    for gone in (instance_id, second_id):
        wait(ec2, "instance_terminated", gone)
        rig.wait_for(lambda gone=gone: not left(server, gone), 30, f"{gone} to leave nothing behind")


def disk_of(server, volume_id, path):
    """The content of a volume as a file, by way of a snapshot."""
    ec2, ebs = server.client(), server.client("ebs")
    snapshot = ec2.create_snapshot(VolumeId=volume_id)
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot["SnapshotId"]], WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    with open(path, "wb") as file:
        file.truncate(snapshot["VolumeSize"] << 30)
        for index, content in read(ebs, snapshot["SnapshotId"]).items():
            file.seek(index * BLOCK_BYTES)
            file.write(content)
    return path


def test_a_power_cut_leaves_a_sound_file_system_with_all_that_was_synced(server, debian, reached, tmp_path):
    ec2, (options, key) = server.client(), reached
    volume = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "DeleteOnTermination": True}}
    instance_id = run(ec2, debian, BlockDeviceMappings=[volume], **options)
    guest = Guest(server, key, instance_id)
    wait(ec2, "instance_running", instance_id)
    guest.wait()
    writer = (rig.ROOT / "tests/clients/guest_writes.py").read_bytes()
    guest.says("sudo mkfs.ext4 -q /dev/nvme1n1 && sudo mount /dev/nvme1n1 /mnt && sudo chown debian /mnt")
    writing = guest.starts(f"echo {base64.b64encode(writer).decode()} | base64 -d > w.py && exec python3 w.py /mnt 7")
    # At any moment, far from the beginning, perhaps in the middle of a sync.
    synced = [json.loads(writing.stdout.readline()) for _ in range(25)]
    time.sleep(random.uniform(0, 1))
    for pid in machine_processes(instance_id):
        os.kill(pid, signal.SIGKILL)
    synced += [json.loads(line) for line in writing.communicate(timeout=60)[0].splitlines() if line.endswith("}")]
    wait(ec2, "instance_stopped", instance_id)

    volumes = {m["DeviceName"]: m["Ebs"]["VolumeId"] for m in describe(ec2, instance_id)["BlockDeviceMappings"]}
    disk = disk_of(server, volumes["/dev/sdf"], tmp_path / "disk")
    # The first run replays the journal, as a mount would, and must find nothing else to do.
    replayed = subprocess.run(["e2fsck", "-p", disk], capture_output=True, text=True, check=False)
    assert replayed.returncode in (0, 1) and "UNEXPECTED" not in replayed.stdout, replayed.stdout
    checked = subprocess.run(["e2fsck", "-f", "-n", disk], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    last = synced[-1]
    slots = dumped(disk, "slots", tmp_path)
    for number, version in enumerate(last["versions"]):
        found = slots[number * guest_writes.SLOT_BYTES:][:guest_writes.SLOT_BYTES]
        later = int.from_bytes(found[8:16], "big")
        assert later >= version, f"slot {number} is of version {later}, and {version} was synced"
        assert found == guest_writes.slot(number, later), f"slot {number} is torn"
    for file, count in enumerate(last["counts"]):
        expected = b"".join(guest_writes.record(file, number) for number in range(count))
        assert dumped(disk, f"added{file}", tmp_path)[:len(expected)] == expected, f"added{file}"
    assert sum(last["versions"]) > 200, "hardly anything was written"

    ec2.terminate_instances(InstanceIds=[instance_id])
    wait(ec2, "instance_terminated", instance_id)


def dumped(disk, name, tmp_path):
    """A file of an ext4 disk."""
    out = tmp_path / "dumped"
    subprocess.run(["debugfs", "-R", f"dump /{name} {out}", disk], capture_output=True, check=True)
    return out.read_bytes()


def machine_processes(instance_id):
    """QEMU, and what serves its volumes."""
    found = subprocess.run(["pgrep", "-f", f"machines/{instance_id}"], capture_output=True, text=True, check=True)
    return [int(pid) for pid in found.stdout.split()]


def left(server, instance_id):
    """Processes and files of an instance."""
    processes = subprocess.run(["pgrep", "-f", instance_id], capture_output=True, text=True, check=False).stdout.split()
    folder = server.data / "machines" / instance_id
    return processes + ([folder] if folder.exists() else [])


@pytest.fixture(scope="module")
def blank(server):
    """An image of a disk that no firmware can boot."""
    return register(server.client(), "unbootable", upload(server, {1: block("noise")}))


def test_an_unbootable_image_says_so_and_can_be_terminated(server, blank):
    ec2 = server.client()
    instance_id = run(ec2, blank)
    wait(ec2, "instance_running", instance_id)
    console = rig.wait_for(
        lambda: ec2.get_console_output(InstanceId=instance_id, Latest=True).get("Output"), 60, "a word on the console"
    )
    rig.wait_for(
        lambda: "boot" in ec2.get_console_output(InstanceId=instance_id, Latest=True)["Output"].lower(), 60, console
    )
    ec2.terminate_instances(InstanceIds=[instance_id])
    wait(ec2, "instance_terminated", instance_id)
    rig.wait_for(lambda: not left(server, instance_id), 30, "nothing to be left")


def test_a_running_instance_outlives_a_killed_server(own_server):
    own_server.start()
    ec2 = own_server.client()
    image_id = register(ec2, "unbootable", upload(own_server, {1: block("noise")}))
    instance_id = run(ec2, image_id)
    wait(ec2, "instance_running", instance_id)
    before = subprocess.run(["pgrep", "-f", instance_id], capture_output=True, text=True, check=True).stdout
    own_server.kill()
    time.sleep(0.5)
    own_server.start()
    assert describe(ec2, instance_id)["State"]["Name"] == "running"
    assert subprocess.run(["pgrep", "-f", instance_id], capture_output=True, text=True, check=True).stdout == before
    ec2.terminate_instances(InstanceIds=[instance_id])
    wait(ec2, "instance_terminated", instance_id)
    rig.wait_for(lambda: not left(own_server, instance_id), 30, "nothing to be left")


def test_launches_that_cannot_be_are_refused(server, blank):
    ec2 = server.client()
    assert code_of(run, ec2, "ami-0123456789abcdef0") == "InvalidAMIID.NotFound"
    assert code_of(run, ec2, blank, KeyName="no-such-key") == "InvalidKeyPair.NotFound"
    assert code_of(run, ec2, blank, SecurityGroupIds=["sg-0123456789abcdef0"]) == "InvalidGroup.NotFound"
    assert code_of(run, ec2, blank, SubnetId="subnet-0123456789abcdef0") == "InvalidSubnetID.NotFound"
    assert code_of(run, ec2, blank, DryRun=True) == "DryRunOperation"


def test_the_same_token_runs_one_instance(server, blank, name):
    ec2 = server.client()
    first = run(ec2, blank, ClientToken=name[:64])
    assert run(ec2, blank, ClientToken=name[:64]) == first
    ec2.terminate_instances(InstanceIds=[first])
    wait(ec2, "instance_terminated", first)
