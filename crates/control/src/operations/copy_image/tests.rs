use testkit::{REGION, World};

const THERE: &str = "eu-west-1";

#[tokio::test]
async fn a_copy_has_its_own_snapshots_with_the_same_bytes_in_the_other_region() {
    let world = World::new().await;
    let image = world.seed_image("base", &[7; 8192]).await;
    let params = [("Name", "copy"), ("SourceImageId", image.as_str()), ("SourceRegion", REGION)];
    let copy = world.call_as(&world.owner, THERE, "CopyImage", &params).await.ok().value("imageId");
    let pending = world.call_as(&world.owner, THERE, "DescribeImages", &[("ImageId.1", &copy)]).await.ok();
    assert_eq!(pending.value("imageState"), "pending");
    world.settle().await;
    let reply = world.call_as(&world.owner, THERE, "DescribeImages", &[("ImageId.1", &copy)]).await.ok();
    assert_eq!(reply.value("imageState"), "available");
    assert_eq!(reply.value("sourceImageId"), image);
    assert_eq!(reply.value("sourceImageRegion"), REGION);
    let snapshot = reply.value("snapshotId");
    let here = world.call("DescribeSnapshots", &[("SnapshotId.1", &snapshot)]).await;
    assert_eq!(here.error_code(), "InvalidSnapshot.NotFound");
    let content = world.snapshot_content(&snapshot.parse().unwrap(), 8192).await;
    assert_eq!(content, vec![7; 8192]);
}

#[tokio::test]
async fn tags_are_copied_only_when_asked_and_permissions_never() {
    let world = World::new().await;
    let image = world.seed_image("base", b"x").await;
    let share = [("ImageId", image.as_str()), ("LaunchPermission.Add.1.Group", "all")];
    world.call("ModifyImageAttribute", &share).await.ok();
    let params = [
        ("Name", "copy"),
        ("SourceImageId", image.as_str()),
        ("SourceRegion", REGION),
        ("TagSpecification.1.ResourceType", "image"),
        ("TagSpecification.1.Tag.1.Key", "stage"),
        ("TagSpecification.1.Tag.1.Value", "test"),
    ];
    let copy = world.call("CopyImage", &params).await.ok().value("imageId");
    world.settle().await;
    let reply = world.call("DescribeImages", &[("ImageId.1", &copy)]).await.ok();
    assert_eq!(reply.value("isPublic"), "false");
    assert_eq!((reply.value("key"), reply.value("value")), ("stage".into(), "test".into()));
}

#[tokio::test]
async fn copies_of_what_is_not_the_callers_are_refused() {
    let world = World::new().await;
    let image = world.seed_image("base", b"x").await;
    let friend = world.account("friend").await;
    let params = [("Name", "copy"), ("SourceImageId", image.as_str()), ("SourceRegion", REGION)];
    let hidden = world.call_as(&friend, REGION, "CopyImage", &params).await;
    assert_eq!(hidden.error_code(), "InvalidAMIID.NotFound");
    let share = [("ImageId", image.as_str()), ("LaunchPermission.Add.1.UserId", friend.id.as_str())];
    world.call("ModifyImageAttribute", &share).await.ok();
    let shared = world.call_as(&friend, REGION, "CopyImage", &params).await;
    assert_eq!(shared.error_code(), "InvalidRequest");
    let wrong_region = [("Name", "copy"), ("SourceImageId", image.as_str()), ("SourceRegion", "mars-1")];
    assert_eq!(world.call("CopyImage", &wrong_region).await.error_code(), "InvalidRegion");
    let other_region = [("Name", "copy"), ("SourceImageId", image.as_str()), ("SourceRegion", THERE)];
    assert_eq!(world.call("CopyImage", &other_region).await.error_code(), "InvalidAMIID.NotFound");
}

#[tokio::test]
async fn a_copy_whose_source_is_deleted_meanwhile_fails_with_the_reason() {
    let world = World::new().await;
    let image = world.seed_image("base", b"x").await;
    let params = [("Name", "copy"), ("SourceImageId", image.as_str()), ("SourceRegion", REGION)];
    let copy = world.call_as(&world.owner, THERE, "CopyImage", &params).await.ok().value("imageId");
    let gone = [("ImageId", image.as_str()), ("DeleteAssociatedSnapshots", "true")];
    world.call("DeregisterImage", &gone).await.ok();
    world.settle().await;
    let reply = world.call_as(&world.owner, THERE, "DescribeImages", &[("ImageId.1", &copy)]).await.ok();
    assert_eq!(reply.value("imageState"), "failed");
    assert!(reply.value("message").contains("gone"), "{}", reply.text());
}
