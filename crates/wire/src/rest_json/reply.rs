//! Replies, ready for the listener.

use model::Timestamp;
use serde::{Serialize, Serializer};

/// Status, headers and body of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestReply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl RestReply {
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("replies have string keys and cannot fail to serialise");
        Self { status, headers: vec![("content-type", "application/json".into())], body }
    }
}

/// A time as a JSON number of seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochSeconds(pub Timestamp);

impl Serialize for EpochSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0.as_secs())
    }
}
