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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;
    use testkit::World;

    async fn start(world: &World) -> String {
        let body = br#"{"VolumeSize":1,"ClientToken":"t"}"#.to_vec();
        let reply = world.ebs(&world.owner, Method::POST, "/snapshots", &[], body).await.ok();
        reply.json()["SnapshotId"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_token_is_forgotten_after_a_day() {
        let world = World::new().await;
        let first = start(&world).await;
        world.clock.advance(Duration::from_hours(24));
        world.runner.sweep_once().await.unwrap();
        assert_eq!(start(&world).await, first);
        world.clock.advance(Duration::from_millis(1));
        world.runner.sweep_once().await.unwrap();
        assert_ne!(start(&world).await, first);
    }
}
