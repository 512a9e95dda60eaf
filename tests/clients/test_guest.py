"""Guests that really boot. Minutes on a machine without hardware virtualization."""

import subprocess
import time

import pytest

import rig
from test_blocks import block, upload
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

    def process(self, command):
        ways = self.server.katagami("forwards", self.instance_id).stdout.splitlines()
        address = next((way.split()[1] for way in ways if way.split()[0] == "22"), None)
        if address is None:
            return None
        host, _, port = address.rpartition(":")
        quiet = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes", "ConnectTimeout=5"]
        options = [part for option in quiet for part in ("-o", option)]
        ssh = ["ssh", "-i", self.key, "-p", port, *options, f"debian@{host}", command]
        return subprocess.run(ssh, capture_output=True, text=True, timeout=120, check=False)

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
