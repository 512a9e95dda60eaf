//! Every code that an action declares is one that it gives.

use std::collections::{BTreeMap, BTreeSet};

use crate::scene::{Params, Scene, samples};

/// Codes that take more than a test can set up, one `Action Code` a line. It may only get shorter.
const UNREACHED: &str = include_str!("../fixtures/unreached-codes.txt");

/// Action, code, and how the refused request differs from the sample: `Name=value` is put in, `-Name`
/// takes out whatever is at or below the name.
const REFUSALS: &[(&str, &str, &str)] = &[
    ("AuthorizeSecurityGroupIngress", "InvalidGroup.NotFound", "GroupId=sg-0dead0dead0dead00"),
    ("AuthorizeSecurityGroupIngress", "InvalidParameterCombination", "CidrIp=10.0.0.0/8&IpProtocol=tcp"),
    ("AuthorizeSecurityGroupIngress", "InvalidParameterValue", "IpPermissions.1.IpRanges.1.CidrIp=10.0.0/8"),
    (
        "AuthorizeSecurityGroupIngress",
        "InvalidPermission.Duplicate",
        "IpPermissions.1.FromPort=22&IpPermissions.1.ToPort=22&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8",
    ),
    ("AuthorizeSecurityGroupIngress", "InvalidPermission.Malformed", "-IpPermissions.1.IpRanges"),
    ("AuthorizeSecurityGroupIngress", "MissingParameter", "-IpPermissions"),
    ("AuthorizeSecurityGroupIngress", "RulesPerSecurityGroupLimitExceeded", "{1001 ranges}"),
    ("CopyImage", "InvalidAMIID.NotFound", "SourceImageId=ami-0dead0dead0dead00"),
    ("CopyImage", "InvalidAMIID.Unavailable", "SourceImageId={deregistered_image}"),
    ("CopyImage", "InvalidAMIName.Duplicate", "Name=base"),
    ("CopyImage", "InvalidAMIName.Malformed", "Name=a"),
    ("CopyImage", "InvalidParameterValue", "Description={256 characters}"),
    ("CopyImage", "InvalidRegion", "SourceRegion=mars-north-1"),
    ("CopyImage", "InvalidRequest", "SourceImageId={shared_image}"),
    ("CopyImage", "UnsupportedOperation", "Encrypted=true"),
    ("CreateImage", "IncorrectInstanceState", "InstanceId={imaging_instance}"),
    ("CreateImage", "InvalidAMIName.Duplicate", "Name=base"),
    ("CreateImage", "InvalidAMIName.Malformed", "Name=a"),
    (
        "CreateImage",
        "InvalidBlockDeviceMapping",
        "BlockDeviceMapping.1.DeviceName=/dev/xvda&BlockDeviceMapping.1.Ebs.VolumeSize=9",
    ),
    ("CreateImage", "InvalidInstanceID.NotFound", "InstanceId=i-0dead0dead0dead00"),
    ("CreateImage", "InvalidParameterCombination", "BootModeOverride=legacy-bios"),
    ("CreateImage", "InvalidParameterValue", "InstanceId={terminated_instance}"),
    ("CreateImage", "MissingParameter", "BlockDeviceMapping.1.Ebs.VolumeSize=9"),
    ("CreateImage", "UnsupportedOperation", "SnapshotLocation=local"),
    ("CreateKeyPair", "InvalidKeyPair.Duplicate", "KeyName={key_pair}"),
    ("CreateKeyPair", "InvalidParameterValue", "KeyName=  spaces  "),
    ("CreateKeyPair", "UnsupportedOperation", "KeyFormat=ppk"),
    ("CreateSecurityGroup", "InvalidGroup.Duplicate", "GroupName=spare"),
    ("CreateSecurityGroup", "InvalidGroup.Reserved", "GroupName=default"),
    ("CreateSecurityGroup", "InvalidParameterValue", "GroupDescription={256 characters}"),
    ("CreateSecurityGroup", "InvalidVpcID.NotFound", "VpcId=vpc-0dead0dead0dead00"),
    ("CreateSnapshot", "IncorrectState", "VolumeId={creating_volume}"),
    ("CreateSnapshot", "InvalidParameterValue", "Description={256 characters}"),
    ("CreateSnapshot", "InvalidVolume.NotFound", "VolumeId=vol-0dead0dead0dead00"),
    ("CreateSnapshot", "UnsupportedOperation", "Location=local"),
    ("CreateTags", "InvalidAMIID.NotFound", "ResourceId.1=ami-0dead0dead0dead00"),
    ("CreateTags", "InvalidGroup.NotFound", "ResourceId.1=sg-0dead0dead0dead00"),
    ("CreateTags", "InvalidID", "ResourceId.1=nonsense"),
    ("CreateTags", "InvalidInstanceID.NotFound", "ResourceId.1=i-0dead0dead0dead00"),
    ("CreateTags", "InvalidKeyPair.NotFound", "ResourceId.1=key-0dead0dead0dead00"),
    ("CreateTags", "InvalidParameterValue", "Tag.1.Key=aws:reserved"),
    ("CreateTags", "InvalidSecurityGroupRuleId.NotFound", "ResourceId.1=sgr-0dead0dead0dead00"),
    ("CreateTags", "InvalidSnapshot.NotFound", "ResourceId.1=snap-0dead0dead0dead00"),
    ("CreateTags", "InvalidSubnetID.NotFound", "ResourceId.1=subnet-0dead0dead0dead00"),
    ("CreateTags", "InvalidVolume.NotFound", "ResourceId.1=vol-0dead0dead0dead00"),
    ("CreateTags", "InvalidVpcID.NotFound", "ResourceId.1=vpc-0dead0dead0dead00"),
    ("CreateTags", "MissingParameter", "-ResourceId"),
    ("CreateTags", "TagLimitExceeded", "{51 tags}"),
    ("CreateTags", "UnsupportedOperation", "ResourceId.1=eni-0dead0dead0dead00"),
    ("DeleteKeyPair", "InvalidParameterCombination", "KeyPairId=key-0dead0dead0dead00"),
    ("DeleteKeyPair", "MissingParameter", "-KeyName"),
    ("DeleteSecurityGroup", "CannotDelete", "GroupId={group}"),
    ("DeleteSecurityGroup", "DependencyViolation", "GroupId={peer_group}"),
    ("DeleteSecurityGroup", "InvalidGroup.NotFound", "GroupId=sg-0dead0dead0dead00"),
    ("DeleteSecurityGroup", "InvalidParameterCombination", "GroupName=spare"),
    ("DeleteSecurityGroup", "MissingParameter", "-GroupId"),
    ("DeleteSnapshot", "InvalidSnapshot.InUse", "SnapshotId={image_snapshot}"),
    ("DeleteSnapshot", "InvalidSnapshot.NotFound", "SnapshotId=snap-0dead0dead0dead00"),
    ("DeleteTags", "InvalidAMIID.NotFound", "ResourceId.1=ami-0dead0dead0dead00"),
    ("DeleteTags", "InvalidGroup.NotFound", "ResourceId.1=sg-0dead0dead0dead00"),
    ("DeleteTags", "InvalidID", "ResourceId.1=nonsense"),
    ("DeleteTags", "InvalidInstanceID.NotFound", "ResourceId.1=i-0dead0dead0dead00"),
    ("DeleteTags", "InvalidKeyPair.NotFound", "ResourceId.1=key-0dead0dead0dead00"),
    ("DeleteTags", "InvalidParameterValue", "Tag.1.Key=aws:reserved"),
    ("DeleteTags", "InvalidSecurityGroupRuleId.NotFound", "ResourceId.1=sgr-0dead0dead0dead00"),
    ("DeleteTags", "InvalidSnapshot.NotFound", "ResourceId.1=snap-0dead0dead0dead00"),
    ("DeleteTags", "InvalidSubnetID.NotFound", "ResourceId.1=subnet-0dead0dead0dead00"),
    ("DeleteTags", "InvalidVolume.NotFound", "ResourceId.1=vol-0dead0dead0dead00"),
    ("DeleteTags", "InvalidVpcID.NotFound", "ResourceId.1=vpc-0dead0dead0dead00"),
    ("DeleteTags", "MissingParameter", "-ResourceId"),
    ("DeleteTags", "UnsupportedOperation", "ResourceId.1=eni-0dead0dead0dead00"),
    ("DeregisterImage", "AuthFailure", "ImageId={shared_image}"),
    ("DeregisterImage", "InvalidAMIID.NotFound", "ImageId={foreign_image}"),
    ("DeregisterImage", "InvalidAMIID.Unavailable", "ImageId={deregistered_image}"),
    ("DescribeAvailabilityZones", "InvalidParameterValue", "ZoneName.1=mars-north-1a"),
    ("DescribeImageAttribute", "AuthFailure", "ImageId={shared_image}"),
    ("DescribeImageAttribute", "InvalidAMIID.NotFound", "ImageId={foreign_image}"),
    ("DescribeImageAttribute", "InvalidAMIID.Unavailable", "ImageId={deregistered_image}"),
    ("DescribeImageAttribute", "InvalidParameterValue", "Attribute=colour"),
    ("DescribeImages", "InvalidAMIID.NotFound", "ImageId.1={foreign_image}"),
    ("DescribeInstanceStatus", "InvalidInstanceID.NotFound", "InstanceId.1=i-0dead0dead0dead00"),
    ("DescribeInstanceTypes", "InvalidInstanceType", "InstanceType.1=z9.huge"),
    ("DescribeInstanceTypes", "InvalidParameterValue", "{101 types}"),
    ("DescribeInstances", "InvalidInstanceID.NotFound", "InstanceId.1=i-0dead0dead0dead00"),
    ("DescribeKeyPairs", "InvalidKeyPair.NotFound", "KeyName.1=nobody"),
    ("DescribeSecurityGroups", "InvalidGroup.NotFound", "GroupId.1=sg-0dead0dead0dead00"),
    ("DescribeSnapshots", "InvalidSnapshot.NotFound", "SnapshotId.1={foreign_snapshot}"),
    ("DescribeSubnets", "InvalidSubnetID.NotFound", "SubnetId.1=subnet-0dead0dead0dead00"),
    ("DescribeVolumes", "InvalidVolume.NotFound", "VolumeId.1=vol-0dead0dead0dead00"),
    ("DescribeVpcs", "InvalidVpcID.NotFound", "VpcId.1=vpc-0dead0dead0dead00"),
    ("GetConsoleOutput", "InvalidInstanceID.NotFound", "InstanceId=i-0dead0dead0dead00"),
    ("ImportKeyPair", "InvalidKey.Format", "PublicKeyMaterial=eA=="),
    ("ImportKeyPair", "InvalidKeyPair.Duplicate", "KeyName={key_pair}"),
    ("ImportKeyPair", "InvalidParameterValue", "KeyName=  spaces  "),
    ("ModifyImageAttribute", "AuthFailure", "ImageId={shared_image}"),
    (
        "ModifyImageAttribute",
        "InvalidAMIAttributeItemValue",
        "-Description&LaunchPermission.Add.1.UserId=somebody",
    ),
    ("ModifyImageAttribute", "InvalidAMIID.NotFound", "ImageId={foreign_image}"),
    ("ModifyImageAttribute", "InvalidAMIID.Unavailable", "ImageId={pending_image}"),
    ("ModifyImageAttribute", "InvalidParameterCombination", "ImdsSupport.Value=v2.0"),
    ("ModifyImageAttribute", "InvalidParameterValue", "-Description&ImdsSupport.Value=v1.0"),
    ("ModifyImageAttribute", "MissingParameter", "-Description"),
    ("RebootInstances", "IncorrectInstanceState", "InstanceId.1={stopped_instance}"),
    ("RebootInstances", "InvalidInstanceID.NotFound", "InstanceId.1=i-0dead0dead0dead00"),
    ("RebootInstances", "MissingParameter", "-InstanceId"),
    ("RegisterImage", "IncorrectState", "BlockDeviceMapping.1.Ebs.SnapshotId={pending_snapshot}"),
    ("RegisterImage", "InvalidAMIName.Duplicate", "Name=base"),
    ("RegisterImage", "InvalidAMIName.Malformed", "Name=a"),
    ("RegisterImage", "InvalidBlockDeviceMapping", "RootDeviceName=/dev/sda1"),
    ("RegisterImage", "InvalidParameterCombination", "BlockDeviceMapping.1.Ebs.Iops=100"),
    (
        "RegisterImage",
        "InvalidParameterDependency",
        "BlockDeviceMapping.1.Ebs.VolumeSize=8&BlockDeviceMapping.1.Ebs.VolumeType=io1",
    ),
    ("RegisterImage", "InvalidParameterValue", "ImdsSupport=v1.0"),
    ("RegisterImage", "InvalidSnapshot.NotFound", "BlockDeviceMapping.1.Ebs.SnapshotId={foreign_snapshot}"),
    ("RegisterImage", "MissingParameter", "-BlockDeviceMapping"),
    ("RegisterImage", "UnsupportedOperation", "-VirtualizationType"),
    ("ResetImageAttribute", "AuthFailure", "ImageId={shared_image}"),
    ("ResetImageAttribute", "InvalidAMIID.NotFound", "ImageId={foreign_image}"),
    ("ResetImageAttribute", "InvalidAMIID.Unavailable", "ImageId={deregistered_image}"),
    ("ResetImageAttribute", "InvalidParameterValue", "Attribute=description"),
    ("RevokeSecurityGroupIngress", "InvalidGroup.NotFound", "GroupId=sg-0dead0dead0dead00"),
    (
        "RevokeSecurityGroupIngress",
        "InvalidParameterCombination",
        "SecurityGroupRuleId.1=sgr-0dead0dead0dead00",
    ),
    ("RevokeSecurityGroupIngress", "InvalidParameterValue", "IpPermissions.1.IpRanges.1.CidrIp=10.0.0/8"),
    ("RevokeSecurityGroupIngress", "InvalidPermission.Malformed", "-IpPermissions.1.IpRanges"),
    (
        "RevokeSecurityGroupIngress",
        "InvalidPermission.NotFound",
        "IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/9",
    ),
    (
        "RevokeSecurityGroupIngress",
        "InvalidSecurityGroupRuleId.NotFound",
        "-IpPermissions&SecurityGroupRuleId.1=sgr-0dead0dead0dead00",
    ),
    ("RevokeSecurityGroupIngress", "MissingParameter", "-IpPermissions"),
    (
        "RunInstances",
        "IncorrectState",
        "BlockDeviceMapping.1.DeviceName=/dev/sdf&BlockDeviceMapping.1.Ebs.SnapshotId={pending_snapshot}",
    ),
    ("RunInstances", "InstanceLimitExceeded", "MinCount=1000&MaxCount=1000"),
    ("RunInstances", "InvalidAMIID.NotFound", "ImageId={foreign_image}"),
    ("RunInstances", "InvalidAMIID.Unavailable", "ImageId={deregistered_image}"),
    (
        "RunInstances",
        "InvalidBlockDeviceMapping",
        "BlockDeviceMapping.1.DeviceName=/dev/xvda&BlockDeviceMapping.1.NoDevice=",
    ),
    ("RunInstances", "InvalidGroup.NotFound", "SecurityGroupId.1=sg-0dead0dead0dead00"),
    ("RunInstances", "InvalidKeyPair.NotFound", "KeyName=nobody"),
    ("RunInstances", "InvalidParameterCombination", "MinCount=2"),
    (
        "RunInstances",
        "InvalidParameterDependency",
        "BlockDeviceMapping.1.DeviceName=/dev/sdf&BlockDeviceMapping.1.Ebs.VolumeSize=8\
         &BlockDeviceMapping.1.Ebs.VolumeType=io1",
    ),
    ("RunInstances", "InvalidParameterValue", "MinCount=0"),
    (
        "RunInstances",
        "InvalidSnapshot.NotFound",
        "BlockDeviceMapping.1.DeviceName=/dev/sdf&BlockDeviceMapping.1.Ebs.SnapshotId={foreign_snapshot}",
    ),
    ("RunInstances", "InvalidSubnetID.NotFound", "SubnetId=subnet-0dead0dead0dead00"),
    ("RunInstances", "InvalidUserData.Malformed", "UserData=%%%"),
    ("RunInstances", "MissingParameter", "-ImageId"),
    ("RunInstances", "UnsupportedOperation", "Placement.Tenancy=dedicated"),
    ("StartInstances", "IncorrectInstanceState", "InstanceId.1={terminated_instance}"),
    ("StartInstances", "InvalidInstanceID.NotFound", "InstanceId.1=i-0dead0dead0dead00"),
    ("StartInstances", "MissingParameter", "-InstanceId"),
    ("StopInstances", "IncorrectInstanceState", "InstanceId.1={terminated_instance}"),
    ("StopInstances", "InvalidInstanceID.NotFound", "InstanceId.1=i-0dead0dead0dead00"),
    ("StopInstances", "MissingParameter", "-InstanceId"),
    ("StopInstances", "OperationNotPermitted", "InstanceId.1={protected_instance}"),
    ("StopInstances", "UnsupportedOperation", "Hibernate=true"),
    ("TerminateInstances", "InvalidInstanceID.NotFound", "InstanceId.1=i-0dead0dead0dead00"),
    ("TerminateInstances", "MissingParameter", "-InstanceId"),
    ("TerminateInstances", "OperationNotPermitted", "InstanceId.1={protected_instance}"),
];

