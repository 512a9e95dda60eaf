use metastore::ErrorKind;
use model::key_pair::KeyType;
use model::{
    AvailabilityZone, CidrV4, IdGen, KeyPair, KeyPairId, RulePeer, SecurityGroup, SecurityGroupId,
    SecurityGroupRule, SecurityGroupRuleId, Subnet, SubnetId, Vpc, VpcId,
};

use crate::{START, World, account, tokyo, virginia};

pub(crate) fn key_pair(ids: &dyn IdGen, owner: u32, name: &str) -> KeyPair {
    KeyPair {
        key_pair_id: KeyPairId::generate(ids),
        key_name: name.to_owned(),
        owner_id: account(owner),
        region: tokyo(),
        key_type: KeyType::Ed25519,
        key_fingerprint: "AAAA".to_owned(),
        public_key: format!("ssh-ed25519 AAAA {name}"),
        create_time: START,
    }
}

pub(crate) async fn key_pairs_are_found_by_name(world: World) {
    let (b, a) = (key_pair(&world.ids, 1, "b"), key_pair(&world.ids, 1, "a"));
    let mut tx = world.write().await;
    tx.key_pair_insert(&b).await.unwrap();
    tx.key_pair_insert(&a).await.unwrap();
    tx.key_pair_insert(&key_pair(&world.ids, 2, "a")).await.unwrap();
    let taken = tx.key_pair_insert(&key_pair(&world.ids, 1, "a")).await;
    assert_eq!(taken.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tx.key_pair_get(&a.key_pair_id).await.unwrap(), Some(a.clone()));
    assert_eq!(tx.key_pair_by_name(&account(1), tokyo(), "b").await.unwrap(), Some(b.clone()));
    assert_eq!(tx.key_pair_by_name(&account(1), virginia(), "b").await.unwrap(), None);
    assert_eq!(tx.key_pairs_owned(&account(1), tokyo()).await.unwrap(), [a.clone(), b]);
    assert!(tx.key_pair_delete(&a.key_pair_id).await.unwrap());
    assert!(!tx.key_pair_delete(&a.key_pair_id).await.unwrap());
}

pub(crate) fn vpc(ids: &dyn IdGen, is_default: bool) -> Vpc {
    Vpc {
        vpc_id: VpcId::generate(ids),
        owner_id: account(1),
        region: tokyo(),
        cidr_block: "172.31.0.0/16".parse().unwrap(),
        is_default,
    }
}

pub(crate) async fn one_default_vpc_a_region(world: World) {
    let (default, other) = (vpc(&world.ids, true), vpc(&world.ids, false));
    let mut tx = world.write().await;
    assert_eq!(tx.vpc_default(&account(1), tokyo()).await.unwrap(), None);
    tx.vpc_insert(&default).await.unwrap();
    tx.vpc_insert(&other).await.unwrap();
    tx.vpc_insert(&vpc(&world.ids, false)).await.unwrap();
    assert_eq!(tx.vpc_insert(&vpc(&world.ids, true)).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(tx.vpc_default(&account(1), tokyo()).await.unwrap(), Some(default));
    assert_eq!(tx.vpc_get(&other.vpc_id).await.unwrap(), Some(other));
    assert_eq!(tx.vpcs_owned(&account(1), tokyo()).await.unwrap().len(), 3);
    assert_eq!(tx.vpcs_owned(&account(2), tokyo()).await.unwrap(), []);
}

pub(crate) fn subnet(ids: &dyn IdGen, vpc: &VpcId, zone: AvailabilityZone) -> Subnet {
    Subnet {
        subnet_id: SubnetId::generate(ids),
        vpc_id: vpc.clone(),
        owner_id: account(1),
        availability_zone: zone,
        cidr_block: CidrV4::new([172, 31, 0, 0].into(), 20),
        default_for_az: true,
    }
}

pub(crate) async fn subnets_are_found_by_vpc(world: World) {
    let vpc = VpcId::generate(&world.ids);
    let mut tx = world.write().await;
    let mut subnets = Vec::new();
    for zone in tokyo().zones() {
        let subnet = subnet(&world.ids, &vpc, zone);
        tx.subnet_insert(&subnet).await.unwrap();
        subnets.push(subnet);
    }
    subnets.sort_by(|a, b| a.subnet_id.cmp(&b.subnet_id));
    assert_eq!(tx.subnets_of_vpc(&vpc).await.unwrap(), subnets);
    assert_eq!(tx.subnets_owned(&account(1), tokyo()).await.unwrap(), subnets);
    assert_eq!(tx.subnets_owned(&account(1), virginia()).await.unwrap(), []);
    assert_eq!(tx.subnet_get(&subnets[0].subnet_id).await.unwrap().as_ref(), subnets.first());
}

pub(crate) fn group(ids: &dyn IdGen, vpc: &VpcId, name: &str) -> SecurityGroup {
    SecurityGroup {
        group_id: SecurityGroupId::generate(ids),
        group_name: name.to_owned(),
        description: "d".to_owned(),
        owner_id: account(1),
        region: tokyo(),
        vpc_id: vpc.clone(),
        ingress: vec![],
        egress: vec![],
    }
}

pub(crate) async fn security_groups_keep_their_rules(world: World) {
    let vpc = VpcId::generate(&world.ids);
    let mut web = group(&world.ids, &vpc, "web");
    let mut tx = world.write().await;
    tx.security_group_insert(&web).await.unwrap();
    let taken = tx.security_group_insert(&group(&world.ids, &vpc, "web")).await;
    assert_eq!(taken.unwrap_err().kind, ErrorKind::Conflict);
    web.ingress.push(SecurityGroupRule {
        rule_id: SecurityGroupRuleId::generate(&world.ids),
        protocol: "tcp".to_owned(),
        from_port: Some(22),
        to_port: Some(22),
        peer: RulePeer::Group { group_id: web.group_id.clone(), owner_id: account(1) },
        description: None,
    });
    tx.security_group_update(&web).await.unwrap();
    assert_eq!(tx.security_group_get(&web.group_id).await.unwrap(), Some(web.clone()));
    assert_eq!(tx.security_group_by_name(&vpc, "web").await.unwrap(), Some(web.clone()));
    assert_eq!(tx.security_groups_of_vpc(&vpc).await.unwrap(), [web.clone()]);
    assert_eq!(tx.security_groups_owned(&account(1), tokyo()).await.unwrap(), [web.clone()]);
    assert!(tx.security_group_delete(&web.group_id).await.unwrap());
    assert_eq!(tx.security_group_update(&web).await.unwrap_err().kind, ErrorKind::NotFound);
}
