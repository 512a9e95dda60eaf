//! The product: what every API action means, and the work that follows from it.
//!
//! Operations run inside one transaction and touch nothing else; what is slower is a job. Refuses
//! to know: sockets, QEMU, file formats, SQL.

mod block_operations;
pub mod failure;
mod jobs;
mod operations;
pub mod ports;
mod rules;
mod spine;
mod sweeps;
mod upkeep;

pub use failure::Failure;

pub use spine::accounts::{NewAccount, create_account, ensure_first_account};
pub use spine::authenticate::AuthMode;
pub use spine::collection::{Collection, DomainUsage, Repack, RepackProgress, When};
pub use spine::dispatcher::{Answer, Call, Dispatcher};
pub use spine::env::Env;
pub use spine::local::reset;
pub use spine::registry::{Listed, registry};
pub use spine::runner::{Runner, RunnerOptions};
pub use upkeep::rebuild::{KnownAccount, Rebuilt, rebuild};
pub use upkeep::record::keep_records;
pub use upkeep::scrub::{Scrub, ScrubState, scrub_status};
pub use upkeep::verify::{
    Progress as VerifyProgress, Report as VerifyReport, Target as VerifyTarget, verify,
};
