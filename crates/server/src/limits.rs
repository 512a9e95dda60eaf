//! What one client, or all of them together, may take of the server.

use std::time::Duration;

/// Open files: each connection is one, and machines, volumes and packs need theirs.
pub(crate) const OPEN_FILES_WANTED: u64 = 16_384;
/// How long connections and jobs may take to finish when the server stops.
pub(crate) const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Connections that are served at the same time; more are turned away.
    pub(crate) connections: usize,
    /// Request line and headers together.
    pub(crate) header_bytes: usize,
    pub(crate) headers: usize,
    /// Also how long an idle connection is kept.
    pub(crate) header_time: Duration,
    /// For the whole body, and for a client to take an answer.
    pub(crate) body_time: Duration,
    /// More than the control plane's own limits, which answer in the client's protocol.
    pub(crate) body_bytes: usize,
    /// Memory for the bodies of all requests together.
    pub(crate) bodies_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            header_bytes: 32 << 10,
            headers: 96,
            header_time: Duration::from_secs(20),
            body_time: Duration::from_secs(30),
            body_bytes: model::limits::QUERY_BODY_BYTES_MAX + (64 << 10),
            bodies_bytes: 192 << 20,
        }
    }
}
