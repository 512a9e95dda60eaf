//! Where instances go: subnet, security groups, addresses.

use std::net::Ipv4Addr;

use model::limits::SECURITY_GROUPS_PER_INSTANCE_MAX;
use model::vpc::SUBNET_RESERVED_FIRST;
use model::{SecurityGroup, SecurityGroupId, Subnet, SubnetId};

use super::request::{NetworkInterface, Request};
use crate::failure::Failure;
use crate::spine::cx::Cx;
use crate::spine::granted::Granted;

pub(super) struct Place {
    pub(super) subnet: Granted<Subnet>,
    pub(super) groups: Vec<SecurityGroup>,
    pub(super) private_ips: Vec<Ipv4Addr>,
    /// Empty when the request wants none.
    pub(super) public_ips: Vec<Ipv4Addr>,
}

pub(super) async fn resolve(cx: &mut Cx<'_>, req: &Request, count: u32) -> Result<Place, Failure> {
    let interface = primary_interface(req)?;
    let subnet = subnet(cx, req, interface).await?;
    let groups = groups(cx, req, interface, &subnet).await?;
    let private_ips = private_ips(cx, req, interface, &subnet, count).await?;
    let wants_public = interface.and_then(|i| i.associate_public_ip_address).unwrap_or(subnet.default_for_az);
    let public_ips = if wants_public { cx.free_public_ips(count as usize).await? } else { Vec::new() };
    Ok(Place { subnet, groups, private_ips, public_ips })
}

fn primary_interface(req: &Request) -> Result<Option<&NetworkInterface>, Failure> {
    let interface = match req.network_interfaces.as_slice() {
        [] => return Ok(None),
        [one] if one.device_index.unwrap_or(0) == 0 && one.network_card_index.unwrap_or(0) == 0 => one,
        _ => return Err(Failure::unsupported("More than one network interface")),
    };
    let twice = req.subnet_id.is_some()
        || !req.security_group_ids.is_empty()
        || !req.security_groups.is_empty()
        || req.private_ip_address.is_some();
    if twice {
        return Err(Failure::combination(
            "Network interfaces and an instance-level subnet ID, security groups or address may not be specified \
             on the same request",
        ));
    }
    if interface.delete_on_termination == Some(false) {
        return Err(Failure::unsupported("NetworkInterface.DeleteOnTermination=false"));
    }
    Ok(Some(interface))
}

async fn subnet(
    cx: &mut Cx<'_>,
    req: &Request,
    interface: Option<&NetworkInterface>,
) -> Result<Granted<Subnet>, Failure> {
    let asked: Option<&SubnetId> = req.subnet_id.as_ref().or(interface.and_then(|i| i.subnet_id.as_ref()));
    let zone = req.placement.as_ref().and_then(|placement| placement.availability_zone);
    if let Some(zone) = zone.filter(|zone| zone.region != cx.region()) {
        return Err(Failure::value(format!("Invalid availability zone: [{zone}]")));
    }
    if let Some(id) = asked {
        let subnet = cx.subnet(id).await?;
        return match zone {
            Some(zone) if zone != subnet.availability_zone => {
                Err(Failure::value(format!("The subnet '{id}' is not in the zone {zone}")))
            }
            Some(_) | None => Ok(subnet),
        };
    }
    let zone = zone.unwrap_or_else(|| cx.first_zone());
    let mut defaults = cx.subnets().await?.into_iter();
    let found = defaults.find(|subnet| subnet.default_for_az && subnet.availability_zone == zone);
    found.ok_or_else(|| Failure::internal("a zone without a default subnet"))
}

async fn groups(
    cx: &mut Cx<'_>,
    req: &Request,
    interface: Option<&NetworkInterface>,
    subnet: &Subnet,
) -> Result<Vec<SecurityGroup>, Failure> {
    let mut groups: Vec<SecurityGroup> = Vec::new();
    let ids = req.security_group_ids.iter().chain(interface.iter().flat_map(|i| &i.security_group_ids));
    let ids: Vec<&SecurityGroupId> = ids.collect();
    for id in ids {
        groups.push(cx.security_group(id).await?.into_inner());
    }
    for name in &req.security_groups {
        groups.push(cx.security_group_by_name(name).await?.into_inner());
    }
    if groups.is_empty() {
        let all = cx.security_groups().await?;
        let default = all.into_iter().find(|g| g.vpc_id == subnet.vpc_id && g.group_name == "default");
        groups.extend(default.map(Granted::into_inner));
    }
    if let Some(other) = groups.iter().find(|group| group.vpc_id != subnet.vpc_id) {
        return Err(Failure::combination(format!(
            "Security group {} and subnet {} belong to different networks.",
            other.group_id, subnet.subnet_id
        )));
    }
    groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    groups.dedup_by(|a, b| a.group_id == b.group_id);
    if groups.len() > SECURITY_GROUPS_PER_INSTANCE_MAX {
        return Err(Failure::value(format!(
            "An instance may have at most {SECURITY_GROUPS_PER_INSTANCE_MAX} security groups"
        )));
    }
    Ok(groups)
}

async fn private_ips(
    cx: &mut Cx<'_>,
    req: &Request,
    interface: Option<&NetworkInterface>,
    subnet: &Subnet,
    count: u32,
) -> Result<Vec<Ipv4Addr>, Failure> {
    let taken = cx.private_ips_in_subnet(&subnet.subnet_id).await?;
    // The last address is the broadcast address.
    let last = u32::try_from(subnet.cidr_block.size()).unwrap_or(u32::MAX).saturating_sub(1);
    let usable = || (SUBNET_RESERVED_FIRST..last).filter_map(|offset| subnet.cidr_block.nth(offset));
    let asked = req.private_ip_address.as_ref().or(interface.and_then(|i| i.private_ip_address.as_ref()));
    if let Some(text) = asked {
        let address: Ipv4Addr =
            text.parse().map_err(|_| Failure::value(format!("Invalid IPv4 address '{text}'")))?;
        if count != 1 {
            return Err(Failure::combination("A private address can be given to one instance only"));
        }
        if !usable().any(|usable| usable == address) {
            return Err(Failure::value(format!(
                "Address {address} does not fall within the subnet's address range"
            )));
        }
        if taken.contains(&address) {
            return Err(Failure::value(format!("Address {address} is in use.")));
        }
        return Ok(vec![address]);
    }
    let free: Vec<Ipv4Addr> =
        usable().filter(|address| !taken.contains(address)).take(count as usize).collect();
    if free.len() < count as usize { Err(Failure::subnet_full(&subnet.subnet_id)) } else { Ok(free) }
}
