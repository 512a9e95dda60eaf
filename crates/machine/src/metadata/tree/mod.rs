//! The paths below a version, `/latest/...`, as a tree of directories and values.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::spec::MetadataSpec;

/// Versions of the tree that clients ask for by date; here all of them show the same.
const VERSIONS: &[&str] = &[
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-09-24",
    "2024-04-11",
    "latest",
];
/// The deepest path has eight parts; more need no look-up.
const DEPTH_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Directory(BTreeMap<String, Node>),
    Value(Vec<u8>),
    /// What public keys are listed as: `0=name`, while the path to them has only the number.
    Keys {
        listing: String,
        inside: BTreeMap<String, Node>,
    },
}

/// Answers a decoded request path; None when there is nothing.
pub(crate) fn look_up(spec: &MetadataSpec, path: &str) -> Option<Vec<u8>> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let Some(version) = parts.next() else { return Some(VERSIONS.join("\n").into_bytes()) };
    if !VERSIONS.contains(&version) {
        return None;
    }
    let mut node = root(spec);
    for (depth, part) in parts.enumerate() {
        node = match node {
            Node::Directory(mut children) | Node::Keys { inside: mut children, .. } if depth < DEPTH_MAX => {
                children.remove(part)?
            }
            Node::Directory(_) | Node::Keys { .. } | Node::Value(_) => return None,
        };
    }
    Some(match node {
        Node::Value(bytes) => bytes,
        Node::Keys { listing, .. } => listing.into_bytes(),
        Node::Directory(children) => listing(&children).into_bytes(),
    })
}

fn listing(children: &BTreeMap<String, Node>) -> String {
    let names = children.iter().map(|(name, child)| match child {
        Node::Value(_) => name.clone(),
        Node::Directory(_) | Node::Keys { .. } => format!("{name}/"),
    });
    names.collect::<Vec<_>>().join("\n")
}

/// Collects the children of one directory.
#[derive(Default)]
struct Directory(BTreeMap<String, Node>);

impl Directory {
    fn value(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), Node::Value(value.into().into_bytes()));
        self
    }

    fn some(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.value(name, value),
            None => self,
        }
    }

    fn directory(mut self, name: &str, children: Self) -> Self {
        self.0.insert(name.to_owned(), Node::Directory(children.0));
        self
    }

    fn node(mut self, name: &str, node: Option<Node>) -> Self {
        if let Some(node) = node {
            self.0.insert(name.to_owned(), node);
        }
        self
    }
}

fn root(spec: &MetadataSpec) -> Node {
    let user_data = spec.user_data.as_ref().and_then(|text| STANDARD.decode(text).ok());
    let identity = Directory::default().value("document", identity_document(spec));
    let root = Directory::default()
        .directory("meta-data", meta_data(spec))
        .directory("dynamic", Directory::default().directory("instance-identity", identity))
        .node("user-data", user_data.filter(|bytes| !bytes.is_empty()).map(Node::Value));
    Node::Directory(root.0)
}

fn meta_data(spec: &MetadataSpec) -> Directory {
    let zone = &spec.availability_zone;
    let placement = Directory::default()
        .value("availability-zone", zone.to_string())
        .value("availability-zone-id", zone.zone_id())
        .value("region", zone.region.as_str());
    let services = Directory::default().value("domain", "amazonaws.com").value("partition", "aws");
    let macs = Directory::default().directory(&spec.mac, interface(spec));
    let tags = spec.options.instance_metadata_tags_enabled.then(|| tags(spec));
    Directory::default()
        .value("ami-id", spec.image_id.as_str())
        .value("ami-launch-index", spec.ami_launch_index.to_string())
        .value("ami-manifest-path", "(unknown)")
        .directory("block-device-mapping", block_devices(spec))
        .value("hostname", &spec.private_dns_name)
        .value("instance-action", "none")
        .value("instance-id", spec.instance_id.as_str())
        .value("instance-life-cycle", "on-demand")
        .value("instance-type", &spec.instance_type)
        .value("local-hostname", &spec.private_dns_name)
        .value("local-ipv4", spec.private_ip.to_string())
        .value("mac", &spec.mac)
        .directory(
            "network",
            Directory::default().directory("interfaces", Directory::default().directory("macs", macs)),
        )
        .directory("placement", placement)
        .value("profile", "default-hvm")
        .some("public-hostname", spec.public_dns_name.as_ref())
        .some("public-ipv4", spec.public_ip.map(|ip| ip.to_string()))
        .node("public-keys", public_keys(spec))
        .value("reservation-id", spec.reservation_id.as_str())
        .value("security-groups", group_names(spec))
        .directory("services", services)
        .node("tags", tags)
}

