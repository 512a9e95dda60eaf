"""Images without guests: register, describe, share, copy, deregister."""

import pytest
from botocore.exceptions import ClientError

from test_blocks import block, read, upload


def code_of(call, *args, **kwargs):
    with pytest.raises(ClientError) as refused:
        call(*args, **kwargs)
    return refused.value.response["Error"]["Code"]


def register(ec2, name, snapshot_id, **more):
    mapping = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot_id}}]
    return ec2.register_image(
        Name=name, RootDeviceName="/dev/xvda", BlockDeviceMappings=mapping,
        Architecture="x86_64", VirtualizationType="hvm", EnaSupport=True, **more,
    )["ImageId"]


@pytest.fixture(scope="module")
def snapshot(server):
    return upload(server, {0: block("image"), 5: block("more")})


def wait_available(ec2, image_id):
    ec2.get_waiter("image_available").wait(ImageIds=[image_id], WaiterConfig={"Delay": 1, "MaxAttempts": 120})


def test_an_image_is_described_with_all_its_members(ec2, snapshot, name):
    tags = [{"ResourceType": "image", "Tags": [{"Key": "colour", "Value": "red"}]}]
    image_id = register(ec2, name, snapshot, Description="said", BootMode="uefi-preferred", TagSpecifications=tags)
    [image] = ec2.describe_images(ImageIds=[image_id])["Images"]
    assert image["State"] == "available" and image["Public"] is False
    assert image["Name"] == name and image["Description"] == "said"
    assert image["RootDeviceType"] == "ebs" and image["RootDeviceName"] == "/dev/xvda"
    assert image["BootMode"] == "uefi-preferred" and image["EnaSupport"] is True
    assert image["Hypervisor"] in ("xen", "nitro", "kvm") and image["VirtualizationType"] == "hvm"
    assert image["PlatformDetails"] == "Linux/UNIX" and image["UsageOperation"] == "RunInstances"
    assert image["Tags"] == [{"Key": "colour", "Value": "red"}]
    ebs = image["BlockDeviceMappings"][0]["Ebs"]
    assert (ebs["SnapshotId"], ebs["VolumeSize"], ebs["Encrypted"]) == (snapshot, 1, False)


@pytest.mark.parametrize(
    ("filter_name", "value"),
    [
        ("name", "*members*"), ("architecture", "x86_64"), ("state", "available"), ("is-public", "false"),
        ("root-device-type", "ebs"), ("tag:colour", "red"), ("tag-key", "col?ur"), ("virtualization-type", "hvm"),
        ("block-device-mapping.volume-size", "1"), ("ena-support", "true"), ("description", "said"),
    ],
)
def test_filters_find_it(ec2, snapshot, name, filter_name, value):
    tags = [{"ResourceType": "image", "Tags": [{"Key": "colour", "Value": "red"}]}]
    image_id = register(ec2, f"members-{name}"[:128], snapshot, Description="said", TagSpecifications=tags)
    found = ec2.describe_images(Owners=["self"], Filters=[{"Name": filter_name, "Values": [value]}])["Images"]
    assert image_id in {image["ImageId"] for image in found}
    other = ec2.describe_images(Owners=["self"], Filters=[{"Name": filter_name, "Values": ["no-such"]}])["Images"]
    assert other == []


def test_a_name_is_taken_once(ec2, snapshot, name):
    register(ec2, name, snapshot)
    assert code_of(register, ec2, name, snapshot) == "InvalidAMIName.Duplicate"


def test_bad_registrations_are_refused(ec2, snapshot, name):
    assert code_of(register, ec2, "bad|name", snapshot) == "InvalidAMIName.Malformed"
    assert code_of(register, ec2, name, "snap-0123456789abcdef0") == "InvalidSnapshot.NotFound"
    call = {"Name": name, "RootDeviceName": "/dev/xvda", "Architecture": "x86_64", "VirtualizationType": "hvm"}
    small = [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot, "VolumeSize": 0}}]
    refused = code_of(ec2.register_image, BlockDeviceMappings=small, **call)
    assert refused in ("InvalidParameterValue", "InvalidBlockDeviceMapping")
    other = [{"DeviceName": "/dev/xvdb", "Ebs": {"SnapshotId": snapshot}}]
    refused = code_of(ec2.register_image, BlockDeviceMappings=other, **call)
    assert refused in ("InvalidBlockDeviceMapping", "InvalidParameterValue", "InvalidParameterCombination")


