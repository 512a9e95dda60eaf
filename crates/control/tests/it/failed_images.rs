//! What becomes of an instance whose image fails after the guest went down for it.

use control::ports::Host as _;
use testkit::World;

/// Without its volume nothing can be frozen, however often it is tried.
async fn image_of_an_instance_that_loses_its_volume(world: &World) -> (String, String) {
    let base = world.seed_image("base", &[1; 8192]).await;
    let instance = world.seed_instance(&base).await;
    let described = world.call("DescribeInstances", &[("InstanceId.1", &instance)]).await.ok();
    let params = [("InstanceId", instance.as_str()), ("Name", "mine")];
    let made = world.call("CreateImage", &params).await.ok().value("imageId");
    world.host.volume_delete(&described.value("volumeId")).await.expect("a fake volume can be removed");
    (instance, made)
}

#[tokio::test]
async fn an_instance_comes_up_again_after_an_image_that_failed() {
    let world = World::new().await;
    let (instance, made) = image_of_an_instance_that_loses_its_volume(&world).await;
    world.settle().await;
    let image = world.call("DescribeImages", &[("ImageId.1", &made)]).await.ok();
    assert_eq!(image.value("imageState"), "failed", "{}", image.text());
    assert!(image.text().contains("<stateReason>"), "{}", image.text());
    let snapshots = world.call("DescribeSnapshots", &[("Owner.1", "self")]).await.ok();
    assert!(snapshots.text().contains("<status>error</status>"), "{}", snapshots.text());
    let by_id = [("InstanceId.1", instance.as_str())];
    let described = world.call("DescribeInstances", &by_id).await.ok();
    assert_eq!(described.value("name"), "running", "{}", described.text());
    let id = instance.parse().expect("an id");
    assert!(world.host.is_running(&id));
    world.call("StopInstances", &by_id).await.ok();
    world.settle().await;
    assert!(!world.host.is_running(&id), "others may act on it again");
}

#[tokio::test]
async fn an_instance_that_does_not_come_up_again_is_stopped_and_tells_why() {
    let world = World::new().await;
    let (instance, made) = image_of_an_instance_that_loses_its_volume(&world).await;
    world.host.set_unbootable(Some("no firmware"));
    world.settle().await;
    let image = world.call("DescribeImages", &[("ImageId.1", &made)]).await.ok();
    assert_eq!(image.value("imageState"), "failed");
    let described = world.call("DescribeInstances", &[("InstanceId.1", &instance)]).await.ok();
    assert_eq!(described.value("name"), "stopped", "{}", described.text());
    assert!(described.text().contains("no firmware"), "{}", described.text());
}
