use model::{ImageId, Timestamp};

use super::*;
use crate::{Blob, ToXml};

#[derive(Debug, ToXml)]
struct Item {
    image_id: ImageId,
    #[xml("imageState")]
    state: String,
    creation_date: Timestamp,
    ena_support: Option<bool>,
    #[xml(skip_empty)]
    tag_set: Vec<Pair>,
    r#type: Option<String>,
}

#[derive(Debug, ToXml)]
struct Pair {
    key: String,
    value: Blob,
}

#[derive(Debug, ToXml)]
struct Page {
    #[xml("imagesSet")]
    images: Vec<Item>,
    #[xml("groupSet", item = "groupId")]
    groups: Option<Vec<u32>>,
    #[xml(flatten)]
    more: More,
}

#[derive(Debug, ToXml)]
struct More {
    next_token: Option<String>,
}

fn page() -> Page {
    let image = Item {
        image_id: "ami-1a2b3c4d".parse().unwrap(),
        state: "a<b>&\"c\"\r\u{1}\u{ffff}é".into(),
        creation_date: Timestamp(1_795_000_000_123),
        ena_support: Some(true),
        tag_set: vec![Pair { key: "k".into(), value: Blob(b"hi".to_vec()) }],
        r#type: None,
    };
    Page { images: vec![image], groups: Some(vec![7]), more: More { next_token: None } }
}

#[test]
fn a_response_is_written_with_ec2_names_and_envelope() {
    let xml = ec2_response("DescribeImages", "2016-11-15", "req-1", &page());
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <DescribeImagesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
        <requestId>req-1</requestId>\
        <imagesSet><item><imageId>ami-1a2b3c4d</imageId>\
        <imageState>a&lt;b&gt;&amp;&quot;c&quot;&#13;\u{fffd}\u{fffd}é</imageState>\
        <creationDate>2026-11-18T11:06:40.123Z</creationDate><enaSupport>true</enaSupport>\
        <tagSet><item><key>k</key><value>aGk=</value></item></tagSet></item></imagesSet>\
        <groupSet><groupId>7</groupId></groupSet></DescribeImagesResponse>";
    assert_eq!(xml, expected);
}
