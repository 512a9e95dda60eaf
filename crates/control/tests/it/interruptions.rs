//! Calls that come while a job is at work: whatever passage they hit, the world is consistent after it.

use testkit::{Fault, World};

struct Scene {
    world: World,
    image: String,
    instance: String,
    volume: String,
}

type Call = (&'static str, &'static [(&'static str, &'static str)]);

const START: Call = ("StartInstances", &[("InstanceId.1", "{instance}")]);
const STOP: Call = ("StopInstances", &[("InstanceId.1", "{instance}")]);
const FORCE: Call = ("StopInstances", &[("InstanceId.1", "{instance}"), ("Force", "true")]);
const TERMINATE: Call = ("TerminateInstances", &[("InstanceId.1", "{instance}")]);
const REBOOT: Call = ("RebootInstances", &[("InstanceId.1", "{instance}")]);
const SNAPSHOT: Call = ("CreateSnapshot", &[("VolumeId", "{volume}")]);
const MAKE: Call = ("CreateImage", &[("InstanceId", "{instance}"), ("Name", "made")]);
const MAKE_LIVE: Call =
    ("CreateImage", &[("InstanceId", "{instance}"), ("Name", "live"), ("NoReboot", "true")]);
const COPY: Call =
    ("CopyImage", &[("SourceImageId", "{image}"), ("SourceRegion", "us-east-1"), ("Name", "copied")]);
const DEREGISTER_NEW: Call = ("DeregisterImage", &[("ImageId", "{new image}")]);
const DEREGISTER_OLD: Call =
    ("DeregisterImage", &[("ImageId", "{image}"), ("DeleteAssociatedSnapshots", "true")]);
const DELETE_SNAPSHOT: Call = ("DeleteSnapshot", &[("SnapshotId", "{new snapshot}")]);

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        let image = world.seed_image("base", &[1; 16 * 1024]).await;
        let instance = world.seed_instance(&image).await;
        let described = world.call("DescribeInstances", &[("InstanceId.1", &instance)]).await.ok();
        let volume = described.value("volumeId");
        world.host.guest_write(&volume, 4096, &[2; 4096]);
        Self { world, image, instance, volume }
    }

    /// The last of the listed values that is not the scene's own.
    async fn newest(&self, action: &str, element: &str) -> String {
        let reply = self.world.call(action, &[("Owner.1", "self")]).await.ok();
        let mut all = reply.values(element);
        all.retain(|id| *id != self.image);
        all.pop().unwrap_or_default()
    }

    /// Whether it is refused does not matter here.
    async fn call(&self, (action, params): Call) {
        let mut filled = Vec::new();
        for (name, value) in params {
            let value = match *value {
                "{instance}" => self.instance.clone(),
                "{volume}" => self.volume.clone(),
                "{image}" => self.image.clone(),
                "{new image}" => self.newest("DescribeImages", "imageId").await,
                "{new snapshot}" => self.newest("DescribeSnapshots", "snapshotId").await,
                plain => plain.to_owned(),
            };
            filled.push((*name, value));
        }
        let params: Vec<(&str, &str)> = filled.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let reply = self.world.call(action, &params).await;
        assert!(!reply.status.is_server_error(), "{action}: {}", reply.text());
    }

    /// What no order of calls and jobs may leave behind.
    async fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut tx = self.world.metastore.read().await.expect("reading works");
        if tx.next_due(self.world.now()).await.expect("reading works").is_some() {
            faults.push("a job is left".to_owned());
        }
        let dump = self.world.dump().await;
        if !dump.contains("\\\"imaging\\\":null") {
            faults.push("the instance is held for an image".to_owned());
        }
        self.look_at_instances(&mut faults).await;
        self.look_at_volumes(&mut faults).await;
        self.look_at_images(&mut faults).await;
        faults
    }

    async fn look_at_instances(&self, faults: &mut Vec<String>) {
        let id = self.instance.parse().expect("an id");
        let described = self.world.call("DescribeInstances", &[("InstanceId.1", &self.instance)]).await.ok();
        let (state, is_up) = (described.value("name"), self.world.host.is_running(&id));
        match (state.as_str(), is_up) {
            ("running", true) | ("stopped" | "terminated", false) => {}
            _ => faults.push(format!("the instance is {state}, its machine runs: {is_up}")),
        }
        if state == "terminated" && !self.world.host.machine_ids().is_empty() {
            faults.push("a terminated instance left its machine".to_owned());
        }
    }

    async fn look_at_volumes(&self, faults: &mut Vec<String>) {
        let mut rows = self.world.call("DescribeVolumes", &[]).await.ok().values("volumeId");
        rows.sort();
        rows.dedup();
        let keys = self.world.host.volume_keys();
        if keys != rows {
            faults.push(format!("the host holds {keys:?}, the rows are {rows:?}"));
        }
        for key in keys {
            let held = self.world.host.held_freezes(&key);
            if !held.is_empty() {
                faults.push(format!("{key} holds {held:?}"));
            }
        }
    }

    async fn look_at_images(&self, faults: &mut Vec<String>) {
        let snapshots = self.world.call("DescribeSnapshots", &[]).await.ok();
        let states = snapshots.values("status");
        if states.iter().any(|state| state == "pending") {
            faults.push(format!("snapshots are {states:?}"));
        }
        let images = self.world.call("DescribeImages", &[("Owner.1", "self")]).await.ok();
        let known = snapshots.values("snapshotId");
        for (image, snapshot) in images.values("imageState").into_iter().zip(images.values("snapshotId")) {
            let status = known.iter().position(|id| *id == snapshot).and_then(|at| states.get(at));
            let is_whole = image == "available" && status.is_some_and(|status| status == "completed");
            if !is_whole && image != "failed" {
                faults.push(format!("an {image} image has a snapshot that is {status:?}"));
            }
        }
    }
}

