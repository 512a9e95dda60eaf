//! The nouns of the service, their ids, states and limits: pure data and pure rules.
//!
//! Refuses to know: storage, wire formats, async, IO. Time and randomness are traits here, with
//! the only real implementations beside them.

pub mod clock;
pub mod id_gen;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use id_gen::{IdGen, OsIdGen, SeededIdGen};
