use testkit::{REGION, Reply, World};

/// A web server, running; and a database, stopped, unlike it in everything.
struct Scene {
    world: World,
    web: String,
    db: String,
}

async fn scene() -> Scene {
    let world = World::new().await;
    let image = world.seed_image("web", b"web").await;
    let web = world.seed_instance(&image).await;
    world.clock.advance(std::time::Duration::from_hours(1));
    let db = database(&world).await;
    Scene { world, web, db }
}

async fn database(world: &World) -> String {
    let image = world.seed_image("database", b"db").await;
    world.call("CreateKeyPair", &[("KeyName", "admin"), ("KeyType", "ed25519")]).await.ok();
    let group = [("GroupName", "database"), ("GroupDescription", "of databases")];
    let group = world.call("CreateSecurityGroup", &group).await.ok().value("groupId");
    let subnets = world.call(
        "DescribeSubnets",
        &[("Filter.1.Name", "availability-zone"), ("Filter.1.Value.1", "us-east-1b")],
    );
    let subnet = subnets.await.ok().value("subnetId");
    let params = [
        ("ImageId", image.as_str()),
        ("InstanceType", "m5.large"),
        ("MinCount", "2"),
        ("MaxCount", "2"),
        ("KeyName", "admin"),
        ("SubnetId", subnet.as_str()),
        ("SecurityGroupId.1", group.as_str()),
        ("ClientToken", "token-1"),
        ("EbsOptimized", "true"),
        ("Monitoring.Enabled", "true"),
        ("MetadataOptions.HttpTokens", "required"),
        ("MetadataOptions.HttpEndpoint", "disabled"),
        ("MetadataOptions.HttpPutResponseHopLimit", "3"),
        ("MetadataOptions.InstanceMetadataTags", "enabled"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "2"),
        ("TagSpecification.1.ResourceType", "instance"),
        ("TagSpecification.1.Tag.1.Key", "tier"),
        ("TagSpecification.1.Tag.1.Value", "data"),
    ];
    let ids = world.call("RunInstances", &params).await.ok().values("instanceId");
    world.settle().await;
    world.call("StopInstances", &[("InstanceId.1", &ids[1])]).await.ok();
    world.call("TerminateInstances", &[("InstanceId.1", &ids[0])]).await.ok();
    world.settle().await;
    ids[1].clone()
}

impl Scene {
    async fn ask(&self, params: &[(&str, &str)]) -> Reply {
        self.world.call("DescribeInstances", params).await
    }

    /// Of those that are not terminated, by a filter's name and value.
    async fn found(&self, name: &str, value: &str) -> Vec<String> {
        let params = [
            ("Filter.1.Name", "instance-state-name"),
            ("Filter.1.Value.1", "running"),
            ("Filter.1.Value.2", "stopped"),
            ("Filter.2.Name", name),
            ("Filter.2.Value.1", value),
        ];
        self.ask(&params).await.ok().values("instanceId")
    }
}

#[tokio::test]
async fn every_filter_chooses_the_instance_that_has_the_value() {
    let scene = scene().await;
    let reply = scene.ask(&[("InstanceId.1", &scene.db)]).await.ok();
    let value = |element: &str| reply.value(element);
    for (name, wanted) in [
        ("availability-zone", "us-east-1b".into()),
        ("availability-zone-id", "use1-az2".into()),
        ("block-device-mapping.attach-time", "2026-11-21T09:*".into()),
        ("block-device-mapping.delete-on-termination", "false".into()),
        ("block-device-mapping.device-name", "/dev/sdf".into()),
        ("block-device-mapping.volume-id", value("volumeId")),
        ("client-token", "token-1".into()),
        ("ebs-optimized", "true".into()),
        ("image-id", value("imageId")),
        ("instance-id", scene.db.clone()),
        ("instance-state-code", "80".into()),
        ("instance-state-name", "stopped".into()),
        ("instance-type", "m5.*".into()),
        ("instance.group-name", "database".into()),
        ("key-name", "admin".into()),
        ("launch-index", "1".into()),
        ("launch-time", "2026-11-21T09:*".into()),
        ("metadata-options.http-endpoint", "disabled".into()),
        ("metadata-options.http-put-response-hop-limit", "3".into()),
        ("metadata-options.http-tokens", "required".into()),
        ("metadata-options.instance-metadata-tags", "enabled".into()),
        ("monitoring-state", "enabled".into()),
        ("network-interface.addresses.private-ip-address", value("privateIpAddress")),
        ("network-interface.mac-address", value("macAddress")),
        ("network-interface.network-interface-id", value("networkInterfaceId")),
        ("network-interface.subnet-id", value("subnetId")),
        ("private-dns-name", value("privateDnsName")),
        ("private-ip-address", value("privateIpAddress")),
        ("reason", "User initiated*".into()),
        ("reservation-id", value("reservationId")),
        ("state-reason-code", "Client.UserInitiatedShutdown".into()),
        ("state-reason-message", "Client.User*".into()),
        ("subnet-id", value("subnetId")),
        ("tag:tier", "data".into()),
        ("tag-key", "tier".into()),
        ("tag-value", "data".into()),
    ] {
        let wanted: String = wanted;
        assert_eq!(scene.found(name, &wanted).await, [scene.db.as_str()], "{name}={wanted}");
    }
    let web = scene.ask(&[("InstanceId.1", &scene.web)]).await.ok();
    for (name, wanted) in [("dns-name", web.value("dnsName")), ("ip-address", web.value("ipAddress"))] {
        assert_eq!(scene.found(name, &wanted).await, [scene.web.as_str()], "{name}");
    }
}