def test_sharing_reaches_the_second_account_only(server, ec2, snapshot, name, second_account, third_account):
    image_id = register(ec2, name, snapshot)
    profile, account_id = second_account
    second, third = server.client(profile=profile), server.client(profile=third_account[0])
    assert code_of(second.describe_images, ImageIds=[image_id]) == "InvalidAMIID.NotFound"
    add = {"Add": [{"UserId": account_id}]}
    ec2.modify_image_attribute(ImageId=image_id, LaunchPermission=add)
    assert [image["ImageId"] for image in second.describe_images(ImageIds=[image_id])["Images"]] == [image_id]
    assert image_id in {image["ImageId"] for image in second.describe_images(ExecutableUsers=["self"])["Images"]}
    assert code_of(third.describe_images, ImageIds=[image_id]) == "InvalidAMIID.NotFound"
    assert code_of(second.modify_image_attribute, ImageId=image_id, LaunchPermission=add) in ("AuthFailure", "UnauthorizedOperation")
    shown = ec2.describe_image_attribute(ImageId=image_id, Attribute="launchPermission")
    assert shown["LaunchPermissions"] == [{"UserId": account_id}]
    ec2.reset_image_attribute(ImageId=image_id, Attribute="launchPermission")
    assert code_of(second.describe_images, ImageIds=[image_id]) == "InvalidAMIID.NotFound"


def test_a_copy_in_another_region_has_the_same_bytes(server, ec2, snapshot, name):
    image_id = register(ec2, name, snapshot)
    west = server.client(region="us-west-2")
    assert code_of(west.describe_images, ImageIds=[image_id]) == "InvalidAMIID.NotFound"
    copy_id = west.copy_image(Name=name, SourceImageId=image_id, SourceRegion="us-east-1")["ImageId"]
    wait_available(west, copy_id)
    [copy] = west.describe_images(ImageIds=[copy_id])["Images"]
    assert (copy["SourceImageId"], copy["SourceImageRegion"]) == (image_id, "us-east-1")
    copied = copy["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert copied != snapshot
    assert read(server.client("ebs", region="us-west-2"), copied) == read(server.client("ebs"), snapshot)


def test_the_same_token_copies_once(server, ec2, snapshot, name):
    image_id = register(ec2, name, snapshot)
    west = server.client(region="us-west-2")
    call = {"Name": name, "SourceImageId": image_id, "SourceRegion": "us-east-1", "ClientToken": name}
    assert west.copy_image(**call)["ImageId"] == west.copy_image(**call)["ImageId"]
    assert code_of(west.copy_image, **{**call, "Name": f"{name}2"}) == "IdempotentParameterMismatch"


def test_a_snapshot_in_use_is_kept_until_its_image_is_gone(server, ec2, name):
    snapshot_id = upload(server, {0: block(name)})
    image_id = register(ec2, name, snapshot_id)
    assert code_of(ec2.delete_snapshot, SnapshotId=snapshot_id) == "InvalidSnapshot.InUse"
    ec2.deregister_image(ImageId=image_id)
    assert code_of(ec2.describe_images, ImageIds=[image_id]) in ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable")
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    assert code_of(ec2.describe_snapshots, SnapshotIds=[snapshot_id]) == "InvalidSnapshot.NotFound"


def test_tags_come_and_go(ec2, snapshot, name):
    image_id = register(ec2, name, snapshot)
    ec2.create_tags(Resources=[image_id, snapshot], Tags=[{"Key": "Name", "Value": name}])
    found = ec2.describe_tags(Filters=[{"Name": "value", "Values": [name]}])["Tags"]
    assert {tag["ResourceId"] for tag in found} == {image_id, snapshot}
    ec2.delete_tags(Resources=[image_id], Tags=[{"Key": "Name", "Value": "another"}])
    ec2.delete_tags(Resources=[snapshot], Tags=[{"Key": "Name"}])
    left = ec2.describe_tags(Filters=[{"Name": "value", "Values": [name]}])["Tags"]
    assert [tag["ResourceId"] for tag in left] == [image_id]
