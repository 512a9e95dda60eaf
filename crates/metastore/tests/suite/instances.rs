use std::collections::BTreeSet;

use metastore::ErrorKind;
use model::{InstanceState, SecurityGroupId, SubnetId};

use crate::nouns::instance;
use crate::{World, account, tokyo, virginia};

pub(crate) async fn an_instance_round_trips(world: World) {
    let subnet = SubnetId::generate(&world.ids);
    let mut second = instance(&world.ids, account(1), &subnet, 5);
    let first = instance(&world.ids, account(1), &subnet, 4);
    let mut tx = world.write().await;
    tx.instance_insert(&second).await.unwrap();
    tx.instance_insert(&first).await.unwrap();
    second.state = InstanceState::Stopped;
    second.network.public_ip = None;
    tx.instance_update(&second).await.unwrap();
    assert_eq!(tx.instance_get(&second.instance_id).await.unwrap(), Some(second.clone()));
    assert_eq!(tx.instances_owned(&account(1), tokyo()).await.unwrap(), [first, second]);
    assert_eq!(tx.instances_owned(&account(1), virginia()).await.unwrap(), []);
    assert_eq!(tx.instances_owned(&account(2), tokyo()).await.unwrap(), []);
}

pub(crate) async fn addresses_are_held_until_termination(world: World) {
    let (subnet, other) = (SubnetId::generate(&world.ids), SubnetId::generate(&world.ids));
    let mut gone = instance(&world.ids, account(1), &subnet, 4);
    let mut tx = world.write().await;
    tx.instance_insert(&gone).await.unwrap();
    let mut same_private = instance(&world.ids, account(2), &subnet, 4);
    same_private.network.public_ip = None;
    assert_eq!(tx.instance_insert(&same_private).await.unwrap_err().kind, ErrorKind::Conflict);
    let same_public = instance(&world.ids, account(2), &other, 4);
    assert_eq!(tx.instance_insert(&same_public).await.unwrap_err().kind, ErrorKind::Conflict);
    tx.instance_insert(&instance(&world.ids, account(1), &other, 9)).await.unwrap();
    assert_eq!(tx.private_ips_in_subnet(&subnet).await.unwrap(), BTreeSet::from([[172, 31, 0, 4].into()]));
    let both = BTreeSet::from([[127, 0, 1, 4].into(), [127, 0, 1, 9].into()]);
    assert_eq!(tx.public_ips_in_use().await.unwrap(), both);
    gone.state = InstanceState::Terminated;
    tx.instance_update(&gone).await.unwrap();
    assert_eq!(tx.private_ips_in_subnet(&subnet).await.unwrap(), BTreeSet::new());
    assert_eq!(tx.public_ips_in_use().await.unwrap(), BTreeSet::from([[127, 0, 1, 9].into()]));
    tx.instance_insert(&same_private).await.unwrap();
}

pub(crate) async fn groups_are_in_use_until_termination(world: World) {
    let subnet = SubnetId::generate(&world.ids);
    let mut member = instance(&world.ids, account(1), &subnet, 4);
    let (first, second) = (SecurityGroupId::generate(&world.ids), SecurityGroupId::generate(&world.ids));
    member.network.security_group_ids = vec![first.clone(), second.clone()];
    let mut tx = world.write().await;
    tx.instance_insert(&member).await.unwrap();
    assert_eq!(tx.instances_using_group(&second).await.unwrap(), [member.clone()]);
    member.network.security_group_ids.pop();
    tx.instance_update(&member).await.unwrap();
    assert_eq!(tx.instances_using_group(&second).await.unwrap(), []);
    assert_eq!(tx.instances_using_group(&first).await.unwrap(), [member.clone()]);
    member.state = InstanceState::Terminated;
    tx.instance_update(&member).await.unwrap();
    assert_eq!(tx.instances_using_group(&first).await.unwrap(), []);
}

pub(crate) async fn instances_are_found_by_state(world: World) {
    let subnet = SubnetId::generate(&world.ids);
    let mut tx = world.write().await;
    let mut pending = instance(&world.ids, account(2), &subnet, 4);
    pending.state = InstanceState::Pending;
    let running = instance(&world.ids, account(1), &subnet, 5);
    for instance in [&pending, &running] {
        tx.instance_insert(instance).await.unwrap();
    }
    assert_eq!(tx.instances_in_state(InstanceState::Pending).await.unwrap(), [pending]);
    assert_eq!(tx.instances_in_state(InstanceState::Running).await.unwrap(), [running]);
    assert_eq!(tx.instances_in_state(InstanceState::Stopped).await.unwrap(), []);
}

pub(crate) async fn purged_instances_are_gone(world: World) {
    let gone = instance(&world.ids, account(1), &SubnetId::generate(&world.ids), 4);
    let mut tx = world.write().await;
    tx.instance_insert(&gone).await.unwrap();
    assert!(tx.instance_delete(&gone.instance_id).await.unwrap());
    assert!(!tx.instance_delete(&gone.instance_id).await.unwrap());
    assert_eq!(tx.instance_get(&gone.instance_id).await.unwrap(), None);
    let group = gone.network.security_group_ids.first().unwrap();
    assert_eq!(tx.instances_using_group(group).await.unwrap(), []);
    tx.commit().await.unwrap();
    let dump = world.metastore.dump().await.unwrap();
    assert!(!dump.contains(gone.instance_id.as_str()), "{dump}");
}
