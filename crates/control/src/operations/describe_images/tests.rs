use testkit::{Account, REGION, Reply, World};

/// Two images of the first account, `web` and `db`, and two of another: one public, one shared with the first.
struct Scene {
    world: World,
    other: Account,
    web: String,
    db: String,
    public: String,
    shared: String,
    hidden: String,
}

async fn scene() -> Scene {
    let world = World::new().await;
    let other = world.account("other").await;
    let web = world.seed_image("web-1", b"web").await;
    world.clock.advance(std::time::Duration::from_hours(1));
    let db = database(&world).await;
    let public = world.seed_image_of(&other, "public", b"p").await;
    let shared = world.seed_image_of(&other, "shared", b"s").await;
    let hidden = world.seed_image_of(&other, "hidden", b"h").await;
    let everybody = [("ImageId", public.as_str()), ("LaunchPermission.Add.1.Group", "all")];
    world.call_as(&other, REGION, "ModifyImageAttribute", &everybody).await.ok();
    let owner = world.owner.id.to_string();
    let one = [("ImageId", shared.as_str()), ("LaunchPermission.Add.1.UserId", owner.as_str())];
    world.call_as(&other, REGION, "ModifyImageAttribute", &one).await.ok();
    Scene { world, other, web, db, public, shared, hidden }
}

/// An image that is in everything unlike the seeded ones.
async fn database(world: &World) -> String {
    let snapshot = world.seed_snapshot(4, b"db").await;
    let params = [
        ("Name", "db-1"),
        ("Description", "the database"),
        ("Architecture", "arm64"),
        ("VirtualizationType", "hvm"),
        ("BootMode", "uefi"),
        ("SriovNetSupport", "simple"),
        ("RootDeviceName", "/dev/sda1"),
        ("BlockDeviceMapping.1.DeviceName", "/dev/sda1"),
        ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot.as_str()),
        ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "false"),
        ("TagSpecification.1.ResourceType", "image"),
        ("TagSpecification.1.Tag.1.Key", "tier"),
        ("TagSpecification.1.Tag.1.Value", "data"),
    ];
    world.call("RegisterImage", &params).await.ok().value("imageId")
}

impl Scene {
    async fn ask(&self, params: &[(&str, &str)]) -> Reply {
        self.world.call("DescribeImages", params).await
    }

    /// Names of the images that are listed, sorted.
    async fn names(&self, params: &[(&str, &str)]) -> Vec<String> {
        self.names_as(&self.world.owner, REGION, params).await
    }

    async fn names_as(&self, account: &Account, region: &str, params: &[(&str, &str)]) -> Vec<String> {
        let reply = self.world.call_as(account, region, "DescribeImages", params).await.ok();
        let mut names = reply.values("name");
        names.sort();
        names
    }
}

#[tokio::test]
async fn own_shared_and_public_images_of_the_region_are_listed() {
    let scene = scene().await;
    assert_eq!(scene.names(&[]).await, ["db-1", "public", "shared", "web-1"]);
    assert_eq!(scene.names_as(&scene.other, REGION, &[]).await, ["hidden", "public", "shared"]);
    assert!(scene.names_as(&scene.world.owner, "eu-west-1", &[]).await.is_empty());
    let stranger = scene.world.account("stranger").await;
    assert_eq!(scene.names_as(&stranger, REGION, &[]).await, ["public"]);
}

#[tokio::test]
async fn owners_choose_by_account() {
    let scene = scene().await;
    let other = scene.other.id.to_string();
    assert_eq!(scene.names(&[("Owner.1", "self")]).await, ["db-1", "web-1"]);
    assert_eq!(scene.names(&[("Owner.1", &other)]).await, ["public", "shared"]);
    assert_eq!(scene.names(&[("Owner.1", &other), ("Owner.2", "self")]).await.len(), 4);
    for nobody in ["amazon", "aws-marketplace", "aws-backup-vault", "210987654321"] {
        assert!(scene.names(&[("Owner.1", nobody)]).await.is_empty(), "{nobody}");
    }
    let named = [("ImageId.1", scene.public.as_str()), ("Owner.1", "self")];
    assert!(scene.names(&named).await.is_empty());
}

