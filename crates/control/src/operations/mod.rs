//! API actions, one file each. This file is written by `cargo xtask codegen`.

use crate::spine::registry::Entry;

mod authorize_security_group_ingress;
mod copy_image;
mod create_image;
mod create_key_pair;
mod create_security_group;
mod create_snapshot;
mod create_tags;
mod delete_key_pair;
mod delete_security_group;
mod delete_snapshot;
mod delete_tags;
mod deregister_image;
mod describe_availability_zones;
mod describe_image_attribute;
mod describe_images;
mod describe_instance_status;
mod describe_instance_types;
mod describe_instances;
mod describe_key_pairs;
mod describe_regions;
mod describe_security_groups;
mod describe_snapshots;
mod describe_subnets;
mod describe_tags;
mod describe_volumes;
mod describe_vpcs;
mod get_caller_identity;
mod get_console_output;
mod import_key_pair;
mod modify_image_attribute;
mod reboot_instances;
mod register_image;
mod reset_image_attribute;
mod revoke_security_group_ingress;
mod run_instances;
mod start_instances;
mod stop_instances;
mod terminate_instances;

pub(crate) const ALL: &[Entry] = &[
    Entry::of::<authorize_security_group_ingress::AuthorizeSecurityGroupIngress>(),
    Entry::of::<copy_image::CopyImage>(),
    Entry::of::<create_image::CreateImage>(),
    Entry::of::<create_key_pair::CreateKeyPair>(),
    Entry::of::<create_security_group::CreateSecurityGroup>(),
    Entry::of::<create_snapshot::CreateSnapshot>(),
    Entry::of::<create_tags::CreateTags>(),
    Entry::of::<delete_key_pair::DeleteKeyPair>(),
    Entry::of::<delete_security_group::DeleteSecurityGroup>(),
    Entry::of::<delete_snapshot::DeleteSnapshot>(),
    Entry::of::<delete_tags::DeleteTags>(),
    Entry::of::<deregister_image::DeregisterImage>(),
    Entry::of::<describe_availability_zones::DescribeAvailabilityZones>(),
    Entry::of::<describe_image_attribute::DescribeImageAttribute>(),
    Entry::of::<describe_images::DescribeImages>(),
    Entry::of::<describe_instance_status::DescribeInstanceStatus>(),
    Entry::of::<describe_instance_types::DescribeInstanceTypes>(),
    Entry::of::<describe_instances::DescribeInstances>(),
    Entry::of::<describe_key_pairs::DescribeKeyPairs>(),
    Entry::of::<describe_regions::DescribeRegions>(),
    Entry::of::<describe_security_groups::DescribeSecurityGroups>(),
    Entry::of::<describe_snapshots::DescribeSnapshots>(),
    Entry::of::<describe_subnets::DescribeSubnets>(),
    Entry::of::<describe_tags::DescribeTags>(),
    Entry::of::<describe_volumes::DescribeVolumes>(),
    Entry::of::<describe_vpcs::DescribeVpcs>(),
    Entry::of::<get_caller_identity::GetCallerIdentity>(),
    Entry::of::<get_console_output::GetConsoleOutput>(),
    Entry::of::<import_key_pair::ImportKeyPair>(),
    Entry::of::<modify_image_attribute::ModifyImageAttribute>(),
    Entry::of::<reboot_instances::RebootInstances>(),
    Entry::of::<register_image::RegisterImage>(),
    Entry::of::<reset_image_attribute::ResetImageAttribute>(),
    Entry::of::<revoke_security_group_ingress::RevokeSecurityGroupIngress>(),
    Entry::of::<run_instances::RunInstances>(),
    Entry::of::<start_instances::StartInstances>(),
    Entry::of::<stop_instances::StopInstances>(),
    Entry::of::<terminate_instances::TerminateInstances>(),
];
