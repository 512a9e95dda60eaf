use std::str::FromStr;

use model::{Code, ImageId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::member::{Scalar, leaves};
use crate::shapes::{BlockDeviceMappingRequest, Filter, Tag, TagKey, TagSpecification};
use crate::{FromQuery, percent};

#[derive(Debug, FromQuery, PartialEq)]
struct Request {
    image_id: ImageId,
    description: Option<String>,
    #[query("Owner")]
    owners: Vec<String>,
    #[query("Filter")]
    filters: Vec<Filter>,
    #[query("BlockDeviceMapping")]
    mappings: Vec<BlockDeviceMappingRequest>,
    placement: Option<Placement>,
    attribute: Option<Attribute>,
    #[query(flatten)]
    paging: Paging,
    user_data: Option<Blob>,
}

#[derive(Debug, FromQuery, PartialEq)]
struct Placement {
    availability_zone: Option<String>,
    #[query("Deep")]
    deep: Option<Deep>,
}

#[derive(Debug, FromQuery, PartialEq)]
struct Deep {
    flag: bool,
}

/// A value that is set to nothing by an empty text.
#[derive(Debug, FromQuery, PartialEq)]
struct Attribute {
    #[query(keep_empty)]
    value: Option<String>,
}

#[derive(Debug, FromQuery, PartialEq)]
struct Paging {
    max_results: Option<i32>,
    since: Option<Timestamp>,
}

const ID: &str = "ImageId=ami-1a2b3c4d";

fn read(text: &str) -> Result<Request, Fault> {
    decode(&Params::parse(text.as_bytes())?, COMMON)
}

fn more(text: &str) -> Result<Request, Fault> {
    read(&format!("{ID}&{text}"))
}

fn fault(text: &str) -> (Code, String) {
    let fault = more(text).unwrap_err();
    (fault.code, fault.message)
}

#[test]
fn lists_go_by_number_from_anywhere_with_gaps() {
    let request = more("Owner.10=c&Owner.0=a&Owner.9=b%20+b").unwrap();
    assert_eq!(request.owners, ["a", "b  b", "c"]);
    let padded = (Code::UnknownParameter, "The parameter Owner.01 is not recognized".to_owned());
    assert_eq!(fault("Owner.1=a&Owner.01=b"), padded);
}

#[test]
fn nested_structures_lists_and_flattened_members_are_read() {
    let request = more(
        "Filter.2.Name=tag:a&Filter.2.Value.1=&Filter.2.Value.2=x&Filter.1.Name=state\
         &BlockDeviceMapping.1.DeviceName=/dev/sda1&BlockDeviceMapping.1.Ebs.VolumeSize=8\
         &BlockDeviceMapping.1.Ebs.DeleteOnTermination=True&BlockDeviceMapping.2.NoDevice=\
         &Placement.Deep.Flag=false&MaxResults=5&Since=2026-11-21T08:22:07Z&UserData=aGk%3D",
    )
    .unwrap();
    let [first, second] = &request.filters[..] else { panic!("{:?}", request.filters) };
    assert_eq!((first.name.as_str(), first.values.len()), ("state", 0));
    assert_eq!(second.values, ["", "x"]);
    let [root, removed] = &request.mappings[..] else { panic!("{:?}", request.mappings) };
    let ebs = root.ebs.as_ref().unwrap();
    assert_eq!((ebs.volume_size_gib, ebs.delete_on_termination), (Some(8), Some(true)));
    assert_eq!((root.no_device, removed.no_device), (None, Some(Presence)));
    assert_eq!(request.placement.unwrap().deep, Some(Deep { flag: false }));
    assert_eq!(request.paging.max_results, Some(5));
    assert_eq!(request.paging.since.unwrap().basic_iso8601(), "20261121T082207Z");
    assert_eq!(request.user_data, Some(Blob(b"hi".to_vec())));
}

#[test]
fn empty_means_absent_unless_it_speaks() {
    let request = more(
        "Description=&Placement.AvailabilityZone=&MaxResults=&Owner.1=&UserData=&Attribute.Value=\
         &Placement.Deep.Flag=",
    )
    .unwrap();
    assert_eq!((request.description, request.placement, request.user_data), (None, None, None));
    assert_eq!((request.paging.max_results, request.owners.len()), (None, 0));
    assert_eq!(request.attribute, Some(Attribute { value: Some(String::new()) }));
    assert_eq!(more("").unwrap().attribute, None);
}

#[derive(Debug, FromQuery)]
struct Many {
    #[query("ImageId")]
    ids: Vec<ImageId>,
}

#[test]
fn an_empty_id_in_a_list_is_malformed_not_dropped() {
    let params = Params::parse(b"ImageId.1=").unwrap();
    let fault = decode::<Many>(&params, COMMON).unwrap_err();
    assert_eq!(fault.code, Code::InvalidAmiIdMalformed);
    assert_eq!(decode::<Many>(&Params::parse(b"").unwrap(), &[]).unwrap().ids, []);
}

#[test]
fn faults_name_the_parameter_and_unknown_comes_before_missing() {
    let cases = [
        ("Nope=1", Code::UnknownParameter, "The parameter Nope is not recognized"),
        ("description=x", Code::UnknownParameter, "The parameter description is not recognized"),
        ("Owner=x", Code::UnknownParameter, "The parameter Owner is not recognized"),
        ("Owner.x=y", Code::UnknownParameter, "The parameter Owner.x is not recognized"),
        ("Owner.1.Name=y", Code::UnknownParameter, "The parameter Owner.1.Name is not recognized"),
        ("Owner.member.1=y", Code::UnknownParameter, "The parameter Owner.member.1 is not recognized"),
        ("ImageId.1=y", Code::UnknownParameter, "The parameter ImageId.1 is not recognized"),
        ("Placement=x", Code::UnknownParameter, "The parameter Placement is not recognized"),
        ("Owner..1=x", Code::UnknownParameter, "The parameter Owner..1 is not recognized"),
        (
            "Filter.1.Value.1=x",
            Code::MissingParameter,
            "The request must contain the parameter Filter.1.Name",
        ),
        (
            "BlockDeviceMapping.3.Ebs.Nope.1=x",
            Code::UnknownParameter,
            "The parameter BlockDeviceMapping.3.Ebs.Nope.1 is not recognized",
        ),
        (
            "MaxResults=5x",
            Code::InvalidParameterValue,
            "Invalid value '5x' for parameter MaxResults (expecting a whole number in range)",
        ),
        (
            "Placement.Deep.Flag=yes",
            Code::InvalidParameterValue,
            "Invalid value 'yes' for parameter Placement.Deep.Flag (expecting true or false)",
        ),
        (
            "UserData=*",
            Code::InvalidParameterValue,
            "Invalid value for parameter UserData (expecting base64-encoded data)",
        ),
    ];
    for (text, code, message) in cases {
        assert_eq!(fault(text), (code, message.to_owned()), "{text}");
    }
    assert_eq!(read("").unwrap_err().message, "The request must contain the parameter ImageId");
    assert_eq!(read("ImageId=").unwrap_err().code, Code::MissingParameter);
    assert_eq!(read("Nope=1").unwrap_err().code, Code::UnknownParameter);
    assert_eq!(read("ImageId=ami-x").unwrap_err().code, Code::InvalidAmiIdMalformed);
}

#[test]
fn numbers_out_of_range_are_invalid() {
    for bad in ["2147483648", "-2147483649", "1.0", "0x10", "%201"] {
        assert_eq!(fault(&format!("MaxResults={bad}")).0, Code::InvalidParameterValue, "{bad}");
    }
    assert_eq!(more("MaxResults=-2147483648").unwrap().paging.max_results, Some(i32::MIN));
}

#[test]
fn tags_keep_empty_values_and_tell_them_from_none() {
    let read = |text: &str| decode::<Tagging>(&Params::parse(text.as_bytes()).unwrap(), &[]).unwrap();
    let request = read(
        "TagSpecification.1.ResourceType=image&TagSpecification.1.Tag.1.Key=a\
         &TagSpecification.1.Tag.1.Value=&TagSpecification.1.Tag.2.Key=b&Tag.1.Key=x&Tag.2.Key=y&Tag.2.Value=",
    );
    let specification = &request.specifications[0];
    assert_eq!(specification.resource_type, model::ResourceType::Image);
    let tags: Vec<model::Tag> = specification.tags.iter().cloned().map(Tag::into).collect();
    assert_eq!(
        tags.iter().map(|t| (t.key.as_str(), t.value.as_str())).collect::<Vec<_>>(),
        [("a", ""), ("b", "")]
    );
    let values: Vec<_> = request.keys.into_iter().map(|key| key.value).collect();
    assert_eq!(values, [None, Some(String::new())]);
}

#[derive(Debug, FromQuery)]
struct Tagging {
    #[query("TagSpecification")]
    specifications: Vec<TagSpecification>,
    #[query("Tag")]
    keys: Vec<TagKey>,
}

#[test]
fn aws_query_lists_have_a_member_segment() {
    let params = Params::parse(b"Tag.member.2.Key=b&Tag.member.1.Key=a").unwrap();
    let request: Tagging = decode_aws_query(&params, COMMON).unwrap();
    assert_eq!(request.keys.iter().map(|t| t.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn common_parameters_belong_to_no_operation() {
    let text = "Action=X&Version=2016-11-15&DryRun=true&AWSAccessKeyId=a&X-Amz-Date=d&X-Amz-Signature=s";
    assert!(more(text).is_ok());
}

#[test]
fn malformed_bodies_are_refused() {
    let cases: &[&[u8]] =
        &[b"a=%", b"a=%4", b"a=%zz", b"a=%ff", b"a=\xff", b"%C3=1", b"=1", b"a=1&a=2", b"a&a="];
    for body in cases {
        assert_eq!(Params::parse(body).unwrap_err().code, Code::MalformedQueryString, "{body:?}");
    }
    assert_eq!(Params::parse_both("Action=X", b"Action=Y").unwrap_err().code, Code::MalformedQueryString);
    let both = Params::parse_both("Action=X", b"ImageId=i&B").unwrap();
    assert_eq!((both.get("Action"), both.get("ImageId"), both.get("B")), (Some("X"), Some("i"), Some("")));
    assert_eq!((both.non_empty("B"), both.get("C")), (None, None));
}

#[test]
fn sizes_are_bounded() {
    let large = vec![b'a'; (1 << 20) + 1];
    assert_eq!(Params::parse(&large).unwrap_err().code, Code::RequestEntityTooLarge);
    let many: Vec<String> = (0..=10_000).map(|i| format!("a{i}=")).collect();
    assert_eq!(Params::parse(many.join("&").as_bytes()).unwrap_err().code, Code::MalformedQueryString);
    let deep = format!("{}=1", vec!["A"; 13].join("."));
    assert_eq!(fault(&deep).0, Code::UnknownParameter);
    let long = format!("{}=1", "A".repeat(513));
    assert_eq!(fault(&long).0, Code::MalformedQueryString);
}

#[test]
fn a_digest_is_of_the_meaning() {
    let digest = |text: &str| Params::parse(text.as_bytes()).unwrap().digest(&["NextToken"]);
    assert_eq!(digest("A=1&B=2&NextToken=x"), digest("B=%32&A=1"));
    assert_ne!(digest("A=1&B=2"), digest("A=12&B="));
    assert_ne!(digest("AB=1"), digest("A=B1"));
}

#[test]
fn members_list_every_leaf_with_its_type() {
    let found = leaves(Request::MEMBERS);
    let has = |path: &str, scalar| assert!(found.contains(&(path.to_owned(), scalar)), "{path}: {found:?}");
    has("ImageId", Scalar::String);
    has("Owner.N", Scalar::String);
    has("Filter.N.Value.N", Scalar::String);
    has("BlockDeviceMapping.N.Ebs.VolumeSize", Scalar::Integer);
    has("BlockDeviceMapping.N.Ebs.Encrypted", Scalar::Boolean);
    has("Placement.Deep.Flag", Scalar::Boolean);
    has("Since", Scalar::Timestamp);
    has("UserData", Scalar::Blob);
    assert!(find(Request::MEMBERS, "MaxResults").is_some());
    assert!(find(Request::MEMBERS, "").is_none());
}

/// Enumerations of an operation's own are leaves like any other.
#[derive(Debug, PartialEq)]
struct Loose;

impl FromStr for Loose {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        text.eq_ignore_ascii_case("loose").then_some(Self).ok_or_else(|| Fault::value(text))
    }
}

#[test]
fn any_type_that_parses_with_a_fault_is_a_leaf() {
    assert_eq!(Loose::parse("Attribute", "lOOse"), Ok(Loose));
}

fn damage(text: &str, at: usize, with: u8) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let at = at % bytes.len();
    bytes[at] = with;
    bytes
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(params) = Params::parse(&bytes) {
            let _unused = decode::<Request>(&params, COMMON);
        }
    }

    #[test]
    fn damaged_requests_are_read_or_refused(at in any::<usize>(), with in any::<u8>()) {
        let text = "ImageId=ami-1a2b3c4d&BlockDeviceMapping.1.Ebs.VolumeSize=8&Filter.1.Name=a&Filter.1.Value.1=%C3%A9";
        if let Ok(params) = Params::parse(&damage(text, at, with)) {
            let _unused = decode::<Request>(&params, COMMON);
        }
    }

    #[test]
    fn dotted_names_of_any_shape_are_read_or_refused(
        names in proptest::collection::vec("(ImageId|Filter|Owner|Placement|Deep|[0-9]{1,12}|\\.|member){1,14}", 0..8),
    ) {
        let text = names.join("=x&");
        if let Ok(params) = Params::parse(text.as_bytes()) {
            let _unused = decode::<Request>(&params, COMMON);
            let _unused = decode_aws_query::<Request>(&params, COMMON);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded(pairs in proptest::collection::btree_map("\\PC{1,10}", "\\PC{0,10}", 0..8)) {
        let encoded: Vec<_> =
            pairs.iter().map(|(n, v)| format!("{}={}", percent::encode(n), percent::encode(v))).collect();
        let params = Params::parse(encoded.join("&").as_bytes()).unwrap();
        let read: Vec<_> = params.iter().collect();
        let expected: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        prop_assert_eq!(read, expected);
    }
}
