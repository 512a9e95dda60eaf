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

#[test]
fn empty_lists_keep_their_wrapper_unless_skipped() {
    let empty = Page { images: Vec::new(), groups: None, more: More { next_token: Some("t".into()) } };
    let xml = ec2_response("X", "2016-11-15", "r", &empty);
    assert!(xml.ends_with("<imagesSet></imagesSet><nextToken>t</nextToken></XResponse>"), "{xml}");
    let untagged =
        Item { tag_set: Vec::new(), ena_support: None, r#type: Some("m".into()), ..page().images.remove(0) };
    let xml = ec2_response("X", "v", "r", &untagged);
    assert!(
        !xml.contains("tagSet") && !xml.contains("enaSupport") && xml.contains("<type>m</type>"),
        "{xml}"
    );
}

#[test]
fn error_documents_have_the_shape_that_each_kind_of_client_looks_for() {
    let declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    assert_eq!(
        ec2_error("InvalidAMIID.NotFound", "The image id '[ami-<x>]' does not exist", "r"),
        format!(
            "{declaration}<Response><Errors><Error><Code>InvalidAMIID.NotFound</Code>\
             <Message>The image id '[ami-&lt;x&gt;]' does not exist</Message></Error></Errors>\
             <RequestID>r</RequestID></Response>"
        )
    );
    let sts = "https://sts.amazonaws.com/doc/2011-06-15/";
    assert_eq!(
        aws_query_error(sts, ErrorSide::Sender, "AccessDenied", "no", "r"),
        format!(
            "{declaration}<ErrorResponse xmlns=\"{sts}\"><Error><Type>Sender</Type><Code>AccessDenied</Code>\
             <Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>"
        )
    );
    assert_eq!(
        aws_query_response("GetCallerIdentity", sts, "r", &More { next_token: None }),
        format!(
            "{declaration}<GetCallerIdentityResponse xmlns=\"{sts}\"><GetCallerIdentityResult>\
             </GetCallerIdentityResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\
             </GetCallerIdentityResponse>"
        )
    );
}

#[test]
fn a_hostile_version_cannot_break_out_of_the_namespace() {
    let xml = ec2_response("X", "2016\"><evil/>", "r", &More { next_token: None });
    assert!(xml.contains("doc/2016&quot;&gt;&lt;evil/&gt;/\""), "{xml}");
}

#[test]
fn members_list_every_leaf_with_its_type() {
    let found = crate::member::leaves(Page::MEMBERS);
    let has = |path: &str, scalar| assert!(found.contains(&(path.to_owned(), scalar)), "{path}: {found:?}");
    has("imagesSet.item.imageId", Scalar::String);
    has("imagesSet.item.creationDate", Scalar::Timestamp);
    has("imagesSet.item.enaSupport", Scalar::Boolean);
    has("imagesSet.item.tagSet.item.value", Scalar::Blob);
    has("groupSet.groupId", Scalar::Integer);
    has("nextToken", Scalar::String);
    assert_eq!(found.len(), 9);
}

/// The text of every `nextToken`, as an independent reader sees it.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is the reader library's, not ours")]
fn read_token(xml: &str) -> Option<String> {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_str(xml);
    let mut open = Vec::new();
    let mut text = None;
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) => open.push(start.name().as_ref().to_owned()),
            Event::End(_) => drop(open.pop().unwrap()),
            Event::Eof => break,
            event if open.last().is_some_and(|name| name == "nextToken") => {
                let text: &mut String = text.get_or_insert_default();
                match event {
                    Event::Text(piece) => text.push_str(&piece),
                    Event::GeneralRef(entity) => text.push(match entity.resolve_char_ref().unwrap() {
                        Some(c) => c,
                        None => quick_xml::escape::resolve_predefined_entity(&entity)
                            .and_then(|c| c.chars().next())
                            .unwrap(),
                    }),
                    other => panic!("{other:?}"),
                }
            }
            _ => {}
        }
    }
    assert!(open.is_empty());
    text
}

proptest::proptest! {
    #[test]
    fn any_text_comes_back_from_an_xml_reader(text in "(\\PC|[\\x00-\\x7f]|\u{fffe}){0,40}") {
        let xml = ec2_response("X", "2016-11-15", "r", &More { next_token: Some(text.clone()) });
        let expected: String = text
            .chars()
            .map(|c| match c {
                '\t' | '\n' | '\r' => c,
                '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
                _ => c,
            })
            .collect();
        proptest::prop_assert_eq!(read_token(&xml).unwrap_or_default(), expected);
    }
}
