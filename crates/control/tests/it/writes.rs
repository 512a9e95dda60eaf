//! Samples are valid, and a dry run of one changes nothing.

use crate::scene::{Scene, samples};

#[tokio::test]
async fn a_dry_run_tells_that_the_sample_would_succeed_and_changes_nothing() {
    let scene = Scene::new().await;
    let before = scene.world.dump().await;
    for (listed, sample) in samples().into_iter().filter(|(listed, _)| listed.service == "ec2") {
        let mut params = scene.params(sample);
        params.push(("DryRun".to_owned(), "true".to_owned()));
        let reply = scene.call(&listed, &params).await;
        assert_eq!(reply.error_code(), "DryRunOperation", "{}: {}", listed.action, reply.text());
        assert_eq!(reply.status.as_u16(), 412);
        assert_eq!(scene.world.dump().await, before, "{}", listed.action);
    }
}

#[tokio::test]
async fn a_read_changes_nothing() {
    let scene = Scene::new().await;
    let before = scene.world.dump().await;
    for (listed, sample) in samples().into_iter().filter(|(listed, _)| !listed.is_write) {
        scene.call(&listed, &scene.params(sample)).await.ok();
        assert_eq!(scene.world.dump().await, before, "{}", listed.action);
    }
}
