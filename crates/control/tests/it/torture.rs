//! Every job, broken wherever it can break: a line for each thing that a job does.

use testkit::{REGION, World, end_state, torture};

/// A running instance whose guest has written something.
async fn running() -> (World, String) {
    let world = World::new().await;
    let image = world.seed_image("base", &vec![1; 64 * 1024]).await;
    let instance = world.seed_instance(&image).await;
    world.host.guest_write(&volume_of(&world, &instance).await, 4096, &[2; 8192]);
    (world, instance)
}

async fn volume_of(world: &World, instance: &str) -> String {
    world.call("DescribeInstances", &[("InstanceId.1", instance)]).await.ok().value("volumeId")
}

/// The work that these calls leave, one after the other; only the last one's is broken.
async fn after_calls(calls: &[(&str, &[(&str, &str)])]) {
    let scene = async || {
        let (world, instance) = running().await;
        let volume = volume_of(&world, &instance).await;
        for (at, (action, params)) in calls.iter().enumerate() {
            if at > 0 {
                world.settle().await;
            }
            let filled = |value: &str| value.replace("{instance}", &instance).replace("{volume}", &volume);
            let filled: Vec<(&str, String)> = params.iter().map(|(name, v)| (*name, filled(v))).collect();
            let params: Vec<(&str, &str)> = filled.iter().map(|(name, v)| (*name, v.as_str())).collect();
            world.call(action, &params).await.ok();
        }
        (world, ())
    };
    torture(scene, async |world, ()| end_state(world).await).await;
}

const STOP: (&str, &[(&str, &str)]) = ("StopInstances", &[("InstanceId.1", "{instance}")]);

#[tokio::test]
async fn torture_drive_instance_at_launch() {
    let scene = async || {
        let world = World::new().await;
        let image = world.seed_image("base", b"boot me").await;
        let launch =
            [("ImageId", image.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        world.call("RunInstances", &launch).await.ok();
        (world, ())
    };
    torture(scene, async |world, ()| end_state(world).await).await;
}

#[tokio::test]
async fn torture_drive_instance_to_a_stop() {
    after_calls(&[STOP]).await;
}

#[tokio::test]
async fn torture_drive_instance_up_again() {
    after_calls(&[STOP, ("StartInstances", &[("InstanceId.1", "{instance}")])]).await;
}

#[tokio::test]
async fn torture_drive_instance_to_its_end_and_delete_volume() {
    after_calls(&[("TerminateInstances", &[("InstanceId.1", "{instance}")])]).await;
}

#[tokio::test]
async fn torture_reboot_instance() {
    after_calls(&[("RebootInstances", &[("InstanceId.1", "{instance}")])]).await;
}

#[tokio::test]
async fn torture_create_image_with_and_without_a_reboot() {
    for no_reboot in ["false", "true"] {
        let params = [("InstanceId", "{instance}"), ("Name", "made"), ("NoReboot", no_reboot)];
        after_calls(&[("CreateImage", &params)]).await;
    }
}

#[tokio::test]
async fn torture_create_image_of_a_stopped_instance() {
    after_calls(&[STOP, ("CreateImage", &[("InstanceId", "{instance}"), ("Name", "made")])]).await;
}

#[tokio::test]
async fn torture_upload_snapshot_of_a_volume_twice() {
    let snapshot: (&str, &[(&str, &str)]) = ("CreateSnapshot", &[("VolumeId", "{volume}")]);
    after_calls(&[snapshot, snapshot]).await;
}

#[tokio::test]
async fn torture_delete_snapshot_while_it_is_made() {
    let scene = async || {
        let (world, instance) = running().await;
        let volume = volume_of(&world, &instance).await;
        let snapshot = world.call("CreateSnapshot", &[("VolumeId", &volume)]).await.ok().value("snapshotId");
        world.call("DeleteSnapshot", &[("SnapshotId", &snapshot)]).await.ok();
        (world, ())
    };
    torture(scene, async |world, ()| end_state(world).await).await;
}

#[tokio::test]
async fn torture_copy_snapshot_and_publish_image() {
    for region in [REGION, "eu-west-1"] {
        let scene = async || {
            let world = World::new().await;
            let image = world.seed_image("base", &vec![1; 64 * 1024]).await;
            let copy = [("SourceImageId", image.as_str()), ("SourceRegion", REGION), ("Name", "copied")];
            world.call_as(&world.owner, region, "CopyImage", &copy).await.ok();
            (world, ())
        };
        torture(scene, async |world, ()| end_state(world).await).await;
    }
}

#[tokio::test]
async fn torture_keep_record() {
    let scene = async || {
        let world = World::new().await;
        let image = world.seed_image("base", b"boot me").await;
        world.settle().await;
        let tag = [("ResourceId.1", image.as_str()), ("Tag.1.Key", "colour"), ("Tag.1.Value", "red")];
        world.call("CreateTags", &tag).await.ok();
        let share = [("ImageId", image.as_str()), ("LaunchPermission.Add.1.Group", "all")];
        world.call("ModifyImageAttribute", &share).await.ok();
        (world, ())
    };
    torture(scene, async |world, ()| end_state(world).await).await;
}