fn block_devices(spec: &MetadataSpec) -> Directory {
    let mut devices =
        Directory::default().value("ami", &spec.root_device_name).value("root", &spec.root_device_name);
    for (number, name) in (1..).zip(&spec.data_device_names) {
        devices = devices.value(&format!("ebs{number}"), short_device(name));
    }
    for (virtual_name, name) in &spec.ephemeral_device_names {
        devices = devices.value(virtual_name, short_device(name));
    }
    devices
}

fn short_device(name: &str) -> &str {
    name.strip_prefix("/dev/").unwrap_or(name)
}

fn interface(spec: &MetadataSpec) -> Directory {
    let ids: Vec<&str> = spec.security_groups.iter().map(|group| group.group_id.as_str()).collect();
    let private_ip = spec.private_ip.to_string();
    let mut interface = Directory::default()
        .value("device-number", "0")
        .value("interface-id", spec.network_interface_id.as_str())
        .value("local-hostname", &spec.private_dns_name)
        .value("local-ipv4s", &private_ip)
        .value("mac", &spec.mac)
        .value("owner-id", spec.account_id.as_str())
        .some("public-hostname", spec.public_dns_name.as_ref())
        .value("security-group-ids", ids.join("\n"))
        .value("security-groups", group_names(spec))
        .value("subnet-id", spec.subnet_id.as_str())
        .value("subnet-ipv4-cidr-block", &spec.subnet_cidr_block)
        .value("vpc-id", spec.vpc_id.as_str())
        .value("vpc-ipv4-cidr-block", &spec.vpc_cidr_block)
        .value("vpc-ipv4-cidr-blocks", &spec.vpc_cidr_block);
    if let Some(public_ip) = spec.public_ip {
        let public_ip = public_ip.to_string();
        let association = Directory::default().value(&public_ip, &private_ip);
        interface = interface.directory("ipv4-associations", association).value("public-ipv4s", public_ip);
    }
    interface
}

fn group_names(spec: &MetadataSpec) -> String {
    let names: Vec<&str> = spec.security_groups.iter().map(|group| group.group_name.as_str()).collect();
    names.join("\n")
}

fn public_keys(spec: &MetadataSpec) -> Option<Node> {
    let (name, openssh) = spec.key_pair.as_ref()?;
    let key = Directory::default().value("openssh-key", format!("{}\n", openssh.trim_end()));
    Some(Node::Keys { listing: format!("0={name}"), inside: Directory::default().directory("0", key).0 })
}

fn tags(spec: &MetadataSpec) -> Node {
    let all = spec.tags.iter().fold(Directory::default(), |all, (key, value)| all.value(key, value));
    Node::Directory(Directory::default().directory("instance", all).0)
}

/// Field names and their order as in EC2's document.
fn identity_document(spec: &MetadataSpec) -> String {
    // Whole seconds, unlike the API's own timestamps.
    let launched = model::Timestamp::from_millis(spec.launch_time.as_secs() * 1000).to_string();
    let fields: [(&str, Value); 15] = [
        ("accountId", json!(spec.account_id)),
        ("architecture", json!(spec.architecture)),
        ("availabilityZone", json!(spec.availability_zone.to_string())),
        ("billingProducts", Value::Null),
        ("devpayProductCodes", Value::Null),
        ("marketplaceProductCodes", Value::Null),
        ("imageId", json!(spec.image_id)),
        ("instanceId", json!(spec.instance_id)),
        ("instanceType", json!(spec.instance_type)),
        ("kernelId", Value::Null),
        ("pendingTime", json!(launched.replace(".000Z", "Z"))),
        ("privateIp", json!(spec.private_ip.to_string())),
        ("ramdiskId", Value::Null),
        ("region", json!(spec.availability_zone.region.as_str())),
        ("version", json!("2017-09-30")),
    ];
    let lines: Vec<String> = fields.iter().map(|(name, value)| format!("  \"{name}\" : {value}")).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

#[cfg(test)]
mod tests;
