use model::{ImageId, Timestamp};

use super::*;
use crate::FromQuery;

#[derive(Debug, FromQuery, PartialEq)]
struct Request {
    image_id: ImageId,
    description: Option<String>,
    #[query("Owner")]
    owners: Vec<String>,
    #[query("Filter")]
    filters: Vec<Filter>,
    count: Option<u32>,
    since: Option<Timestamp>,
}

#[derive(Debug, FromQuery, PartialEq)]
struct Filter {
    name: String,
    #[query("Value", keep_empty)]
    values: Vec<String>,
}

fn read(text: &str) -> Result<Request, Fault> {
    decode(&Params::parse(text.as_bytes()).unwrap(), COMMON)
}

#[test]
fn a_request_is_read_by_its_wire_names() {
    let request = read(
        "Action=X&Version=2016-11-15&ImageId=ami-1a2b3c4d&Owner.10=c&Owner.0=a&Owner.9=b%20+b\
         &Filter.2.Name=n&Filter.2.Value.1=&Description=&Count=5",
    );
    let expected = Request {
        image_id: "ami-1a2b3c4d".parse().unwrap(),
        description: None,
        owners: vec!["a".into(), "b  b".into(), "c".into()],
        filters: vec![Filter { name: "n".into(), values: vec![String::new()] }],
        count: Some(5),
        since: None,
    };
    assert_eq!(request, Ok(expected));
}
