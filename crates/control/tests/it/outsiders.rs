//! What belongs to another account, or to another region, is not there.

use testkit::{Account, REGION};

use crate::scene::{Scene, samples, without_request_id};

/// A copy names the region of its source: it is the one action that looks into another region.
const NAMES_A_REGION: &str = "SourceRegion=";

async fn sees_nothing(scene: &Scene, account: &Account, region: &str) {
    let is_here = |sample: &str| region == REGION || !sample.contains(NAMES_A_REGION);
    for (listed, sample) in samples().into_iter().filter(|(_, s)| s.contains('{') && is_here(s)) {
        let real = scene.call_as(account, region, &listed, &scene.params(sample)).await;
        let absent = scene.call_as(account, region, &listed, &scene.params_of_nothing(sample)).await;
        let (real, absent) = (without_request_id(&real), without_request_id(&absent));
        assert_eq!(scene.anonymous(&real), scene.anonymous(&absent), "{} {sample}", listed.action);
    }
}

#[tokio::test]
async fn a_stranger_cannot_tell_a_resource_from_none() {
    let scene = Scene::new().await;
    sees_nothing(&scene, &scene.stranger, REGION).await;
}

#[tokio::test]
async fn another_region_of_the_same_account_has_other_resources() {
    let scene = Scene::new().await;
    sees_nothing(&scene, &scene.world.owner, "eu-west-1").await;
}

#[tokio::test]
async fn a_strangers_listings_name_nothing_of_the_account() {
    let scene = Scene::new().await;
    let reads = samples().into_iter().filter(|(listed, _)| !listed.is_write);
    for (listed, _) in reads {
        let reply = scene.call_as(&scene.stranger, REGION, &listed, &[]).await;
        assert!(!scene.is_named_in(reply.text()), "{}: {}", listed.action, reply.text());
    }
}
