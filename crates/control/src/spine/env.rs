//! The effects and constants that operations may use.

use std::sync::Arc;

use model::{Clock, IdGen};

/// Handed to every operation. Holds no IO.
#[derive(Debug, Clone)]
pub struct Env {
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdGen>,
    /// Authenticates page tokens; the same for the life of an installation.
    pub token_key: [u8; 32],
    /// What the secrets of new storage domains are derived from; the same for the life of an installation.
    pub domain_master: [u8; 32],
    /// The port that clients reach the service on; shown in region endpoints.
    pub endpoint: String,
}
