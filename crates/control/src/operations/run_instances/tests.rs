use testkit::{REGION, World};

/// Parameters, the code, and what the message says.
type Case = (&'static [(&'static str, &'static str)], &'static str, &'static str);

const T3: [(&str, &str); 3] = [("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];

fn launch<'a>(image: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut params = vec![("ImageId", image)];
    params.extend_from_slice(&T3);
    params.extend_from_slice(more);
    params
}

#[tokio::test]
async fn an_instance_is_pending_and_then_running_with_its_volume_attached() {
    let world = World::new().await;
    let image = world.seed_image("base", b"boot me").await;
    let reply = world.call("RunInstances", &launch(&image, &[("KeyName", "")])).await.ok();
    assert_eq!(reply.value("name"), "pending");
    let id = reply.value("instanceId");
    world.settle().await;
    let reply = world.call("DescribeInstances", &[("InstanceId.1", &id)]).await.ok();
    assert_eq!(reply.value("name"), "running");
    assert_eq!(reply.value("ipAddress"), "127.64.0.1");
    assert_eq!(reply.value("privateIpAddress"), "172.31.0.4");
    assert_eq!(reply.value("imageId"), image);
    assert_eq!(reply.value("deviceName"), "/dev/xvda");
    let volume = reply.value("volumeId");
    let spec = world.host.volume_spec(&volume).unwrap();
    assert_eq!(spec.size_bytes, 1 << 30);
    assert!(spec.base.is_some());
    let status = world.call("DescribeInstanceStatus", &[("InstanceId.1", &id)]).await.ok();
    assert!(status.values("status").contains(&"ok".to_owned()));
}

#[tokio::test]
async fn a_client_token_launches_once() {
    let world = World::new().await;
    let image = world.seed_image("base", b"boot me").await;
    let first = world.call("RunInstances", &launch(&image, &[("ClientToken", "t-1")])).await.ok();
    let again = world.call("RunInstances", &launch(&image, &[("ClientToken", "t-1")])).await.ok();
    assert_eq!(first.value("instanceId"), again.value("instanceId"));
    assert_ne!(first.value("requestId"), again.value("requestId"));
    let other =
        world.call("RunInstances", &launch(&image, &[("ClientToken", "t-1"), ("UserData", "aGk=")])).await;
    assert_eq!(other.error_code(), "IdempotentParameterMismatch");
}

#[tokio::test]
async fn stop_start_and_terminate_go_through_ec2s_states_and_leave_nothing() {
    let world = World::new().await;
    let image = world.seed_image("base", b"boot me").await;
    let id = world.seed_instance(&image).await;
    let stopping = world.call("StopInstances", &[("InstanceId.1", &id)]).await.ok();
    assert_eq!(stopping.values("name"), ["stopping", "running"]);
    world.settle().await;
    let described = world.call("DescribeInstances", &[("InstanceId.1", &id)]).await.ok();
    assert_eq!(described.value("name"), "stopped");
    assert!(!described.has("ipAddress"));
    let starting = world.call("StartInstances", &[("InstanceId.1", &id)]).await.ok();
    assert_eq!(starting.values("name"), ["pending", "stopped"]);
    world.settle().await;
    assert!(world.host.is_running(&id.parse().unwrap()));
    let terminating = world.call("TerminateInstances", &[("InstanceId.1", &id)]).await.ok();
    assert_eq!(terminating.values("name"), ["shutting-down", "running"]);
    world.settle().await;
    let described = world.call("DescribeInstances", &[("InstanceId.1", &id)]).await.ok();
    assert_eq!(described.value("name"), "terminated");
    assert!(world.host.volume_keys().is_empty());
    assert!(world.host.machine_ids().is_empty());
}

#[tokio::test]
async fn an_unbootable_machine_ends_terminated_with_the_reason() {
    let world = World::new().await;
    let image = world.seed_image("base", b"boot me").await;
    world.host.set_unbootable(Some("QEMU would not start"));
    let id = world.seed_instance(&image).await;
    let described = world.call("DescribeInstances", &[("InstanceId.1", &id)]).await.ok();
    assert_eq!(described.value("name"), "terminated");
    assert_eq!(described.value("message"), "QEMU would not start");
}

#[tokio::test]
async fn a_guest_that_switches_itself_off_is_stopped_or_terminated_as_asked() {
    let world = World::new().await;
    let image = world.seed_image("base", b"boot me").await;
    let stays = world.seed_instance(&image).await;
    let goes = launch(&image, &[("InstanceInitiatedShutdownBehavior", "terminate")]);
    let goes = world.call("RunInstances", &goes).await.ok().value("instanceId");
    world.settle().await;
    world.host.guest_shutdown(&stays.parse().unwrap());
    world.host.guest_shutdown(&goes.parse().unwrap());
    world.settle().await;
    let state =
        async |id: &str| world.call("DescribeInstances", &[("InstanceId.1", id)]).await.ok().value("name");
    assert_eq!(state(&stays).await, "stopped");
    assert_eq!(state(&goes).await, "terminated");
}

#[tokio::test]
async fn what_does_not_fit_or_cannot_act_is_refused_by_name() {
    let world = World::new().await;
    let image = world.seed_image("base", b"boot me").await;
    let cases: &[Case] = &[
        (&[("KeyName", "nobody")], "InvalidKeyPair.NotFound", "'nobody'"),
        (&[("UserData", "%%%")], "InvalidUserData.Malformed", "BASE64"),
        (
            &[("LaunchTemplate.LaunchTemplateName", "x")],
            "UnsupportedOperation",
            "LaunchTemplate.LaunchTemplateName",
        ),
        (&[("IamInstanceProfile.Name", "x")], "UnsupportedOperation", "IamInstanceProfile.Name"),
        (&[("NoSuch", "x")], "UnknownParameter", "NoSuch"),
        (&[("Placement.AvailabilityZone", "eu-west-1a")], "InvalidParameterValue", "eu-west-1a"),
        (&[("SubnetId", "subnet-00000000")], "InvalidSubnetID.NotFound", "subnet-00000000"),
        (
            &[("BlockDeviceMapping.1.DeviceName", "/dev/xvda"), ("BlockDeviceMapping.1.NoDevice", "")],
            "InvalidBlockDeviceMapping",
            "root device",
        ),
        (&[("PrivateIpAddress", "10.0.0.1")], "InvalidParameterValue", "10.0.0.1"),
    ];
    for (more, code, text) in cases {
        let reply = world.call("RunInstances", &launch(&image, more)).await;
        assert_eq!(reply.error_code(), *code, "{more:?}");
        assert!(reply.error_message().contains(text), "{}", reply.error_message());
    }
    let mut arm = launch(&image, &[]);
    arm[1].1 = "t4g.micro";
    assert!(world.call("RunInstances", &arm).await.error_message().contains("architecture"));
}

#[tokio::test]
async fn a_dry_run_says_so_and_changes_nothing() {
    let world = World::new().await;
    let image = world.seed_image("base", b"boot me").await;
    let before = world.dump().await;
    let reply = world.call("RunInstances", &launch(&image, &[("DryRun", "true")])).await;
    assert_eq!(reply.error_code(), "DryRunOperation");
    assert_eq!(world.dump().await, before);
}

#[tokio::test]
async fn an_image_is_launched_by_its_owner_alone_until_shared() {
    let world = World::new().await;
    let image = world.seed_image("base", b"boot me").await;
    let other = world.account("other").await;
    let reply = world.call_as(&other, REGION, "RunInstances", &launch(&image, &[])).await;
    assert_eq!(reply.error_code(), "InvalidAMIID.NotFound");
}
