use model::InstanceId;
use testkit::World;

/// A running instance in a group of its own, that shows its tags to the guest.
struct Scene {
    instance: InstanceId,
    group: String,
}

async fn launched() -> (World, Scene) {
    let world = World::new().await;
    let params = [("GroupName", "web"), ("GroupDescription", "d")];
    let group = world.call("CreateSecurityGroup", &params).await.ok().value("groupId");
    let image = world.seed_image("base", b"boot me").await;
    let launch = [
        ("ImageId", image.as_str()),
        ("InstanceType", "t3.micro"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("SecurityGroupId.1", group.as_str()),
        ("MetadataOptions.InstanceMetadataTags", "enabled"),
    ];
    let id = world.call("RunInstances", &launch).await.ok().value("instanceId");
    (world, Scene { instance: id.parse().unwrap(), group })
}

async fn running() -> (World, Scene) {
    let (world, scene) = launched().await;
    world.settle().await;
    (world, scene)
}

async fn open(world: &World, scene: &Scene, port: &str) {
    let params = [
        ("GroupId", scene.group.as_str()),
        ("IpProtocol", "tcp"),
        ("FromPort", port),
        ("ToPort", port),
        ("CidrIp", "0.0.0.0/0"),
    ];
    world.call("AuthorizeSecurityGroupIngress", &params).await.ok();
}

/// The ports that the machine was last told to let in.
fn open_ports(world: &World, scene: &Scene) -> Vec<i32> {
    let spec = world.host.machine_spec(&scene.instance);
    let groups = spec.map(|spec| spec.network.security_groups).unwrap_or_default();
    groups.iter().flat_map(|group| &group.ingress).filter_map(|rule| rule.from_port).collect()
}

fn shown_tags(world: &World, scene: &Scene) -> Vec<String> {
    let spec = world.host.machine_spec(&scene.instance);
    spec.map(|spec| spec.tags).unwrap_or_default().into_iter().map(|tag| tag.key).collect()
}

#[tokio::test]
async fn a_running_machine_hears_of_new_rules_and_of_those_that_go() {
    let (world, scene) = running().await;
    assert!(open_ports(&world, &scene).is_empty());
    open(&world, &scene, "22").await;
    open(&world, &scene, "80").await;
    world.settle().await;
    assert_eq!(open_ports(&world, &scene), [22, 80]);
    let ssh = [
        ("GroupId", scene.group.as_str()),
        ("IpProtocol", "tcp"),
        ("FromPort", "22"),
        ("ToPort", "22"),
        ("CidrIp", "0.0.0.0/0"),
    ];
    world.call("RevokeSecurityGroupIngress", &ssh).await.ok();
    world.settle().await;
    assert_eq!(open_ports(&world, &scene), [80]);
}

#[tokio::test]
async fn a_machine_that_shows_tags_hears_of_them() {
    let (world, scene) = running().await;
    let params = [("ResourceId.1", scene.instance.as_str()), ("Tag.1.Key", "a"), ("Tag.2.Key", "b")];
    world.call("CreateTags", &params).await.ok();
    world.settle().await;
    assert_eq!(shown_tags(&world, &scene), ["a", "b"]);
    world.call("DeleteTags", &params[..2]).await.ok();
    world.settle().await;
    assert_eq!(shown_tags(&world, &scene), ["b"]);
}

#[tokio::test]
async fn a_rule_that_comes_during_the_start_reaches_the_machine() {
    let (world, scene) = launched().await;
    // The first turn starts the machine with the rules of its launch.
    assert!(world.runner.turn().await.unwrap());
    open(&world, &scene, "22").await;
    world.settle().await;
    assert_eq!(open_ports(&world, &scene), [22]);
}

#[tokio::test]
async fn a_rule_that_comes_while_the_machine_is_told_reaches_it_too() {
    let (world, scene) = running().await;
    open(&world, &scene, "22").await;
    // What the job tells was read before the second rule, which finds the job alive and adds no other.
    world.gate.plan(Some((0, testkit::Fault::Pause)));
    let meanwhile = async {
        world.gate.paused().await;
        open(&world, &scene, "80").await;
        world.gate.resume();
    };
    let (turned, ()) = tokio::join!(world.runner.turn(), meanwhile);
    assert!(turned.unwrap());
    assert_eq!(open_ports(&world, &scene), [22]);
    world.settle().await;
    assert_eq!(open_ports(&world, &scene), [22, 80]);
}

#[tokio::test]
async fn a_machine_that_is_down_is_left_alone() {
    let (world, scene) = running().await;
    world.call("StopInstances", &[("InstanceId.1", scene.instance.as_str())]).await.ok();
    world.settle().await;
    open(&world, &scene, "22").await;
    world.settle().await;
    world.call("StartInstances", &[("InstanceId.1", scene.instance.as_str())]).await.ok();
    world.settle().await;
    assert_eq!(open_ports(&world, &scene), [22]);
}

#[tokio::test]
async fn torture() {
    let scene = async || {
        let (world, scene) = running().await;
        open(&world, &scene, "22").await;
        (world, scene)
    };
    testkit::torture(scene, async |world, scene| format!("{:?}", open_ports(world, scene))).await;
}
