//! One valid request for every action, in terms of `scene.rs`.

/// Action and parameters. Every required parameter is given, and every name in braces is there.
pub(crate) const SAMPLES: &[(&str, &str)] = &[
    (
        "AuthorizeSecurityGroupIngress",
        "GroupId={spare_group}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=443\
         &IpPermissions.1.ToPort=443&IpPermissions.1.IpRanges.1.CidrIp=0.0.0.0/0",
    ),
    ("CopyImage", "Name=copied&SourceImageId={image}&SourceRegion=us-east-1&Description=a copy"),
    ("CreateImage", "InstanceId={instance}&Name=made&Description=of an instance"),
    ("CreateKeyPair", "KeyName=fresh"),
    ("CreateSecurityGroup", "GroupName=fresh&GroupDescription=a group&VpcId={vpc}"),
    ("CreateSnapshot", "VolumeId={volume}&Description=of a volume"),
    ("CreateTags", "ResourceId.1={image}&ResourceId.2={instance}&Tag.1.Key=team&Tag.1.Value=images"),
    ("DeleteKeyPair", "KeyName={key_pair}"),
    ("DeleteSecurityGroup", "GroupId={spare_group}"),
    ("DeleteSnapshot", "SnapshotId={snapshot}"),
    ("DeleteTags", "ResourceId.1={image}&Tag.1.Key=stage"),
    ("DeregisterImage", "ImageId={image}"),
    ("DescribeAvailabilityZones", "ZoneName.1=us-east-1a"),
    ("DescribeImageAttribute", "ImageId={image}&Attribute=launchPermission"),
    ("DescribeImages", "ImageId.1={image}"),
    ("DescribeInstanceStatus", "InstanceId.1={instance}"),
    ("DescribeInstanceTypes", "InstanceType.1=t3.micro"),
    ("DescribeInstances", "InstanceId.1={instance}"),
    ("DescribeKeyPairs", "KeyName.1={key_pair}"),
    ("DescribeRegions", "RegionName.1=us-east-1"),
    ("DescribeSecurityGroups", "GroupId.1={spare_group}"),
    ("DescribeSnapshots", "SnapshotId.1={snapshot}"),
    ("DescribeSubnets", "SubnetId.1={subnet}"),
    ("DescribeTags", "Filter.1.Name=resource-id&Filter.1.Value.1={image}"),
    ("DescribeVolumes", "VolumeId.1={volume}"),
    ("DescribeVpcs", "VpcId.1={vpc}"),
    ("GetCallerIdentity", ""),
    ("GetConsoleOutput", "InstanceId={instance}"),
    (
        "ImportKeyPair",
        "KeyName=imported&PublicKeyMaterial=c3NoLWVkMjU1MTkgQUFBQUMzTnphQzFsWkRJMU5URTVBQUFBSUFFQ0F3UUZCZ2NJQ1FvTERBME9E\
         eEFSRWhNVUZSWVhHQmthR3h3ZEhoOGcgc29tZWJvZHlAZXhhbXBsZQ==",
    ),
    ("ModifyImageAttribute", "ImageId={image}&Description.Value=changed"),
    ("RebootInstances", "InstanceId.1={instance}"),
    (
        "RegisterImage",
        "Name=registered&Architecture=x86_64&VirtualizationType=hvm&RootDeviceName=/dev/xvda\
         &BlockDeviceMapping.1.DeviceName=/dev/xvda&BlockDeviceMapping.1.Ebs.SnapshotId={snapshot}",
    ),
    ("ResetImageAttribute", "ImageId={image}&Attribute=launchPermission"),
    (
        "RevokeSecurityGroupIngress",
        "GroupId={spare_group}&IpPermissions.1.IpProtocol=tcp&IpPermissions.1.FromPort=22\
         &IpPermissions.1.ToPort=22&IpPermissions.1.IpRanges.1.CidrIp=10.0.0.0/8",
    ),
    ("RunInstances", "ImageId={image}&InstanceType=t3.micro&MinCount=1&MaxCount=1&SubnetId={subnet}"),
    ("StartInstances", "InstanceId.1={stopped_instance}"),
    ("StopInstances", "InstanceId.1={instance}"),
    ("TerminateInstances", "InstanceId.1={instance}"),
];

#[test]
fn every_action_has_a_sample() {
    let all = control::registry();
    let is_sampled = |action: &str| SAMPLES.iter().any(|(sampled, _)| *sampled == action);
    let without: Vec<&str> = all.iter().map(|listed| listed.action).filter(|a| !is_sampled(a)).collect();
    assert!(without.is_empty(), "no line in SAMPLES: {without:?}");
    let is_sorted = SAMPLES.is_sorted_by_key(|(action, _)| *action);
    assert!(is_sorted, "SAMPLES is sorted by action, each once");
}
