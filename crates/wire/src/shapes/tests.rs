//! The shared shapes against the public service model; fixtures/ec2/generate.py takes the names out of it.

use std::collections::BTreeSet;

use model::{DeviceSource, EbsBlockDevice, VolumeType};

use super::*;
use crate::member::{Member, leaves};
use crate::xml::ec2_response;
use crate::{FromQuery, ToXml};

fn check(direction: &str, shape: &str, members: &'static [Member]) {
    let of_model = |line: &str| {
        let path = line.strip_prefix(&format!("{direction} {shape} "))?.to_owned();
        Some(path)
    };
    let expected: BTreeSet<_> =
        include_str!("../../fixtures/ec2/shapes.txt").lines().filter_map(of_model).collect();
    let ours: BTreeSet<_> =
        leaves(members).iter().map(|(path, scalar)| format!("{path} {scalar:?}")).collect();
    assert_eq!(ours, expected, "{direction} {shape}");
}

#[test]
fn members_are_those_of_the_service_model() {
    check("request", "BlockDeviceMapping", BlockDeviceMappingRequest::MEMBERS);
    check("response", "BlockDeviceMapping", BlockDeviceMapping::MEMBERS);
    check("request", "Filter", Filter::MEMBERS);
    check("request", "TagSpecification", TagSpecification::MEMBERS);
    check("request", "Tag", <Tag as FromQuery>::MEMBERS);
    check("request", "Tag", TagKey::MEMBERS);
    check("response", "Tag", <Tag as ToXml>::MEMBERS);
}

#[derive(ToXml)]
struct Reply {
    block_device_mapping: Vec<BlockDeviceMapping>,
}

#[test]
fn a_mapping_is_reported_as_it_is_stored() {
    let ebs = EbsBlockDevice {
        snapshot_id: Some("snap-1a2b3c4d".parse().unwrap()),
        volume_size_gib: 8,
        volume_type: VolumeType::Gp3,
        iops: Some(3000),
        throughput_mibps: Some(125),
        delete_on_termination: true,
        encrypted: false,
    };
    let stored = [
        model::BlockDeviceMapping { device_name: "/dev/sda1".into(), source: DeviceSource::Ebs(ebs) },
        model::BlockDeviceMapping {
            device_name: "sdb".into(),
            source: DeviceSource::Virtual("ephemeral0".into()),
        },
    ];
    let reply = Reply { block_device_mapping: stored.iter().map(BlockDeviceMapping::from).collect() };
    let xml = ec2_response("X", "2016-11-15", "r", &reply);
    let expected = "<blockDeviceMapping><item><deviceName>/dev/sda1</deviceName><ebs>\
        <deleteOnTermination>true</deleteOnTermination><iops>3000</iops><snapshotId>snap-1a2b3c4d</snapshotId>\
        <volumeSize>8</volumeSize><volumeType>gp3</volumeType><throughput>125</throughput>\
        <encrypted>false</encrypted></ebs></item>\
        <item><deviceName>sdb</deviceName><virtualName>ephemeral0</virtualName></item></blockDeviceMapping>";
    assert!(xml.contains(expected), "{xml}");
}

#[test]
fn a_tag_always_has_a_value_element() {
    let tag = Tag::from(&model::Tag { key: "k".into(), value: String::new() });
    assert!(ec2_response("X", "v", "r", &tag).contains("<key>k</key><value></value>"));
    assert_eq!(tag.value(), "");
}
