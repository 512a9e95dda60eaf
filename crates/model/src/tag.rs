//! Tags on resources.

use serde::{Deserialize, Serialize};

use crate::code::{Code, Fault};
use crate::limits;
use crate::string_enum;

string_enum! {
    /// Kinds of resources that carry tags, by their name in tag specifications.
    pub enum ResourceType {
        Image = "image",
        Instance = "instance",
        KeyPair = "key-pair",
        NetworkInterface = "network-interface",
        SecurityGroup = "security-group",
        SecurityGroupRule = "security-group-rule",
        Snapshot = "snapshot",
        Subnet = "subnet",
        Volume = "volume",
        Vpc = "vpc",
    }
}

impl ResourceType {
    /// The kind that an id's prefix tells; None for prefixes that no resource here has.
    pub fn of_id(id: &str) -> Option<Self> {
        let prefix = &id.get(..=id.rfind('-')?)?;
        Some(match *prefix {
            "ami-" => Self::Image,
            "i-" => Self::Instance,
            "key-" => Self::KeyPair,
            "eni-" => Self::NetworkInterface,
            "sg-" => Self::SecurityGroup,
            "sgr-" => Self::SecurityGroupRule,
            "snap-" => Self::Snapshot,
            "subnet-" => Self::Subnet,
            "vol-" => Self::Volume,
            "vpc-" => Self::Vpc,
            _ => return None,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag {
    pub key: String,
    pub value: String,
}

/// Whether the key is one that only the service itself may write.
pub fn is_reserved(key: &str) -> bool {
    key.to_ascii_lowercase().starts_with("aws:")
}

/// Checks one tag that a caller wants to write: lengths in characters, and the reserved `aws:` prefix.
pub fn check_user_tag(tag: &Tag) -> Result<(), Fault> {
    if tag.key.is_empty() || tag.key.chars().count() > limits::TAG_KEY_CHARS_MAX {
        let message = format!(
            "Tag key '{}' must be 1 to {} characters long.",
            tag.key.chars().take(200).collect::<String>(),
            limits::TAG_KEY_CHARS_MAX
        );
        return Err(Fault::new(Code::InvalidParameterValue, message));
    }
    if is_reserved(&tag.key) {
        let message = "Tag keys starting with 'aws:' are reserved for internal use";
        return Err(Fault::new(Code::InvalidParameterValue, message));
    }
    if tag.value.chars().count() > limits::TAG_VALUE_CHARS_MAX {
        let message = format!(
            "The value of tag '{}' is longer than {} characters.",
            tag.key,
            limits::TAG_VALUE_CHARS_MAX
        );
        return Err(Fault::new(Code::InvalidParameterValue, message));
    }
    Ok(())
}
