use testkit::{REGION, Reply, World};

/// A valid request for this snapshot, with changes: `("Name", "x")` replaces or adds, an empty value takes out.
async fn register(world: &World, snapshot: &str, changes: &[(&str, &str)]) -> Reply {
    let mut params = vec![
        ("Name", "image"),
        ("Architecture", "x86_64"),
        ("VirtualizationType", "hvm"),
        ("RootDeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot),
    ];
    params.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    params.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    world.call("RegisterImage", &params).await
}

async fn described(world: &World, image: &str) -> Reply {
    world.call("DescribeImages", &[("ImageId.1", image)]).await.ok()
}

#[tokio::test]
async fn an_image_is_available_at_once_with_everything_that_was_said_of_it() {
    let world = World::new().await;
    let snapshot = world.seed_snapshot(2, b"boot me").await;
    let changes = [
        ("Name", "web server (v1.0) [x]/y-z'@_"),
        ("Description", "a <description> & more"),
        ("EnaSupport", "true"),
        ("SriovNetSupport", "simple"),
        ("BootMode", "uefi-preferred"),
        ("ImdsSupport", "v2.0"),
        ("TagSpecification.1.ResourceType", "image"),
        ("TagSpecification.1.Tag.1.Key", "team"),
        ("TagSpecification.1.Tag.1.Value", "images"),
    ];
    let image = register(&world, snapshot.as_str(), &changes).await.ok().value("imageId");
    let reply = described(&world, &image).await;
    let owner = world.owner.id.as_str();
    for (element, value) in [
        ("imageId", image.as_str()),
        ("name", "web server (v1.0) [x]/y-z'@_"),
        ("description", "a <description> & more"),
        ("imageLocation", &format!("{owner}/web server (v1.0) [x]/y-z'@_")),
        ("imageState", "available"),
        ("imageOwnerId", owner),
        ("isPublic", "false"),
        ("architecture", "x86_64"),
        ("imageType", "machine"),
        ("hypervisor", "xen"),
        ("virtualizationType", "hvm"),
        ("rootDeviceType", "ebs"),
        ("rootDeviceName", "/dev/xvda"),
        ("enaSupport", "true"),
        ("sriovNetSupport", "simple"),
        ("bootMode", "uefi-preferred"),
        ("imdsSupport", "v2.0"),
        ("platformDetails", "Linux/UNIX"),
        ("usageOperation", "RunInstances"),
        ("creationDate", "2026-11-21T08:00:00.000Z"),
        ("snapshotId", snapshot.as_str()),
        ("volumeSize", "2"),
        ("key", "team"),
        ("value", "images"),
    ] {
        assert_eq!(reply.value(element), value, "{element}");
    }
    assert!(!reply.has("stateReason") && !reply.has("platform"));
}

#[tokio::test]
async fn what_is_not_said_has_the_apis_defaults() {
    let world = World::new().await;
    let snapshot = world.seed_snapshot(2, b"x").await;
    let unsaid =
        [("Architecture", ""), ("RootDeviceName", ""), ("BlockDeviceMapping.1.DeviceName", "/dev/sda1")];
    let image = register(&world, snapshot.as_str(), &unsaid).await.ok().value("imageId");
    let reply = described(&world, &image).await;
    assert_eq!(reply.value("architecture"), "i386");
    assert_eq!(reply.value("rootDeviceName"), "/dev/sda1");
    assert_eq!((reply.value("volumeType"), reply.value("volumeSize")), ("gp2".into(), "2".into()));
    assert_eq!(reply.value("deleteOnTermination"), "true");
    assert_eq!((reply.value("enaSupport"), reply.value("encrypted")), ("false".into(), "false".into()));
    for absent in ["bootMode", "imdsSupport", "description", "tagSet", "tpmSupport"] {
        assert!(!reply.has(absent), "{absent}");
    }
    let paravirtual = register(&world, snapshot.as_str(), &[("VirtualizationType", "")]).await;
    assert_eq!(paravirtual.error_code(), "UnsupportedOperation");
}

#[tokio::test]
async fn data_volumes_and_instance_store_are_kept_in_order() {
    let world = World::new().await;
    let snapshot = world.seed_snapshot(2, b"x").await;
    let more = [
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "10"),
        ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
        ("BlockDeviceMapping.1.Ebs.Throughput", "250"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "false"),
        ("BlockDeviceMapping.2.DeviceName", "/dev/sdb"),
        ("BlockDeviceMapping.2.VirtualName", "ephemeral0"),
        ("BlockDeviceMapping.3.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.3.Ebs.VolumeSize", "8"),
        ("BlockDeviceMapping.3.Ebs.VolumeType", "io1"),
        ("BlockDeviceMapping.3.Ebs.Iops", "200"),
        ("BlockDeviceMapping.3.Ebs.Encrypted", "false"),
        ("BlockDeviceMapping.4.DeviceName", "/dev/sdg"),
        ("BlockDeviceMapping.4.NoDevice", "true"),
    ];
    let image = register(&world, snapshot.as_str(), &more).await.ok().value("imageId");
    let reply = described(&world, &image).await;
    assert_eq!(reply.values("deviceName"), ["/dev/xvda", "/dev/sdb", "/dev/sdf"]);
    assert_eq!(reply.values("volumeSize"), ["10", "8"]);
    assert_eq!(reply.values("volumeType"), ["gp3", "io1"]);
    assert_eq!(reply.values("iops"), ["3000", "200"]);
    assert_eq!(reply.values("throughput"), ["250"]);
    assert_eq!(reply.values("deleteOnTermination"), ["false", "false"]);
    assert_eq!(reply.values("virtualName"), ["ephemeral0"]);
}

