use std::time::Duration;

use testkit::{Fault, Reply, World};

async fn launched(world: &World) -> String {
    let image = world.seed_image("base", b"boot me").await;
    let params =
        [("ImageId", image.as_str()), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
    world.call("RunInstances", &params).await.ok().value("instanceId")
}

async fn running(world: &World) -> String {
    let id = launched(world).await;
    world.settle().await;
    id
}

async fn describe(world: &World, id: &str) -> Reply {
    world.call("DescribeInstances", &[("InstanceId.1", id)]).await.ok()
}

async fn state(world: &World, id: &str) -> String {
    describe(world, id).await.value("name")
}

/// Turns of jobs, a tenth of a second each.
async fn turns(world: &World, count: u32) {
    for _ in 0..count {
        world.runner.turn().await.unwrap();
        world.clock.advance(Duration::from_millis(100));
    }
}

#[tokio::test]
async fn a_guest_that_does_not_hear_the_power_button_is_stopping_until_it_does() {
    let world = World::new().await;
    let id = running(&world).await;
    world.host.set_deaf(true);
    world.call("StopInstances", &[("InstanceId.1", &id)]).await.ok();
    turns(&world, 50).await;
    assert_eq!(state(&world, &id).await, "stopping");
    world.host.set_deaf(false);
    world.settle().await;
    assert_eq!(state(&world, &id).await, "stopped");
}

#[tokio::test]
async fn a_machine_that_crashes_is_stopped_with_the_reason_and_can_start_again() {
    let world = World::new().await;
    let id = running(&world).await;
    world.host.crash(&id.parse().unwrap(), "QEMU was killed by signal 9");
    world.settle().await;
    let crashed = describe(&world, &id).await;
    assert_eq!(
        (crashed.value("name"), crashed.value("message")),
        ("stopped".into(), "QEMU was killed by signal 9".into())
    );
    assert!(crashed.value("reason").starts_with("Server.InternalError"));
    world.call("StartInstances", &[("InstanceId.1", &id)]).await.ok();
    world.settle().await;
    let again = describe(&world, &id).await;
    assert_eq!(again.value("name"), "running");
    assert!(!again.has("stateReason"));
}

#[tokio::test]
async fn an_instance_terminated_before_it_started_leaves_no_machine() {
    for turns_before in 0..3 {
        let world = World::new().await;
        let id = launched(&world).await;
        turns(&world, turns_before).await;
        world.call("TerminateInstances", &[("InstanceId.1", &id)]).await.ok();
        world.settle().await;
        assert_eq!(state(&world, &id).await, "terminated");
        assert!(world.host.machine_ids().is_empty() && world.host.volume_keys().is_empty());
    }
}

#[tokio::test]
async fn an_instance_terminated_while_its_machine_is_started_leaves_no_machine() {
    let clean = World::new().await;
    launched(&clean).await;
    clean.gate.plan(None);
    clean.runner.turn().await.unwrap();
    for at in 0..clean.gate.count() {
        let world = World::new().await;
        let id = launched(&world).await;
        world.gate.plan(Some((at, Fault::Pause)));
        let mut worker = Box::pin(world.runner.turn());
        tokio::select! {
            _ = &mut worker => panic!("the turn passes here"),
            () = world.gate.paused() => {}
        }
        world.call("TerminateInstances", &[("InstanceId.1", &id)]).await.ok();
        world.gate.resume();
        worker.await.unwrap();
        world.settle().await;
        assert_eq!(state(&world, &id).await, "terminated", "at passage {at}");
        assert!(
            world.host.machine_ids().is_empty() && world.host.volume_keys().is_empty(),
            "at passage {at}"
        );
    }
}

#[tokio::test]
async fn a_restart_that_fails_goes_back_to_stopped_with_its_volumes() {
    let world = World::new().await;
    let id = running(&world).await;
    world.call("StopInstances", &[("InstanceId.1", &id)]).await.ok();
    world.settle().await;
    world.host.set_unbootable(Some("no memory for the guest"));
    world.call("StartInstances", &[("InstanceId.1", &id)]).await.ok();
    world.settle().await;
    let failed = describe(&world, &id).await;
    assert_eq!(
        (failed.value("name"), failed.value("message")),
        ("stopped".into(), "no memory for the guest".into())
    );
    assert_eq!(world.host.volume_keys(), failed.values("volumeId"));
    world.host.set_unbootable(None);
    world.call("StartInstances", &[("InstanceId.1", &id)]).await.ok();
    world.settle().await;
    assert_eq!(state(&world, &id).await, "running");
}

#[tokio::test]
async fn a_start_that_never_works_ends_the_launch() {
    let world = World::new().await;
    let id = launched(&world).await;
    for _ in 0..20 {
        world.gate.plan(Some((0, Fault::Fail)));
        world.runner.turn().await.unwrap();
        world.clock.advance(Duration::from_mins(1));
    }
    world.gate.plan(None);
    world.settle().await;
    let ended = describe(&world, &id).await;
    assert_eq!(ended.value("name"), "terminated");
    assert!(ended.value("message").contains("planned failure"), "{}", ended.text());
}

#[tokio::test]
async fn a_machine_that_vanished_is_stopped_and_its_instance_can_start_again() {
    let world = World::new().await;
    let id = running(&world).await;
    world.host.vanish(&id.parse().unwrap());
    world.settle().await;
    let gone = describe(&world, &id).await;
    assert_eq!(
        (gone.value("name"), gone.value("message")),
        ("stopped".into(), "The machine's process is gone.".into())
    );
    world.call("StartInstances", &[("InstanceId.1", &id)]).await.ok();
    world.settle().await;
    assert!(world.host.is_running(&id.parse().unwrap()));
}

#[tokio::test]
async fn an_instance_on_its_way_that_lost_its_job_is_found_and_driven_on() {
    let world = World::new().await;
    let id = launched(&world).await;
    let mut tx = world.metastore.write().await.unwrap();
    let job = tx.job_claim(world.now(), Duration::from_secs(30)).await.unwrap().unwrap();
    tx.job_settle(job.job_id, job.generation, metastore::NextJob::Done).await.unwrap();
    tx.commit().await.unwrap();
    world.settle().await;
    assert_eq!(state(&world, &id).await, "running");
}

#[tokio::test]
async fn the_machine_gets_what_the_instance_is() {
    let world = World::new().await;
    let id = running(&world).await;
    let spec = world.host.machine_spec(&id.parse().unwrap()).unwrap();
    assert_eq!((spec.vcpus, spec.memory_mib, spec.is_nitro), (2, 1024, true));
    assert_eq!(spec.network.vpc_cidr.to_string(), "172.31.0.0/16");
    assert_eq!(spec.network.gateway.to_string(), "172.31.0.1");
    assert_eq!(spec.network.dns.to_string(), "172.31.0.2");
    assert_eq!(spec.network.security_groups.len(), 1);
    let [volume] = spec.volumes.as_slice() else { panic!("one volume") };
    assert_eq!((volume.device_name.as_str(), volume.spec.size_bytes), ("/dev/xvda", 1 << 30));
    assert!(volume.spec.base.is_some());
}