#[tokio::test]
async fn executable_by_chooses_by_explicit_permission() {
    let scene = scene().await;
    let owner = scene.world.owner.id.to_string();
    assert_eq!(scene.names(&[("ExecutableBy.1", "all")]).await, ["public"]);
    assert_eq!(scene.names(&[("ExecutableBy.1", "self")]).await, ["shared"]);
    assert_eq!(scene.names(&[("ExecutableBy.1", &owner)]).await, ["shared"]);
    assert_eq!(
        scene.names(&[("ExecutableBy.1", "all"), ("ExecutableBy.2", "self")]).await,
        ["public", "shared"]
    );
    // An owner needs no permission, and sees to whom it gave which.
    let of_other = scene.names_as(&scene.other, REGION, &[("ExecutableBy.1", &owner)]).await;
    assert_eq!(of_other, ["shared"]);
}

#[tokio::test]
async fn ids_name_images_and_all_of_them_must_be_there() {
    let scene = scene().await;
    let both = [("ImageId.1", scene.web.as_str()), ("ImageId.2", scene.shared.as_str())];
    assert_eq!(scene.names(&both).await, ["shared", "web-1"]);
    let twice = [("ImageId.1", scene.web.as_str()), ("ImageId.2", scene.web.as_str())];
    assert_eq!(scene.names(&twice).await, ["web-1"]);
    let one_missing = scene.ask(&[("ImageId.1", &scene.web), ("ImageId.2", "ami-12345678")]).await;
    assert_eq!(one_missing.error_code(), "InvalidAMIID.NotFound");
    assert_eq!(one_missing.error_message(), "The image id '[ami-12345678]' does not exist");
    let two_missing = scene.ask(&[("ImageId.1", "ami-12345678"), ("ImageId.2", &scene.hidden)]).await;
    assert_eq!(
        two_missing.error_message(),
        format!("The image ids '[ami-12345678, {}]' do not exist", scene.hidden)
    );
    assert_eq!(scene.ask(&[("ImageId.1", "web-1")]).await.error_code(), "InvalidAMIID.Malformed");
    let elsewhere = [("ImageId.1", scene.web.as_str())];
    let elsewhere = scene.world.call_as(&scene.world.owner, "eu-west-1", "DescribeImages", &elsewhere).await;
    assert_eq!(elsewhere.error_code(), "InvalidAMIID.NotFound");
}

