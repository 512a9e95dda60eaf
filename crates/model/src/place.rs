//! Regions and availability zones.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::code::{Code, Fault};

/// The regions that every installation serves: names that clients know, and the short form in zone ids.
const REGIONS: &[(&str, &str)] = &[
    ("ap-northeast-1", "apne1"),
    ("ap-northeast-2", "apne2"),
    ("ap-northeast-3", "apne3"),
    ("ap-south-1", "aps1"),
    ("ap-southeast-1", "apse1"),
    ("ap-southeast-2", "apse2"),
    ("ca-central-1", "cac1"),
    ("eu-central-1", "euc1"),
    ("eu-north-1", "eun1"),
    ("eu-west-1", "euw1"),
    ("eu-west-2", "euw2"),
    ("eu-west-3", "euw3"),
    ("sa-east-1", "sae1"),
    ("us-east-1", "use1"),
    ("us-east-2", "use2"),
    ("us-west-1", "usw1"),
    ("us-west-2", "usw2"),
];

const ZONE_LETTERS: [char; 3] = ['a', 'b', 'c'];

/// A region that this service knows. Resources of one region are invisible in every other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Region(u8);

impl Region {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).zip(REGIONS).map(|(index, _)| Self(index))
    }

    pub fn as_str(self) -> &'static str {
        self.names().0
    }

    /// The zones of the region, `a` to `c`.
    pub fn zones(self) -> impl Iterator<Item = AvailabilityZone> {
        ZONE_LETTERS.into_iter().map(move |letter| AvailabilityZone { region: self, letter })
    }

    fn names(self) -> (&'static str, &'static str) {
        *REGIONS
            .get(usize::from(self.0))
            .expect("a region is made only by this module, from the table's indexes")
    }
}

impl FromStr for Region {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::all().find(|r| r.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::all().map(Self::as_str).collect();
            let message = format!("Invalid region: '{text}' (this service has: {})", known.join(", "));
            Fault::new(Code::InvalidRegion, message)
        })
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.as_str().to_owned()
    }
}

impl TryFrom<String> for Region {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A zone of a region, such as `us-east-1a` (id `use1-az1`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct AvailabilityZone {
    pub region: Region,
    letter: char,
}

impl AvailabilityZone {
    /// The id that means the same place in every account, such as `use1-az1`.
    pub fn zone_id(self) -> String {
        format!("{}-az{}", self.region.names().1, self.index() + 1)
    }

    /// Position within the region, from 0.
    pub fn index(self) -> usize {
        ZONE_LETTERS.iter().position(|l| *l == self.letter).unwrap_or_default()
    }
}

impl FromStr for AvailabilityZone {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let known = Region::all().flat_map(Region::zones).find(|zone| zone.to_string() == text);
        known.ok_or_else(|| {
            Fault::new(Code::InvalidZoneNotFound, format!("The zone '{text}' does not exist."))
        })
    }
}

impl From<AvailabilityZone> for String {
    fn from(zone: AvailabilityZone) -> Self {
        zone.to_string()
    }
}

impl TryFrom<String> for AvailabilityZone {
    type Error = Fault;

    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl fmt::Display for AvailabilityZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.region, self.letter)
    }
}

impl fmt::Debug for AvailabilityZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_names_and_ids() {
        let zone: AvailabilityZone = "us-east-1b".parse().unwrap();
        assert_eq!((zone.zone_id(), zone.to_string()), ("use1-az2".to_owned(), "us-east-1b".to_owned()));
        assert_eq!("us-east-1d".parse::<AvailabilityZone>().unwrap_err().code, Code::InvalidZoneNotFound);
        assert_eq!("mars-1".parse::<Region>().unwrap_err().code, Code::InvalidRegion);
    }
}
