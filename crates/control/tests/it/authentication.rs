//! Nobody gets in without a signature that holds now.

use std::time::Duration;

use testkit::REGION;

use crate::scene::{Scene, samples};

#[tokio::test]
async fn every_action_wants_a_signature_that_holds() {
    let scene = Scene::new().await;
    let owner = &scene.world.owner;
    let (wrong, unknown) = (owner.with_wrong_secret(), owner.with_unknown_key());
    let before = scene.world.dump().await;
    for (listed, sample) in samples() {
        let (action, params) = (listed.action, scene.params(sample));
        let mut unsigned = scene.signed(owner, REGION, &listed, &params);
        unsigned.headers.clear();
        let reply = scene.world.answer(unsigned).await;
        assert_eq!((reply.status.as_u16(), reply.error_code().as_str()), (403, "MissingAuthenticationToken"));
        let reply = scene.call_as(&wrong, REGION, &listed, &params).await;
        assert_eq!(reply.error_code(), "SignatureDoesNotMatch", "{action}");
        let code = if listed.service == "ec2" { "AuthFailure" } else { "InvalidClientTokenId" };
        let reply = scene.call_as(&unknown, REGION, &listed, &params).await;
        assert_eq!(reply.error_code(), code, "{action}");
        let mut changed = scene.signed(owner, REGION, &listed, &params);
        changed.body = [changed.body.as_ref(), b"&Unsigned=1"].concat().into();
        assert_eq!(scene.world.answer(changed).await.error_code(), "SignatureDoesNotMatch", "{action}");
    }
    assert_eq!(scene.world.dump().await, before);
}

#[tokio::test]
async fn a_signature_of_another_time_is_refused_by_every_action() {
    let scene = Scene::new().await;
    let owner = &scene.world.owner;
    let all = samples();
    let signed: Vec<_> =
        all.iter().map(|(listed, s)| scene.signed(owner, REGION, listed, &scene.params(s))).collect();
    scene.world.clock.advance(Duration::from_mins(16));
    let before = scene.world.dump().await;
    for (call, (listed, _)) in signed.into_iter().zip(&all) {
        let reply = scene.world.answer(call).await;
        assert_eq!(reply.error_code(), "RequestExpired", "{}", listed.action);
    }
    assert_eq!(scene.world.dump().await, before);
}
