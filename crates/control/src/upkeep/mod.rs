//! Looking after the snapshot store as a whole, across accounts: for administrators, not for clients.

mod inventory;
pub(crate) mod rebuild;
pub(crate) mod record;
pub(crate) mod scrub;
pub(crate) mod verify;
