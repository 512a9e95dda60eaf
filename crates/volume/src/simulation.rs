//! What a simulation needs to put a disk of its own under a volume's log.

pub use crate::disk::{Disk, OsDisk};
pub use crate::segment::Segment;
pub use crate::volume::Options;