/// The work of `first`, with `second` coming at each passage of it.
async fn interrupt(before: &[Call], first: Call, second: Call) {
    let scene = async || {
        let scene = Scene::new().await;
        for call in before {
            scene.call(*call).await;
            scene.world.settle().await;
        }
        scene.call(first).await;
        scene
    };
    let clean = scene().await;
    clean.world.gate.plan(None);
    clean.world.settle().await;
    for at in 0..clean.world.gate.count() {
        let scene = scene().await;
        scene.world.gate.plan(Some((at, Fault::Pause)));
        let mut worker = Box::pin(scene.world.settle());
        tokio::select! {
            () = &mut worker => continue,
            () = scene.world.gate.paused() => {}
        }
        scene.call(second).await;
        scene.world.gate.resume();
        worker.await;
        scene.world.settle().await;
        let faults = scene.faults().await;
        assert!(faults.is_empty(), "{} at passage {at} of {}: {faults:#?}", second.0, first.0);
    }
}

#[tokio::test]
async fn a_change_of_mind_while_a_machine_starts() {
    for second in [STOP, FORCE, TERMINATE, MAKE] {
        interrupt(&[STOP], START, second).await;
    }
}

#[tokio::test]
async fn a_change_of_mind_while_a_machine_stops() {
    for second in [START, FORCE, TERMINATE, MAKE_LIVE, SNAPSHOT] {
        interrupt(&[], STOP, second).await;
    }
}

#[tokio::test]
async fn a_change_of_mind_while_an_image_is_made_of_a_running_instance() {
    for second in [STOP, FORCE, TERMINATE, REBOOT, MAKE_LIVE, SNAPSHOT, DEREGISTER_NEW] {
        interrupt(&[], MAKE, second).await;
    }
}

#[tokio::test]
async fn a_change_of_mind_while_an_image_is_made_beside_the_guest() {
    for second in [STOP, TERMINATE, MAKE, DEREGISTER_NEW] {
        interrupt(&[], MAKE_LIVE, second).await;
    }
}

#[tokio::test]
async fn a_change_of_mind_while_a_snapshot_is_taken() {
    for second in [DELETE_SNAPSHOT, TERMINATE, SNAPSHOT, MAKE] {
        interrupt(&[], SNAPSHOT, second).await;
    }
}

#[tokio::test]
async fn a_change_of_mind_while_an_image_is_copied() {
    for second in [DEREGISTER_NEW, DEREGISTER_OLD] {
        interrupt(&[], COPY, second).await;
    }
}

#[tokio::test]
async fn a_change_of_mind_while_an_instance_goes() {
    for second in [START, STOP, MAKE, SNAPSHOT, REBOOT] {
        interrupt(&[], TERMINATE, second).await;
    }
}
