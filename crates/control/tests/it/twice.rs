//! What a request names twice is meant once.

use crate::scene::{Params, Scene, samples, without_request_id};

/// The request with every resource of a list named once more.
fn doubled(params: &Params) -> Params {
    let mut doubled = params.clone();
    for (name, value) in params {
        if let Some(list) = name.strip_suffix(".1") {
            let count =
                params.iter().filter(|(other, _)| other.rsplit_once('.').is_some_and(|(l, _)| l == list));
            doubled.push((format!("{list}.{}", count.count() + 1), value.clone()));
        }
    }
    doubled
}

#[tokio::test]
async fn a_resource_named_twice_is_listed_once() {
    let scene = Scene::new().await;
    for (listed, sample) in samples().into_iter().filter(|(listed, _)| !listed.is_write) {
        let params = scene.params(sample);
        let once = scene.call(&listed, &params).await.ok();
        let twice = scene.call(&listed, &doubled(&params)).await.ok();
        assert_eq!(without_request_id(&once), without_request_id(&twice), "{}", listed.action);
    }
}

#[tokio::test]
async fn a_resource_named_twice_is_changed_once() {
    let is_many = |sample: &str| sample.contains("InstanceId.1=") || sample.contains("ResourceId.1=");
    for (listed, sample) in samples().into_iter().filter(|(listed, s)| listed.is_write && is_many(s)) {
        let (first, second) = (Scene::new().await, Scene::new().await);
        let once = first.call(&listed, &first.params(sample)).await.ok();
        let twice = second.call(&listed, &doubled(&second.params(sample))).await.ok();
        assert_eq!(without_request_id(&once), without_request_id(&twice), "{}", listed.action);
        first.world.settle().await;
        second.world.settle().await;
        assert_eq!(first.world.dump().await, second.world.dump().await, "{}", listed.action);
    }
}
