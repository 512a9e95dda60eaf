use proptest::prelude::*;

use super::*;
use crate::tests::metadata;

fn get(path: &str) -> String {
    String::from_utf8(look_up(&metadata(), path).unwrap_or_else(|| panic!("nothing at {path}"))).unwrap()
}

#[test]
fn listings_mark_directories_and_keys_as_ec2_does() {
    assert!(get("/").starts_with("1.0\n2007-01-19\n") && get("/").ends_with("\nlatest"));
    assert_eq!(get("/latest"), "dynamic/\nmeta-data/\nuser-data");
    let names = get("/2009-04-04/meta-data/");
    for expected in ["ami-id", "block-device-mapping/", "network/", "public-keys/", "services/", "tags/"] {
        assert!(names.lines().any(|line| line == expected), "{expected} in {names}");
    }
    assert_eq!(get("/latest/meta-data/public-keys/"), "0=my-key");
    assert_eq!(get("/latest/meta-data/public-keys/0/"), "openssh-key");
    assert_eq!(get("/latest/meta-data/public-keys/0/openssh-key"), "ssh-ed25519 AAAA me\n");
    assert_eq!(get("/latest/meta-data/block-device-mapping"), "ami\nebs1\nroot");
}

#[test]
fn values_are_those_of_the_instance() {
    for (path, value) in [
        ("instance-id", "i-0123456789abcdef0"),
        ("placement/region", "us-east-1"),
        ("placement/availability-zone", "us-east-1a"),
        ("placement/availability-zone-id", "use1-az1"),
        ("block-device-mapping/root", "/dev/xvda"),
        ("block-device-mapping/ebs1", "sdf"),
        ("network/interfaces/macs/02:00:00:00:00:01/local-ipv4s", "10.0.0.5"),
        ("network/interfaces/macs/02:00:00:00:00:01/ipv4-associations/127.1.0.5", "10.0.0.5"),
        ("security-groups", "default\nweb"),
        ("tags/instance/Name", "one two"),
        ("services/partition", "aws"),
    ] {
        assert_eq!(get(&format!("/latest/meta-data/{path}")), value, "{path}");
    }
    assert_eq!(get("/latest/user-data"), "#cloud-config\n");
    let document: Value = serde_json::from_str(&get("/latest/dynamic/instance-identity/document")).unwrap();
    assert_eq!(document["pendingTime"], "2026-11-21T08:22:07Z");
    assert_eq!(document["region"], "us-east-1");
    assert_eq!(document["kernelId"], Value::Null);
}

#[test]
fn what_an_instance_does_not_have_is_not_there() {
    let mut spec = metadata();
    spec.user_data = None;
    spec.key_pair = None;
    spec.public_ip = None;
    spec.options.instance_metadata_tags_enabled = false;
    for path in [
        "user-data",
        "meta-data/public-keys/",
        "meta-data/public-ipv4",
        "meta-data/tags/",
        "meta-data/nothing",
        "meta-data/ami-id/deeper",
        "meta-data/../user-data",
    ] {
        assert_eq!(look_up(&spec, &format!("/latest/{path}")), None, "{path}");
    }
    assert_eq!(look_up(&spec, "/2010-01-01/meta-data/"), None);
}

proptest! {
    #[test]
    fn any_path_has_an_answer_or_none(path in "(/|latest|meta-data|network|tags|[a-z.]{0,4}|\\PC{0,3}){0,12}") {
        if let Some(bytes) = look_up(&metadata(), &path) {
            prop_assert!(bytes.len() < 65_536);
        }
    }

    /// Walking every listing reaches a value or a directory at every name, as cloud-init's crawler does.
    #[test]
    fn tags_with_odd_names_are_listed_and_found(key in "[a-zA-Z0-9 _.:=+@-]{1,20}", value in "\\PC{0,20}") {
        let mut spec = metadata();
        spec.tags = [(key.clone(), value.clone())].into();
        prop_assert_eq!(look_up(&spec, "/latest/meta-data/tags/instance/"), Some(key.clone().into_bytes()));
        let found = look_up(&spec, &format!("/latest/meta-data/tags/instance/{key}"));
        prop_assert_eq!(found, Some(value.into_bytes()));
    }
}
