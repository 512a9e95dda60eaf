//! What one client, or all of them together, may take of the server.

use std::time::Duration;

/// Connections that are served at the same time; more are turned away.
pub(crate) const CONNECTIONS_MAX: usize = 2048;
/// Request line and headers together.
pub(crate) const HEADER_BYTES_MAX: usize = 32 << 10;
pub(crate) const HEADERS_MAX: usize = 96;
/// Also how long an idle connection is kept.
pub(crate) const HEADER_TIME_MAX: Duration = Duration::from_secs(20);
/// For the whole body; a block of 512 KiB needs a bit more than 100 kbit/s.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// A block and some slack; query requests have a limit of their own, which tells what it is.
pub(crate) const BODY_BYTES_MAX: usize = model::limits::QUERY_BODY_BYTES_MAX + (64 << 10);
/// Memory for the bodies of all requests together.
pub(crate) const BODIES_BYTES_MAX: usize = 192 << 20;
/// How long connections may take to finish when the server stops.
pub(crate) const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// Open files: each connection is one, and machines, volumes and packs need theirs.
pub(crate) const OPEN_FILES_WANTED: u64 = 16_384;
