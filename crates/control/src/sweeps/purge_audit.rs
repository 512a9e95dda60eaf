//! Forgets audit rows after ninety days, a few at a time so that no writer waits for it.

use std::time::Duration;

use model::limits::AUDIT_KEPT_DAYS;

use crate::failure::Failure;
use crate::spine::job::Io;
use crate::spine::runner::Sweep;

const ROWS_A_SWEEP_MAX: u32 = 10_000;

pub(super) const SWEEP: Sweep =
    Sweep { name: "purge_audit", every: Duration::from_mins(10), run: |io| Box::pin(sweep(io)) };

async fn sweep(io: &Io) -> Result<bool, Failure> {
    let kept_ms = AUDIT_KEPT_DAYS * 24 * 60 * 60 * 1000;
    let before = model::Timestamp::from_millis(io.env.clock.now().as_millis() - kept_ms);
    let mut tx = io.metastore.write().await?;
    tx.audit_purge(before, ROWS_A_SWEEP_MAX).await?;
    tx.commit().await?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use testkit::World;

    #[tokio::test]
    async fn old_rows_go_and_new_ones_stay() {
        let world = World::new().await;
        world.seed_image("old", b"x").await;
        world.clock.advance(Duration::from_hours(91 * 24));
        world.seed_image("new", b"x").await;
        let count = async || {
            let mut tx = world.metastore.read().await.unwrap();
            tx.audit_page(None, 100).await.unwrap().len()
        };
        let before = count().await;
        world.runner.sweep_once().await.unwrap();
        assert_eq!((before, count().await), (2, 1));
    }
}
