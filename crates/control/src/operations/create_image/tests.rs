use testkit::{Reply, World};

async fn create(world: &World, instance: &str, more: &[(&str, &str)]) -> Reply {
    let mut params = vec![("InstanceId", instance)];
    params.extend_from_slice(more);
    world.call("CreateImage", &params).await
}

async fn image(world: &World, id: &str) -> Reply {
    world.call("DescribeImages", &[("ImageId.1", id)]).await.ok()
}

#[tokio::test]
async fn an_image_of_a_running_instance_has_what_the_guest_wrote() {
    for no_reboot in ["false", "true"] {
        let world = World::new().await;
        let base = world.seed_image("base", &[1; 8192]).await;
        let instance = world.seed_instance(&base).await;
        let described = world.call("DescribeInstances", &[("InstanceId.1", &instance)]).await.ok();
        let volume = described.value("volumeId");
        world.host.guest_write(&volume, 4096, &[2; 4096]);
        let made = create(&world, &instance, &[("Name", "mine"), ("NoReboot", no_reboot)]).await.ok();
        let made = made.value("imageId");
        assert_eq!(image(&world, &made).await.value("imageState"), "pending");
        world.settle().await;
        let reply = image(&world, &made).await;
        assert_eq!(reply.value("imageState"), "available", "{}", reply.text());
        assert_eq!(reply.value("sourceInstanceId"), instance);
        assert_eq!(reply.value("sourceImageId"), base);
        let content = world.snapshot_content(&reply.value("snapshotId").parse().unwrap(), 8192).await;
        assert_eq!((content[0], content[4096]), (1, 2));
        assert!(world.host.is_running(&instance.parse().unwrap()));
        let again = world.call("DescribeInstances", &[("InstanceId.1", &instance)]).await.ok();
        assert_eq!(again.value("name"), "running");
        let child = world.seed_instance(&made).await;
        let described = world.call("DescribeInstances", &[("InstanceId.1", &child)]).await.ok();
        let base = world.host.volume_spec(&described.value("volumeId")).unwrap().base;
        assert!(base.is_some());
    }
}

#[tokio::test]
async fn a_second_image_of_the_same_instance_stores_only_what_changed() {
    let world = World::new().await;
    let base = world.seed_image("base", &vec![1; 1 << 20]).await;
    let instance = world.seed_instance(&base).await;
    let described = world.call("DescribeInstances", &[("InstanceId.1", &instance)]).await.ok();
    let volume = described.value("volumeId");
    for (name, at) in [("first", 0), ("second", 4096)] {
        world.host.guest_write(&volume, at, &[9; 4096]);
        let made = create(&world, &instance, &[("Name", name), ("NoReboot", "true")]).await.ok();
        world.settle().await;
        let reply = image(&world, &made.value("imageId")).await;
        let content = world.snapshot_content(&reply.value("snapshotId").parse().unwrap(), 1 << 20).await;
        let first = content.iter().position(|byte| *byte != 9).unwrap();
        assert_eq!(first, if name == "first" { 4096 } else { 8192 });
    }
}

#[tokio::test]
async fn mappings_may_add_drop_and_reflag_devices_but_not_resize_them() {
    let world = World::new().await;
    let base = world.seed_image("base", b"x").await;
    let launch = [
        ("ImageId", base.as_str()),
        ("InstanceType", "t3.micro"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "2"),
    ];
    let instance = world.call("RunInstances", &launch).await.ok().value("instanceId");
    world.settle().await;
    let whole = create(&world, &instance, &[("Name", "whole")]).await.ok().value("imageId");
    world.settle().await;
    let reply = image(&world, &whole).await;
    assert_eq!(reply.values("deviceName"), ["/dev/xvda", "/dev/sdf"]);
    assert_eq!(reply.values("snapshotId").len(), 2);
    assert_eq!(reply.values("deleteOnTermination"), ["true", "false"]);
    let changes = [
        ("Name", "changed"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.1.NoDevice", ""),
        ("BlockDeviceMapping.2.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.2.Ebs.DeleteOnTermination", "false"),
        ("BlockDeviceMapping.3.DeviceName", "/dev/sdg"),
        ("BlockDeviceMapping.3.Ebs.VolumeSize", "3"),
    ];
    let changed = create(&world, &instance, &changes).await.ok().value("imageId");
    world.settle().await;
    let reply = image(&world, &changed).await;
    assert_eq!(reply.values("deviceName"), ["/dev/xvda", "/dev/sdg"]);
    assert_eq!(reply.values("deleteOnTermination"), ["false", "false"]);
    let resize = [
        ("Name", "resized"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "9"),
    ];
    assert_eq!(create(&world, &instance, &resize).await.error_code(), "InvalidBlockDeviceMapping");
}

#[tokio::test]
async fn names_states_and_other_accounts_are_checked() {
    let world = World::new().await;
    let base = world.seed_image("base", b"x").await;
    let instance = world.seed_instance(&base).await;
    assert_eq!(create(&world, &instance, &[("Name", "base")]).await.error_code(), "InvalidAMIName.Duplicate");
    assert_eq!(create(&world, &instance, &[("Name", "a")]).await.error_code(), "InvalidAMIName.Malformed");
    create(&world, &instance, &[("Name", "first")]).await.ok();
    let busy = create(&world, &instance, &[("Name", "second")]).await;
    assert_eq!(busy.error_code(), "IncorrectInstanceState");
    world.settle().await;
    world.call("TerminateInstances", &[("InstanceId.1", &instance)]).await.ok();
    let gone = create(&world, &instance, &[("Name", "second")]).await;
    assert!(gone.error_message().contains("Instance is not in state"));
    let other = world.account("other").await;
    let params = [("InstanceId", instance.as_str()), ("Name", "theirs")];
    let hidden = world.call_as(&other, testkit::REGION, "CreateImage", &params).await;
    assert_eq!(hidden.error_code(), "InvalidInstanceID.NotFound");
}
