//! `instances`, with a side table for the security groups they are in.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use model::{AccountId, Instance, InstanceId, InstanceState, Region, SecurityGroupId, SubnetId};

use crate::Tx;
use crate::engine::{Row, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::noun::{Links, Noun};

const GROUPS: Links = Links { table: "instance_security_groups", from: "instance_id", to: "group_id" };

impl Noun for Instance {
    const TABLE: &'static str = "instances";
    const KEY: &'static str = "instance_id";
    const COLUMNS: &'static [&'static str] = &[
        "owner_id",
        "region",
        "state",
        "subnet_id",
        "private_ip",
        "public_ip",
        "launch_time",
        "ami_launch_index",
    ];

    fn key(&self) -> &str {
        self.instance_id.as_str()
    }

    fn columns(&self) -> Vec<Value> {
        vec![
            self.owner_id.as_str().into(),
            self.availability_zone.region.into(),
            self.state.as_str().into(),
            self.network.subnet_id.as_str().into(),
            self.network.private_ip.to_string().into(),
            self.network.public_ip.map(|ip| ip.to_string()).into(),
            self.launch_time.into(),
            self.ami_launch_index.into(),
        ]
    }
}

impl Tx {
    /// `Conflict` when the id, or an address, is taken.
    pub async fn instance_insert(&mut self, instance: &Instance) -> Result<()> {
        self.noun_insert(instance).await?;
        self.instance_links_set(instance).await
    }

    pub async fn instance_get(&mut self, id: &InstanceId) -> Result<Option<Instance>> {
        self.noun_get(id.as_str()).await
    }

    /// Replaces the whole noun; `NotFound` when there is none, `Conflict` when an address is taken.
    pub async fn instance_update(&mut self, instance: &Instance) -> Result<()> {
        self.noun_update(instance).await?;
        self.instance_links_set(instance).await
    }

    /// Forgets an instance that has been terminated for long enough; false when there was none.
    pub async fn instance_delete(&mut self, id: &InstanceId) -> Result<bool> {
        self.links_set(&GROUPS, id.as_str(), BTreeSet::new()).await?;
        self.noun_delete::<Instance>(id.as_str()).await
    }

    /// The owner's instances in the order of their launches.
    pub async fn instances_owned(&mut self, account: &AccountId, region: Region) -> Result<Vec<Instance>> {
        let condition = "owner_id = $1 AND region = $2 ORDER BY launch_time, ami_launch_index, instance_id";
        self.nouns_where(condition, &[account.as_str().into(), region.into()]).await
    }

    /// The instances of any account that are in the state, in the order of their launches.
    pub async fn instances_in_state(&mut self, state: InstanceState) -> Result<Vec<Instance>> {
        let condition = "state = $1 ORDER BY launch_time, ami_launch_index, instance_id";
        self.nouns_where(condition, &[state.as_str().into()]).await
    }

    /// The instances in a security group that are not terminated.
    pub async fn instances_using_group(&mut self, group: &SecurityGroupId) -> Result<Vec<Instance>> {
        let condition = "state <> 'terminated' \
                         AND instance_id IN (SELECT instance_id FROM instance_security_groups WHERE group_id = $1) \
                         ORDER BY launch_time, ami_launch_index, instance_id";
        self.nouns_where(condition, &[group.as_str().into()]).await
    }

    /// The private addresses that instances hold in a subnet; a terminated instance holds none.
    pub async fn private_ips_in_subnet(&mut self, subnet: &SubnetId) -> Result<BTreeSet<Ipv4Addr>> {
        let sql = "SELECT private_ip FROM instances WHERE subnet_id = $1 AND state <> 'terminated'";
        let rows = self.query(sql, &[subnet.as_str().into()]).await?;
        rows.rows.iter().map(address).collect()
    }

    /// The public addresses that instances of any account hold.
    pub async fn public_ips_in_use(&mut self) -> Result<BTreeSet<Ipv4Addr>> {
        let sql = "SELECT public_ip FROM instances WHERE public_ip IS NOT NULL AND state <> 'terminated'";
        let rows = self.query(sql, &[]).await?;
        rows.rows.iter().map(address).collect()
    }

    async fn instance_links_set(&mut self, instance: &Instance) -> Result<()> {
        let groups = instance.network.security_group_ids.iter().map(SecurityGroupId::as_str).collect();
        self.links_set(&GROUPS, instance.key(), groups).await
    }
}

fn address(row: &Row) -> Result<Ipv4Addr> {
    row.text(0)?.parse().map_err(|e| Error::caused(ErrorKind::Corrupt, "read an address", format!("{e}")))
}
