//! The filters of `DescribeInstances`.

use model::{Instance, SecurityGroup, Tag};
use wire::filter::{Table, many, one, opt};

use crate::spine::resources::tags::{Tagged, tag_pairs};

/// An instance with what its filters look at.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) instance: Instance,
    pub(super) tags: Vec<Tag>,
    group_names: Vec<String>,
}

impl Item {
    pub(super) fn new(tagged: Tagged<Instance>, groups: &[SecurityGroup]) -> Self {
        let own = &tagged.item.network.security_group_ids;
        let names = groups.iter().filter(|group| own.contains(&group.group_id));
        let group_names = names.map(|group| group.group_name.clone()).collect();
        Self { instance: tagged.item, tags: tagged.tags, group_names }
    }
}

/// What these instances never have; the filter is known and matches nothing.
const fn never(_: &Item) -> Vec<String> {
    Vec::new()
}

fn enabled(on: bool) -> Vec<String> {
    one(if on { "enabled" } else { "disabled" })
}

pub(super) const FILTERS: Table<Item> = Table {
    names: &[
        ("affinity", never),
        ("architecture", |i| one(i.instance.architecture)),
        ("availability-zone", |i| one(i.instance.availability_zone)),
        ("availability-zone-id", |i| one(i.instance.availability_zone.zone_id())),
        ("block-device-mapping.attach-time", |i| {
            many(i.instance.block_devices.iter().map(|d| d.attach_time))
        }),
        ("block-device-mapping.delete-on-termination", |i| {
            many(i.instance.block_devices.iter().map(|d| d.delete_on_termination))
        }),
        ("block-device-mapping.device-name", |i| {
            many(i.instance.block_devices.iter().map(|d| &d.device_name))
        }),
        ("block-device-mapping.status", |i| many(i.instance.block_devices.iter().map(|_| "attached"))),
        ("block-device-mapping.volume-id", |i| many(i.instance.block_devices.iter().map(|d| &d.volume_id))),
        ("boot-mode", |i| opt(i.instance.boot_mode)),
        ("capacity-reservation-id", never),
        ("client-token", |i| opt(i.instance.client_token.as_ref())),
        ("current-instance-boot-mode", |i| one(i.instance.current_boot_mode)),
        ("dns-name", |i| opt(i.instance.network.public_ip)),
        ("ebs-optimized", |i| one(i.instance.ebs_optimized)),
        ("ena-support", |i| one(i.instance.ena_support)),
        ("host-id", never),
        ("hypervisor", |_| one("xen")),
        ("iam-instance-profile.arn", never),
        ("iam-instance-profile.id", never),
        ("iam-instance-profile.name", never),
        ("image-id", |i| one(&i.instance.image_id)),
        ("instance-id", |i| one(&i.instance.instance_id)),
        ("instance-lifecycle", never),
        ("instance-state-code", |i| one(i.instance.state.code())),
        ("instance-state-name", |i| one(i.instance.state)),
        ("instance-type", |i| one(&i.instance.instance_type)),
        ("instance.group-id", |i| many(&i.instance.network.security_group_ids)),
        ("instance.group-name", |i| many(&i.group_names)),
        ("ip-address", |i| opt(i.instance.network.public_ip)),
        ("kernel-id", never),
        ("key-name", |i| opt(i.instance.key_name.as_ref())),
        ("launch-index", |i| one(i.instance.ami_launch_index)),
        ("launch-time", |i| one(i.instance.launch_time)),
        ("metadata-options.http-endpoint", |i| enabled(i.instance.metadata_options.http_endpoint_enabled)),
        ("metadata-options.http-put-response-hop-limit", |i| {
            one(i.instance.metadata_options.http_put_response_hop_limit)
        }),
        ("metadata-options.http-tokens", |i| one(i.instance.metadata_options.http_tokens)),
        ("metadata-options.instance-metadata-tags", |i| {
            enabled(i.instance.metadata_options.instance_metadata_tags_enabled)
        }),
        ("monitoring-state", |i| enabled(i.instance.monitoring_enabled)),
        ("network-interface.addresses.private-ip-address", |i| one(i.instance.network.private_ip)),
        ("network-interface.group-id", |i| many(&i.instance.network.security_group_ids)),
        ("network-interface.mac-address", |i| one(&i.instance.network.mac)),
        ("network-interface.network-interface-id", |i| one(&i.instance.network.network_interface_id)),
        ("network-interface.subnet-id", |i| one(&i.instance.network.subnet_id)),
        ("network-interface.vpc-id", |i| one(&i.instance.network.vpc_id)),
        ("outpost-arn", never),
        ("owner-id", |i| one(&i.instance.owner_id)),
        ("placement-group-name", never),
        ("platform", |i| opt(i.instance.platform.as_ref())),
        ("platform-details", |i| one(&i.instance.platform_details)),
        ("private-dns-name", |i| one(i.instance.private_dns_name())),
        ("private-ip-address", |i| one(i.instance.network.private_ip)),
        ("product-code", never),
        ("product-code.type", never),
        ("ramdisk-id", never),
        ("reason", |i| one(&i.instance.state_transition_reason)),
        ("requester-id", never),
        ("reservation-id", |i| one(&i.instance.reservation_id)),
        ("root-device-name", |i| one(&i.instance.root_device_name)),
        ("root-device-type", |i| one(i.instance.root_device_type)),
        ("source-dest-check", |_| one(true)),
        ("spot-instance-request-id", never),
        ("state-reason-code", |i| opt(i.instance.state_reason.as_ref().map(|reason| &reason.code))),
        ("state-reason-message", |i| opt(i.instance.state_reason.as_ref().map(|reason| &reason.message))),
        ("subnet-id", |i| one(&i.instance.network.subnet_id)),
        ("tenancy", |_| one("default")),
        ("tpm-support", |i| opt(i.instance.tpm_support.as_ref())),
        ("usage-operation", |i| one(&i.instance.usage_operation)),
        ("virtualization-type", |i| one(i.instance.virtualization_type)),
        ("vpc-id", |i| one(&i.instance.network.vpc_id)),
    ],
    tags: Some(|i| tag_pairs(&i.tags)),
};
