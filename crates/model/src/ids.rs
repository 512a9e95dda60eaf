//! Typed ids. Each has EC2's prefix, 17 hexadecimal digits when new, and accepts the old 8-digit form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::code::{Code, Fault};
use crate::id_gen::{IdGen, random_bytes};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal, $malformed:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            pub fn generate(ids: &dyn IdGen) -> Self {
                Self(format!("{}{}", $prefix, random_hex_17(ids)))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Fault;

            fn from_str(text: &str) -> Result<Self, Fault> {
                if is_id(text, $prefix) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(Fault::new(
                        Code::$malformed,
                        format!("Invalid id: \"{text}\" (expecting \"{}...\")", $prefix),
                    ))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

ids! {
    ImageId, "ami-", InvalidAmiIdMalformed;
    SnapshotId, "snap-", InvalidSnapshotIdMalformed;
    VolumeId, "vol-", InvalidVolumeIdMalformed;
    InstanceId, "i-", InvalidInstanceIdMalformed;
    ReservationId, "r-", InvalidReservationIdMalformed;
    KeyPairId, "key-", InvalidKeyPairNotFound;
    SecurityGroupId, "sg-", InvalidGroupIdMalformed;
    SecurityGroupRuleId, "sgr-", InvalidSecurityGroupRuleIdMalformed;
    VpcId, "vpc-", InvalidVpcIdMalformed;
    SubnetId, "subnet-", InvalidSubnetIdMalformed;
    NetworkInterfaceId, "eni-", InvalidNetworkInterfaceIdMalformed;
    AttachmentId, "eni-attach-", InvalidAttachmentNotFound;
}

fn random_hex_17(ids: &dyn IdGen) -> String {
    let number = u128::from_be_bytes(random_bytes(ids));
    format!("0{:016x}", number & u128::from(u64::MAX))
}

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| {
        matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// An account: twelve decimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(String);

impl AccountId {
    /// A new account number. Never starts with zero, so that a spreadsheet cannot shorten it.
    pub fn generate(ids: &dyn IdGen) -> Self {
        let number = u64::from_be_bytes(random_bytes(ids));
        Self(format!("{:012}", 100_000_000_000 + number % 900_000_000_000))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self(text.to_owned()));
        }
        let message = format!("Invalid user id: \"{text}\" (expecting twelve digits)");
        Err(Fault::new(Code::InvalidUserIdMalformed, message))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededIdGen;

    #[test]
    fn new_ids_parse_and_old_short_ids_too() {
        let id = ImageId::generate(&SeededIdGen::new(1));
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_eq!(id.as_str().len(), "ami-".len() + 17);
        assert!("ami-1a2b3c4d".parse::<ImageId>().is_ok());
    }

    #[test]
    fn malformed_ids_name_the_value_and_what_was_expected() {
        for bad in
            ["", "ami-", "ami-1234567", "ami-1A2B3C4D", "snap-1a2b3c4d", "ami-1a2b3c4d5", "ami-zzzzzzzz"]
        {
            let fault = bad.parse::<ImageId>().unwrap_err();
            assert_eq!(fault.code, Code::InvalidAmiIdMalformed);
            assert_eq!(fault.message, format!("Invalid id: \"{bad}\" (expecting \"ami-...\")"));
        }
    }

    #[test]
    fn accounts_are_twelve_digits() {
        let account = AccountId::generate(&SeededIdGen::new(3));
        assert_eq!(account.as_str().parse(), Ok(account.clone()));
        assert!("12345678901".parse::<AccountId>().is_err());
        assert!("1234567890ab".parse::<AccountId>().is_err());
    }
}
