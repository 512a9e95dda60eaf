//! The sample of every action with its answer, in tests/golden.

use std::fmt::Write;

use testkit::{golden, pretty, stable};

use crate::scene::{Scene, samples};

/// `DescribeImages` is `describe_images`.
fn snake_case(action: &str) -> String {
    let mut snake = String::new();
    for c in action.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// Private keys are new each time.
fn without_keys(text: &str) -> String {
    let Some((before, rest)) = text.split_once("-----BEGIN ") else { return text.to_owned() };
    let (_, after) = rest.split_once("PRIVATE KEY-----\n").unwrap_or_default();
    let (_, after) = after.split_once("PRIVATE KEY-----\n").unwrap_or((after, after));
    format!("{before}{{private key}}{after}")
}

#[tokio::test]
async fn every_sample_is_answered_as_its_file_shows() {
    let unchanged = Scene::new().await;
    for (listed, sample) in samples() {
        let own = if listed.is_write { Some(Scene::new().await) } else { None };
        let scene = own.as_ref().unwrap_or(&unchanged);
        let params = scene.params(sample);
        let reply = scene.call(&listed, &params).await.ok();
        let mut text = format!("Action={}\n", listed.action);
        for (name, value) in sample.split('&').filter_map(|pair| pair.split_once('=')) {
            writeln!(text, "{name}={value}").expect("strings take everything");
        }
        let answer = stable(&scene.anonymous(&without_keys(reply.text())));
        write!(text, "\n{}\n{}", reply.status.as_u16(), pretty(&answer)).expect("strings take everything");
        golden(&snake_case(listed.action), "sample", &text);
    }
}