#[tokio::test]
async fn mappings_that_cannot_be_are_refused() {
    let world = World::new().await;
    let snapshot = world.seed_snapshot(2, b"x").await;
    let second = |name: &'static str| ("BlockDeviceMapping.2.DeviceName", name);
    let refused = "InvalidBlockDeviceMapping";
    for (changes, code) in [
        (vec![("RootDeviceName", "/dev/sda1")], refused),
        (vec![("BlockDeviceMapping.1.DeviceName", "")], "MissingParameter"),
        (vec![("BlockDeviceMapping.1.DeviceName", "/dev/x,y")], refused),
        (
            vec![("BlockDeviceMapping.1.Ebs.SnapshotId", ""), ("BlockDeviceMapping.1.Ebs.VolumeSize", "8")],
            refused,
        ),
        (
            vec![
                ("BlockDeviceMapping.1.Ebs.SnapshotId", ""),
                ("BlockDeviceMapping.1.VirtualName", "ephemeral0"),
            ],
            refused,
        ),
        (vec![("BlockDeviceMapping.1.VirtualName", "ephemeral0")], refused),
        (vec![("BlockDeviceMapping.1.Ebs.VolumeSize", "1")], refused),
        (vec![("BlockDeviceMapping.1.Ebs.VolumeSize", "-8")], "InvalidParameterValue"),
        (vec![("BlockDeviceMapping.1.Ebs.VolumeSize", "65537")], "InvalidParameterValue"),
        (vec![("BlockDeviceMapping.1.Ebs.VolumeType", "gp9")], "InvalidParameterValue"),
        (
            vec![
                ("BlockDeviceMapping.1.Ebs.VolumeSize", "125"),
                ("BlockDeviceMapping.1.Ebs.VolumeType", "st1"),
            ],
            refused,
        ),
        (vec![("BlockDeviceMapping.1.Ebs.Throughput", "125")], "InvalidParameterCombination"),
        (vec![("BlockDeviceMapping.1.Ebs.Encrypted", "false")], refused),
        (vec![("BlockDeviceMapping.1.Ebs.KmsKeyId", "k")], "UnsupportedOperation"),
        (vec![second("/dev/xvda"), ("BlockDeviceMapping.2.Ebs.VolumeSize", "8")], refused),
        (vec![second("/dev/sdf")], refused),
        (vec![second("/dev/sdf"), ("BlockDeviceMapping.2.Ebs.DeleteOnTermination", "true")], refused),
        (vec![second("/dev/sdf"), ("BlockDeviceMapping.2.VirtualName", "ephemeral24")], refused),
        (
            vec![second("/dev/sdf"), ("BlockDeviceMapping.2.Ebs.SnapshotId", "snap-12345678")],
            "InvalidSnapshot.NotFound",
        ),
    ] {
        let reply = register(&world, snapshot.as_str(), &changes).await;
        assert_eq!(reply.error_code(), code, "{changes:?}: {}", reply.error_message());
    }
    assert!(world.call("DescribeImages", &[]).await.ok().values("imageId").is_empty());
}

