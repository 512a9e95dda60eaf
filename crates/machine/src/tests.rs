//! Data that the tests of several modules share.

use model::Timestamp;
use model::instance::{HttpTokens, MetadataOptions};

use crate::metadata::{MetadataSpec, NamedGroup};

pub(crate) fn metadata() -> MetadataSpec {
    let group =
        |id: &str, name: &str| NamedGroup { group_id: id.parse().unwrap(), group_name: name.to_owned() };
    MetadataSpec {
        options: MetadataOptions {
            http_endpoint_enabled: true,
            http_tokens: HttpTokens::Optional,
            http_put_response_hop_limit: 2,
            instance_metadata_tags_enabled: true,
        },
        account_id: "123456789012".parse().unwrap(),
        instance_id: "i-0123456789abcdef0".parse().unwrap(),
        reservation_id: "r-0123456789abcdef0".parse().unwrap(),
        image_id: "ami-0123456789abcdef0".parse().unwrap(),
        ami_launch_index: 0,
        instance_type: "t3.micro".to_owned(),
        architecture: "x86_64".to_owned(),
        launch_time: Timestamp::parse_iso8601("2026-11-21T08:22:07.250Z").unwrap(),
        availability_zone: "us-east-1a".parse().unwrap(),
        private_dns_name: "ip-10-0-0-5.ec2.internal".to_owned(),
        private_ip: "10.0.0.5".parse().unwrap(),
        public_dns_name: Some("ec2-127-1-0-5.compute-1.amazonaws.com".to_owned()),
        public_ip: Some("127.1.0.5".parse().unwrap()),
        mac: "02:00:00:00:00:01".to_owned(),
        network_interface_id: "eni-0123456789abcdef0".parse().unwrap(),
        vpc_id: "vpc-0123456789abcdef0".parse().unwrap(),
        vpc_cidr_block: "10.0.0.0/16".to_owned(),
        subnet_id: "subnet-0123456789abcdef0".parse().unwrap(),
        subnet_cidr_block: "10.0.0.0/24".to_owned(),
        security_groups: vec![group("sg-0123456789abcdef0", "default"), group("sg-0123456789abcdef1", "web")],
        key_pair: Some(("my-key".to_owned(), "ssh-ed25519 AAAA me".to_owned())),
        root_device_name: "/dev/xvda".to_owned(),
        data_device_names: vec!["/dev/sdf".to_owned()],
        ephemeral_device_names: std::collections::BTreeMap::new(),
        user_data: Some("I2Nsb3VkLWNvbmZpZwo=".to_owned()),
        tags: [("Name".to_owned(), "one two".to_owned())].into(),
    }
}