#[tokio::test]
async fn what_all_instances_share_is_found_on_all() {
    let scene = scene().await;
    let owner = scene.world.owner.id.to_string();
    let vpc = scene.ask(&[("InstanceId.1", &scene.web)]).await.ok().value("vpcId");
    for (name, value) in [
        ("architecture", "x86_64"),
        ("block-device-mapping.status", "attached"),
        ("current-instance-boot-mode", "legacy-bios"),
        ("ena-support", "true"),
        ("hypervisor", "xen"),
        ("network-interface.vpc-id", vpc.as_str()),
        ("owner-id", &owner),
        ("platform-details", "Linux/UNIX"),
        ("root-device-name", "/dev/xvda"),
        ("root-device-type", "ebs"),
        ("source-dest-check", "true"),
        ("tenancy", "default"),
        ("usage-operation", "RunInstances"),
        ("virtualization-type", "hvm"),
        ("vpc-id", &vpc),
    ] {
        assert_eq!(scene.found(name, value).await.len(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_known_filter_whose_value_no_instance_has_matches_nothing() {
    let scene = scene().await;
    for (name, _) in super::FILTERS.names {
        assert!(scene.found(name, "no instance has this").await.is_empty(), "{name}");
    }
    let unknown = scene.ask(&[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")]).await;
    assert_eq!(unknown.error_message(), "The filter 'colour' is invalid");
}

#[tokio::test]
async fn instances_of_one_launch_are_one_reservation_in_the_order_of_launch() {
    let scene = scene().await;
    let reply = scene.ask(&[]).await.ok();
    assert_eq!(reply.values("reservationId").len(), 2);
    let ids = reply.values("instanceId");
    assert_eq!((ids.len(), &ids[0], &ids[2]), (3, &scene.web, &scene.db));
    assert_eq!(reply.values("amiLaunchIndex"), ["0", "0", "1"]);
}

#[tokio::test]
async fn ids_name_instances_and_all_of_them_must_be_there() {
    let scene = scene().await;
    let both = [("InstanceId.1", scene.db.as_str()), ("InstanceId.2", scene.web.as_str())];
    assert_eq!(scene.ask(&both).await.ok().values("instanceId").len(), 2);
    let missing = scene.ask(&[("InstanceId.1", &scene.db), ("InstanceId.2", "i-12345678")]).await;
    assert_eq!(missing.error_code(), "InvalidInstanceID.NotFound");
    assert_eq!(missing.error_message(), "The instance ID 'i-12345678' does not exist");
    assert_eq!(scene.ask(&[("InstanceId.1", "web")]).await.error_code(), "InvalidInstanceID.Malformed");
    let paged = scene.ask(&[("InstanceId.1", &scene.db), ("MaxResults", "5")]).await;
    assert_eq!(paged.error_code(), "InvalidParameterCombination");
    assert_eq!(
        paged.error_message(),
        "The parameter instancesSet cannot be used with the parameter maxResults"
    );
    let other = scene.world.account("other").await;
    let params = [("InstanceId.1", scene.db.as_str())];
    let theirs = scene.world.call_as(&other, REGION, "DescribeInstances", &params).await;
    assert_eq!(theirs.error_code(), "InvalidInstanceID.NotFound");
}

#[tokio::test]
async fn the_state_is_told_beside_the_instance_by_describe_instance_status() {
    let scene = scene().await;
    let reply = scene.world.call("DescribeInstanceStatus", &[]).await.ok();
    assert_eq!(reply.values("instanceId"), [scene.web.as_str()]);
    let all = scene.world.call("DescribeInstanceStatus", &[("IncludeAllInstances", "true")]).await.ok();
    assert_eq!(all.values("instanceId").len(), 3);
    for (name, value) in [
        ("attached-ebs-status.status", "ok"),
        ("availability-zone", "us-east-1a"),
        ("instance-state-code", "16"),
        ("instance-state-name", "running"),
        ("instance-status.reachability", "passed"),
        ("instance-status.status", "ok"),
        ("system-status.reachability", "passed"),
        ("system-status.status", "ok"),
    ] {
        let params = [("IncludeAllInstances", "true"), ("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        let reply = scene.world.call("DescribeInstanceStatus", &params).await.ok();
        assert_eq!(reply.values("instanceId"), [scene.web.as_str()], "{name}");
    }
}