#[tokio::test]
async fn a_name_is_used_once_in_an_account_and_region() {
    let world = World::new().await;
    let snapshot = world.seed_snapshot(1, b"x").await;
    let first = register(&world, snapshot.as_str(), &[]).await.ok().value("imageId");
    let again = register(&world, snapshot.as_str(), &[]).await;
    assert_eq!(again.error_code(), "InvalidAMIName.Duplicate");
    assert!(again.error_message().contains(&first));
    let other = world.account("other").await;
    world.seed_image_of(&other, "image", b"x").await;
    world.call("DeregisterImage", &[("ImageId", &first)]).await.ok();
    register(&world, snapshot.as_str(), &[]).await.ok();
    for name in ["ab", &"x".repeat(129), "a,b,c", "naïve"] {
        let reply = register(&world, snapshot.as_str(), &[("Name", name)]).await;
        assert_eq!(reply.error_code(), "InvalidAMIName.Malformed", "{name}");
    }
}

#[tokio::test]
async fn a_snapshot_must_be_the_callers_and_completed() {
    let world = World::new().await;
    let other = world.account("other").await;
    let theirs = world.seed_snapshot_of(&other, 1, b"x").await;
    assert_eq!(register(&world, theirs.as_str(), &[]).await.error_code(), "InvalidSnapshot.NotFound");
    let image = world.seed_image("base", b"x").await;
    let instance = world.seed_instance(&image).await;
    let volume = world.call("DescribeInstances", &[("InstanceId.1", &instance)]).await.ok().value("volumeId");
    let pending = world.call("CreateSnapshot", &[("VolumeId", &volume)]).await.ok().value("snapshotId");
    assert_eq!(register(&world, &pending, &[]).await.error_code(), "IncorrectState");
    world.settle().await;
    register(&world, &pending, &[]).await.ok();
    let elsewhere = [
        ("Name", "elsewhere"),
        ("VirtualizationType", "hvm"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sda1"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", pending.as_str()),
    ];
    let reply = world.call_as(&world.owner, "eu-west-1", "RegisterImage", &elsewhere).await;
    assert_eq!(reply.error_code(), "InvalidSnapshot.NotFound");
    assert_ne!(REGION, "eu-west-1");
}

#[tokio::test]
async fn values_and_tags_outside_the_api_are_refused_and_a_dry_run_registers_nothing() {
    let world = World::new().await;
    let snapshot = world.seed_snapshot(1, b"x").await;
    let before = world.dump().await;
    let long = "x".repeat(256);
    let tag = |kind: &'static str| ("TagSpecification.1.ResourceType", kind);
    for (changes, code) in [
        (vec![("Architecture", "sparc")], "InvalidParameterValue"),
        (vec![("VirtualizationType", "xen")], "InvalidParameterValue"),
        (vec![("BootMode", "bios")], "InvalidParameterValue"),
        (vec![("ImdsSupport", "v1.0")], "InvalidParameterValue"),
        (vec![("SriovNetSupport", "complex")], "InvalidParameterValue"),
        (vec![("Description", long.as_str())], "InvalidParameterValue"),
        (vec![("TpmSupport", "v2.0")], "UnsupportedOperation"),
        (vec![("ImageLocation", "bucket/manifest.xml")], "UnsupportedOperation"),
        (vec![tag("instance"), ("TagSpecification.1.Tag.1.Key", "k")], "InvalidParameterValue"),
        (vec![tag("image"), ("TagSpecification.1.Tag.1.Key", "aws:k")], "InvalidParameterValue"),
        (vec![("DryRun", "true")], "DryRunOperation"),
    ] {
        let reply = register(&world, snapshot.as_str(), &changes).await;
        assert_eq!(reply.error_code(), code, "{changes:?}: {}", reply.error_message());
    }
    assert_eq!(world.dump().await, before);
}
