//! Listings by pages: every item once, in order, by tokens of the listing's own.

use control::Listed;
use testkit::REGION;

use crate::scene::{Scene, has_parameter, samples};

/// Listings of which no account has more than a page.
const SHORT: &[&str] = &["DescribeSubnets", "DescribeVpcs"];

/// The items of the first list of the reply.
fn items(text: &str) -> Vec<String> {
    let Some(start) = text.find("<item>") else { return Vec::new() };
    let text = text.get(start..).unwrap_or_default();
    let (mut depth, mut found, mut item) = (0, Vec::new(), String::new());
    for piece in text.split_inclusive('>') {
        let closes = piece.ends_with("</item>");
        if piece.ends_with("<item>") {
            depth += 1;
        }
        if depth == 0 {
            break;
        }
        item.push_str(piece);
        if closes {
            depth -= 1;
            if depth == 0 {
                found.push(std::mem::take(&mut item));
            }
        }
    }
    found
}

async fn pages(scene: &Scene, listed: &Listed) -> Vec<String> {
    let mut found = Vec::new();
    let mut token = None::<String>;
    loop {
        let mut params = vec![("MaxResults".to_owned(), "5".to_owned())];
        params.extend(token.map(|token| ("NextToken".to_owned(), token)));
        let reply = scene.call(listed, &params).await.ok();
        let page = items(reply.text());
        assert!(page.len() <= 5, "{}", listed.action);
        found.extend(page);
        let Some(next) = reply.values("nextToken").pop() else { return found };
        let elsewhere = [("NextToken".to_owned(), next.clone())];
        let refused = scene.call_as(&scene.world.owner, "eu-west-1", listed, &elsewhere).await;
        assert_eq!(refused.error_code(), "InvalidNextToken", "{}", listed.action);
        let refused = scene.call_as(&scene.stranger, REGION, listed, &elsewhere).await;
        assert_eq!(refused.error_code(), "InvalidNextToken", "{}", listed.action);
        token = Some(next);
    }
}

#[tokio::test]
async fn pages_hold_every_item_once() {
    let scene = Scene::new().await;
    for (listed, _) in samples().into_iter().filter(|(listed, _)| has_parameter(listed, "MaxResults")) {
        let action = listed.action;
        let whole = items(scene.call(&listed, &[]).await.ok().text());
        assert!(whole.len() > 5 || SHORT.contains(&action), "{action} lists {} items", whole.len());
        assert_eq!(pages(&scene, &listed).await, whole, "{action}");
        for (max, code) in
            [("0", "InvalidMaxResults"), ("-1", "InvalidMaxResults"), ("x", "InvalidParameterValue")]
        {
            let refused = scene.call(&listed, &[("MaxResults".to_owned(), max.to_owned())]).await;
            assert_eq!(refused.error_code(), code, "{action} MaxResults={max}");
        }
        let forged = scene.call(&listed, &[("NextToken".to_owned(), "AAAA".to_owned())]).await;
        assert_eq!(forged.error_code(), "InvalidNextToken", "{action}");
    }
}
