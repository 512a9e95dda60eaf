//! Forgets client tokens after the day for which a repeated request gets the first one's answer.

use std::time::Duration;

use model::limits::CLIENT_TOKEN_SECS;

use crate::failure::Failure;
use crate::spine::job::Io;
use crate::spine::runner::Sweep;

pub(super) const SWEEP: Sweep =
    Sweep { name: "client_tokens", every: Duration::from_mins(10), run: |io| Box::pin(sweep(io)) };

async fn sweep(io: &Io) -> Result<bool, Failure> {
    let before = io.env.clock.now().minus(Duration::from_secs(CLIENT_TOKEN_SECS));
    let mut tx = io.metastore.write().await?;
    tx.client_tokens_purge(before).await?;
    tx.commit().await?;
    Ok(false)
}