#[tokio::test]
async fn every_filter_chooses_the_image_that_has_the_value() {
    let scene = scene().await;
    let reply = scene.ask(&[("ImageId.1", &scene.db)]).await.ok();
    let (snapshot, owner) = (reply.value("snapshotId"), scene.world.owner.id.to_string());
    let location = format!("{owner}/db-1");
    for (name, value) in [
        ("architecture", "arm64"),
        ("block-device-mapping.delete-on-termination", "false"),
        ("block-device-mapping.device-name", "/dev/sda1"),
        ("block-device-mapping.snapshot-id", &snapshot),
        ("block-device-mapping.volume-size", "4"),
        ("block-device-mapping.volume-type", "gp3"),
        ("boot-mode", "uefi"),
        ("creation-date", "2026-11-21T09:*"),
        ("description", "the data*"),
        ("ena-support", "false"),
        ("image-id", &scene.db),
        ("manifest-location", &location),
        ("name", "d?-1"),
        ("root-device-name", "/dev/sda1"),
        ("sriov-net-support", "simple"),
        ("tag:tier", "data"),
        ("tag-key", "tier"),
        ("tag-value", "data"),
    ] {
        let params = [("Owner.1", "self"), ("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        assert_eq!(scene.names(&params).await, ["db-1"], "{name}");
    }
    for (name, value) in [
        ("block-device-mapping.encrypted", "false"),
        ("hypervisor", "xen"),
        ("image-type", "machine"),
        ("is-public", "false"),
        ("owner-id", &owner),
        ("root-device-type", "ebs"),
        ("state", "available"),
        ("virtualization-type", "hvm"),
    ] {
        let params = [("Owner.1", "self"), ("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        assert_eq!(scene.names(&params).await, ["db-1", "web-1"], "{name}");
    }
    let public = [("Filter.1.Name", "is-public"), ("Filter.1.Value.1", "true")];
    assert_eq!(scene.names(&public).await, ["public"]);
}

#[tokio::test]
async fn a_known_filter_whose_value_no_image_has_matches_nothing() {
    let scene = scene().await;
    for (name, _) in super::FILTERS.names {
        let params = [("Filter.1.Name", *name), ("Filter.1.Value.1", "no image has this")];
        assert!(scene.names(&params).await.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn filters_and_together_and_their_values_or() {
    let scene = scene().await;
    let either = [("Filter.1.Name", "name"), ("Filter.1.Value.1", "web-1"), ("Filter.1.Value.2", "db-*")];
    assert_eq!(scene.names(&either).await, ["db-1", "web-1"]);
    let and = [&either[..], &[("Filter.2.Name", "architecture"), ("Filter.2.Value.1", "x86_64")]].concat();
    assert_eq!(scene.names(&and).await, ["web-1"]);
    let unknown = scene.ask(&[("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red")]).await;
    assert_eq!(unknown.error_code(), "InvalidParameterValue");
    assert_eq!(unknown.error_message(), "The filter 'colour' is invalid");
}

#[tokio::test]
async fn filters_by_source_and_state_reason_find_what_was_made() {
    let scene = scene().await;
    let instance = scene.world.seed_instance(&scene.web).await;
    let made = [("InstanceId", instance.as_str()), ("Name", "made-1")];
    scene.world.call("CreateImage", &made).await.ok();
    let pending = [("Filter.1.Name", "state"), ("Filter.1.Value.1", "pending")];
    assert_eq!(scene.names(&pending).await, ["made-1"]);
    for (name, value) in [
        ("source-instance-id", instance.as_str()),
        ("source-image-id", scene.web.as_str()),
        ("source-image-region", REGION),
    ] {
        let params = [("Filter.1.Name", name), ("Filter.1.Value.1", value)];
        assert_eq!(scene.names(&params).await, ["made-1"], "{name}");
    }
}

#[tokio::test]
async fn tags_of_others_are_their_own() {
    let scene = scene().await;
    let tag = [("ResourceId.1", scene.shared.as_str()), ("Tag.1.Key", "secret"), ("Tag.1.Value", "plan")];
    scene.world.call_as(&scene.other, REGION, "CreateTags", &tag).await.ok();
    let reply = scene.ask(&[("ImageId.1", &scene.shared)]).await.ok();
    assert!(!reply.text().contains("secret"), "{}", reply.text());
    let by_tag = [("Filter.1.Name", "tag:secret"), ("Filter.1.Value.1", "plan")];
    assert!(scene.names(&by_tag).await.is_empty());
    assert_eq!(scene.names_as(&scene.other, REGION, &by_tag).await, ["shared"]);
}

#[tokio::test]
async fn a_pending_or_taken_back_image_is_its_owners_alone() {
    let scene = scene().await;
    let owner = scene.world.owner.id.to_string();
    let back = [("ImageId", scene.shared.as_str()), ("LaunchPermission.Remove.1.UserId", owner.as_str())];
    scene.world.call_as(&scene.other, REGION, "ModifyImageAttribute", &back).await.ok();
    assert_eq!(scene.names(&[]).await, ["db-1", "public", "web-1"]);
    let gone = scene.ask(&[("ImageId.1", &scene.shared)]).await;
    assert_eq!(gone.error_code(), "InvalidAMIID.NotFound");
}

#[tokio::test]
async fn a_page_is_not_asked_of_named_images_and_a_token_fits_its_own_request() {
    let scene = scene().await;
    let named = scene.ask(&[("ImageId.1", &scene.web), ("MaxResults", "5")]).await;
    assert_eq!(named.error_code(), "InvalidParameterCombination");
    for n in 0..6 {
        let snapshot = scene.world.seed_snapshot(1, b"x").await;
        let params = [
            ("Name", format!("page-{n}")),
            ("VirtualizationType", "hvm".to_owned()),
            ("BlockDeviceMapping.1.DeviceName", "/dev/sda1".to_owned()),
            ("BlockDeviceMapping.1.Ebs.SnapshotId", snapshot.to_string()),
        ];
        let params: Vec<(&str, &str)> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
        scene.world.call("RegisterImage", &params).await.ok();
    }
    let first = scene.ask(&[("MaxResults", "5"), ("Owner.1", "self")]).await.ok();
    assert_eq!(first.values("imageId").len(), 5);
    let token = first.value("nextToken");
    let rest = scene.ask(&[("MaxResults", "1000"), ("Owner.1", "self"), ("NextToken", &token)]).await.ok();
    assert_eq!(rest.values("imageId").len(), 3);
    assert!(!rest.has("nextToken"));
    let other = scene.ask(&[("MaxResults", "5"), ("NextToken", &token)]).await;
    assert_eq!(other.error_code(), "InvalidNextToken");
    // An image that goes meanwhile does not disturb the rest.
    for image in first.values("imageId") {
        scene.world.call("DeregisterImage", &[("ImageId", &image)]).await.ok();
    }
    let again = scene.ask(&[("MaxResults", "1000"), ("Owner.1", "self"), ("NextToken", &token)]).await.ok();
    assert_eq!(again.values("imageId"), rest.values("imageId"));
}
