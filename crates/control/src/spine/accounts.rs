//! New accounts: the account itself, its root access key, and the default network in every region.

use metastore::{Metastore, Tx};
use model::id_gen::random_bytes;
use model::{
    AccessKey, Account, AccountId, CidrV4, Region, RulePeer, SecurityGroup, SecurityGroupId,
    SecurityGroupRule, SecurityGroupRuleId, Subnet, SubnetId, Vpc, VpcId,
};

use super::env::Env;
use crate::failure::Failure;

/// The name of the account that exists from the first start.
pub(crate) const FIRST_ACCOUNT: &str = "default";

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// An account and the only showing of its secret.
#[derive(Debug, Clone)]
pub struct NewAccount {
    pub account: Account,
    pub key: AccessKey,
}

/// The first account, made on the first start. None where it exists already.
pub async fn ensure_first_account(metastore: &Metastore, env: &Env) -> Result<Option<NewAccount>, Failure> {
    create_account(metastore, env, FIRST_ACCOUNT).await
}

/// A further account. None where the name is taken.
pub async fn create_account(
    metastore: &Metastore,
    env: &Env,
    name: &str,
) -> Result<Option<NewAccount>, Failure> {
    let mut tx = metastore.write().await?;
    if tx.account_by_name(name).await?.is_some() {
        return Ok(None);
    }
    let key = new_key(env, &AccountId::generate(env.ids.as_ref()));
    let created = account_insert(&mut tx, env, name, key).await?;
    tx.commit().await?;
    Ok(Some(created))
}

/// The account with this number, made on first sight: emulated callers name themselves.
pub(crate) async fn ensure_numbered_account(
    metastore: &Metastore,
    env: &Env,
    account_id: AccountId,
) -> Result<(), Failure> {
    let mut tx = metastore.write().await?;
    if tx.account_get(&account_id).await?.is_none() {
        let name = account_id.to_string();
        account_insert(&mut tx, env, &name, new_key(env, &account_id)).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The root key of an account.
pub(crate) fn new_key(env: &Env, account_id: &AccountId) -> AccessKey {
    AccessKey {
        access_key_id: format!("AKIA{}", random_text::<16, 32>(env, BASE32)),
        secret_access_key: random_text::<40, 64>(env, BASE64),
        account_id: account_id.clone(),
        create_time: env.clock.now(),
    }
}

/// The account that has the key.
pub(crate) async fn account_insert(
    tx: &mut Tx,
    env: &Env,
    name: &str,
    key: AccessKey,
) -> Result<NewAccount, Failure> {
    let account_id = key.account_id.clone();
    let account =
        Account { account_id: account_id.clone(), name: name.to_owned(), create_time: env.clock.now() };
    tx.account_insert(&account).await?;
    tx.access_key_insert(&key).await?;
    for region in Region::all() {
        default_network_insert(tx, env, &account_id, region).await?;
    }
    Ok(NewAccount { account, key })
}

/// The VPC, a subnet in each zone, and the group `default`, as EC2 gives them to every new account.
pub(crate) async fn default_network_insert(
    tx: &mut Tx,
    env: &Env,
    owner: &AccountId,
    region: Region,
) -> Result<(), Failure> {
    let ids = env.ids.as_ref();
    let vpc = Vpc {
        vpc_id: VpcId::generate(ids),
        owner_id: owner.clone(),
        region,
        cidr_block: CidrV4::new([172, 31, 0, 0].into(), 16),
        is_default: true,
    };
    tx.vpc_insert(&vpc).await?;
    for (zone, third) in region.zones().zip([0, 16, 32]) {
        let subnet = Subnet {
            subnet_id: SubnetId::generate(ids),
            vpc_id: vpc.vpc_id.clone(),
            owner_id: owner.clone(),
            availability_zone: zone,
            cidr_block: CidrV4::new([172, 31, third, 0].into(), 20),
            default_for_az: true,
        };
        tx.subnet_insert(&subnet).await?;
    }
    tx.security_group_insert(&default_group(env, &vpc)).await?;
    Ok(())
}

fn default_group(env: &Env, vpc: &Vpc) -> SecurityGroup {
    let ids = env.ids.as_ref();
    let group_id = SecurityGroupId::generate(ids);
    let from_itself = RulePeer::Group { group_id: group_id.clone(), owner_id: vpc.owner_id.clone() };
    let everything = |peer| SecurityGroupRule {
        rule_id: SecurityGroupRuleId::generate(ids),
        protocol: "-1".to_owned(),
        from_port: None,
        to_port: None,
        peer,
        description: None,
    };
    SecurityGroup {
        group_id,
        group_name: "default".to_owned(),
        description: "default VPC security group".to_owned(),
        owner_id: vpc.owner_id.clone(),
        region: vpc.region,
        vpc_id: vpc.vpc_id.clone(),
        ingress: vec![everything(from_itself)],
        egress: vec![everything(RulePeer::CidrV4(CidrV4::new([0, 0, 0, 0].into(), 0)))],
    }
}

/// `N` characters of an alphabet whose size divides 256, so that every one is as likely as any other.
fn random_text<const N: usize, const SIZE: usize>(env: &Env, alphabet: &[u8; SIZE]) -> String {
    let bytes: [u8; N] = random_bytes(env.ids.as_ref());
    bytes.iter().filter_map(|b| alphabet.get(usize::from(*b) % SIZE)).map(|b| char::from(*b)).collect()
}
