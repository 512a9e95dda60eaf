//! Client tokens: the same request twice is one request.

use control::Listed;

use crate::scene::{Params, Scene, has_parameter, samples, without_request_id};

fn takes_token(listed: &Listed) -> bool {
    listed.is_write && has_parameter(listed, "ClientToken")
}

/// Another valid request: one optional parameter more.
fn changed(listed: &Listed, params: &Params) -> Params {
    let (name, value) = if has_parameter(listed, "TagSpecification") {
        ("TagSpecification.1.ResourceType", "image")
    } else {
        assert!(has_parameter(listed, "Description"), "name a parameter of {} to change", listed.action);
        ("Description", "another")
    };
    let mut changed = params.clone();
    changed.push((name.to_owned(), value.to_owned()));
    changed
}

#[tokio::test]
async fn a_client_token_makes_a_repeated_write_answer_as_before_and_do_nothing() {
    for (listed, sample) in samples().into_iter().filter(|(listed, _)| takes_token(listed)) {
        let scene = Scene::new().await;
        let mut params = scene.params(sample);
        params.push(("ClientToken".to_owned(), "token-1".to_owned()));
        let first = scene.call(&listed, &params).await.ok();
        let after = scene.world.dump().await;
        let again = scene.call(&listed, &params).await.ok();
        assert_eq!(without_request_id(&first), without_request_id(&again), "{}", listed.action);
        assert_ne!(first.value("requestId"), again.value("requestId"), "{}", listed.action);
        let other = scene.call(&listed, &changed(&listed, &params)).await;
        assert_eq!(other.error_code(), "IdempotentParameterMismatch", "{}", listed.action);
        assert_eq!(scene.world.dump().await, after, "{}", listed.action);
    }
}