/// The same for an account that has all it may have.
const REFUSALS_WHEN_FULL: &[(&str, &str, &str)] = &[
    ("CreateKeyPair", "KeyPairLimitExceeded", ""),
    ("CreateSecurityGroup", "SecurityGroupLimitExceeded", ""),
    ("ImportKeyPair", "KeyPairLimitExceeded", ""),
    (
        "ModifyImageAttribute",
        "ResourceLimitExceeded",
        "-Description&LaunchPermission.Add.1.UserId=999999999999",
    ),
];

/// A name in braces, and the parameters that it stands for.
type Written = (&'static str, fn() -> String);

/// Parameters that are too many to write down.
const LISTS: &[Written] = &[
    ("{51 tags}", || numbered(51, |n| format!("Tag.{n}.Key=key-{n}"))),
    ("{101 types}", || numbered(101, |n| format!("InstanceType.{n}=t3.micro"))),
    ("{1001 ranges}", || {
        numbered(1001, |n| format!("IpPermissions.1.IpRanges.{n}.CidrIp=10.{}.{}.0/24", n / 256, n % 256))
    }),
];

fn numbered(count: usize, parameter: impl Fn(usize) -> String) -> String {
    (1..=count).map(parameter).collect::<Vec<_>>().join("&")
}

fn applied(scene: &Scene, sample: &str, difference: &str) -> Params {
    let mut params = scene.params(sample);
    let (out, into): (Vec<&str>, Vec<&str>) = difference.split('&').partition(|part| part.starts_with('-'));
    for name in out.iter().filter_map(|part| part.strip_prefix('-')) {
        params.retain(|(given, _)| given != name && !given.starts_with(&format!("{name}.")));
    }
    let into = into.join("&").replace("{256 characters}", &"x".repeat(256));
    let into = LISTS.iter().fold(into, |into, (name, list)| into.replace(name, &list()));
    let changes = scene.params(&into);
    let changed: BTreeSet<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    params.retain(|(given, _)| !changed.contains(given.as_str()));
    params.extend(changes);
    params
}

async fn are_given(scene: &Scene, refusals: &[(&str, &str, &str)]) {
    let before = scene.world.dump().await;
    for (listed, sample) in samples() {
        for (_, code, difference) in refusals.iter().filter(|(action, ..)| *action == listed.action) {
            let reply = scene.call(&listed, &applied(scene, sample, difference)).await;
            assert_eq!(reply.error_code(), *code, "{} {difference}: {}", listed.action, reply.text());
        }
    }
    assert!(scene.world.dump().await == before, "a refused request changed something");
}

#[tokio::test]
async fn every_refusal_has_its_code_and_changes_nothing() {
    are_given(&Scene::new().await, REFUSALS).await;
}

#[tokio::test]
async fn an_account_that_has_all_it_may_have_gets_no_more() {
    let scene = Scene::new().await;
    scene.fill().await;
    are_given(&scene, REFUSALS_WHEN_FULL).await;
}

#[test]
fn an_action_declares_exactly_the_codes_that_it_is_seen_to_give() {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let given = REFUSALS.iter().chain(REFUSALS_WHEN_FULL).map(|(action, code, _)| (*action, *code));
    let unreached = UNREACHED.lines().filter_map(|line| line.split_once(' '));
    for (action, code) in given.chain(unreached) {
        assert!(seen.entry(action).or_default().insert(code), "{action} {code} is there twice");
    }
    let mut wrong = Vec::new();
    for (listed, _) in samples() {
        let declared: BTreeSet<&str> = listed.errors.iter().map(|code| code.wire()).collect();
        let seen = seen.remove(listed.action).unwrap_or_default();
        wrong.extend(
            declared.difference(&seen).map(|code| format!("{} {code} has no refusal", listed.action)),
        );
        wrong.extend(
            seen.difference(&declared).map(|code| format!("{} {code} is not in ERRORS", listed.action)),
        );
    }
    wrong.extend(seen.keys().map(|action| format!("{action} is no action")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
