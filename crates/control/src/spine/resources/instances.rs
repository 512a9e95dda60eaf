//! Instances: the owner's alone.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use model::{CidrV4, Instance, InstanceId, SecurityGroupId, SubnetId};

use super::super::cx::Cx;
use super::super::granted::{Creation, Granted};
use super::super::write::Write;
use crate::failure::Failure;
use crate::rules::once::each_once;

/// Public addresses are loopback addresses of the host, out of a range that nothing else uses.
/// They are of the whole installation, not divided by account.
const PUBLIC_RANGE: CidrV4 = CidrV4::new(Ipv4Addr::new(127, 64, 0, 0), 10);

impl Cx<'_> {
    pub(crate) async fn instance(&mut self, id: &InstanceId) -> Result<Granted<Instance>, Failure> {
        let mut found = self.instances_by_id(std::slice::from_ref(id)).await?;
        found.pop().ok_or_else(|| Failure::instances_not_found(std::slice::from_ref(id)))
    }

    /// All of these, each once, or an error that names those that are not there.
    pub(crate) async fn instances_by_id(
        &mut self,
        ids: &[InstanceId],
    ) -> Result<Vec<Granted<Instance>>, Failure> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for id in each_once(ids) {
            match self.tx.instance_get(id).await?.filter(|instance| self.owns(instance)) {
                Some(instance) => found.push(Granted::new(instance)),
                None => missing.push(id.clone()),
            }
        }
        if missing.is_empty() { Ok(found) } else { Err(Failure::instances_not_found(&missing)) }
    }

    pub(crate) async fn instances(&mut self) -> Result<Vec<Instance>, Failure> {
        Ok(self.tx.instances_owned(&self.caller.account, self.caller.region).await?)
    }

    pub(crate) async fn instances_using_group(
        &mut self,
        id: &SecurityGroupId,
    ) -> Result<Vec<Instance>, Failure> {
        Ok(self.tx.instances_using_group(id).await?)
    }

    pub(crate) async fn private_ips_in_subnet(
        &mut self,
        id: &SubnetId,
    ) -> Result<BTreeSet<Ipv4Addr>, Failure> {
        Ok(self.tx.private_ips_in_subnet(id).await?)
    }

    /// As `instances_by_id`, for operations that name at least one.
    pub(crate) async fn instances_by_id_required(
        &mut self,
        ids: &[InstanceId],
    ) -> Result<Vec<Granted<Instance>>, Failure> {
        if ids.is_empty() {
            return Err(Failure::missing("InstanceId"));
        }
        self.instances_by_id(ids).await
    }

    /// The lowest loopback addresses that no instance has, `count` of them.
    pub(crate) async fn free_public_ips(&mut self, count: usize) -> Result<Vec<Ipv4Addr>, Failure> {
        let taken = self.tx.public_ips_in_use().await?;
        let range = (1..=u32::MAX).map_while(|offset| PUBLIC_RANGE.nth(offset));
        // Addresses that end in 0 or 255 confuse some tools.
        let plain = range.filter(|address| !matches!(address.octets(), [_, _, _, 0 | 255]));
        let free: Vec<Ipv4Addr> = plain.filter(|address| !taken.contains(address)).take(count).collect();
        if free.len() < count { Err(Failure::no_public_address()) } else { Ok(free) }
    }

    fn owns(&self, instance: &Instance) -> bool {
        instance.owner_id == self.caller.account && instance.availability_zone.region == self.caller.region
    }
}

impl Write<'_, '_> {
    pub(crate) async fn instance_insert(
        &mut self,
        creation: &Creation,
        instance: &Instance,
    ) -> Result<(), Failure> {
        self.cx.tx.instance_insert(instance).await?;
        self.created_tags_put(creation, instance.instance_id.as_str()).await
    }

    pub(crate) async fn instance_update(&mut self, instance: Granted<Instance>) -> Result<(), Failure> {
        Ok(self.cx.tx.instance_update(&instance).await?)
    }
}
