//! The wire protocols: bytes in, bytes out. No IO, no clock, no state.
//!
//! An operation declares what it takes and gives as two structs; field names are EC2's in snake
//! case, and the wire names follow from them:
//!
//! ```
//! use model::{Fault, ImageId, Timestamp};
//! use wire::query::{self, Params};
//! use wire::shapes::{Filter, Tag};
//! use wire::{FromQuery, ToXml, xml};
//!
//! #[derive(Debug, FromQuery)]
//! struct Request {
//!     // `Option` where the API does not require it; `ImageId.1=` (empty) is InvalidAMIID.Malformed.
//!     #[query("ImageId")]
//!     image_ids: Vec<ImageId>,
//!     #[query("Filter")]
//!     filters: Vec<Filter>,
//!     max_results: Option<i32>,
//! }
//!
//! #[derive(Debug, ToXml)]
//! struct Response {
//!     #[xml("imagesSet")]
//!     images: Vec<Image>,
//!     next_token: Option<String>,
//! }
//!
//! #[derive(Debug, ToXml)]
//! struct Image {
//!     image_id: ImageId,
//!     #[xml("isPublic")]
//!     public: bool,
//!     creation_date: Timestamp,
//!     #[xml(skip_empty)]
//!     tag_set: Vec<Tag>,
//! }
//!
//! # fn main() -> Result<(), Fault> {
//! let params = Params::parse(b"Action=DescribeImages&ImageId.1=ami-1a2b3c4d&Filter.1.Name=name&Filter.1.Value.1=a*")?;
//! let request: Request = query::decode(&params, query::COMMON)?;
//! assert_eq!(request.image_ids, ["ami-1a2b3c4d".parse()?]);
//!
//! let image = Image {
//!     image_id: "ami-1a2b3c4d".parse()?,
//!     public: false,
//!     creation_date: Timestamp::from_millis(0),
//!     tag_set: Vec::new(),
//! };
//! let response = Response { images: vec![image], next_token: None };
//! let xml = xml::ec2_response("DescribeImages", "2016-11-15", "request-1", &response);
//! assert!(xml.contains("<imagesSet><item><imageId>ami-1a2b3c4d</imageId><isPublic>false</isPublic>"));
//! # Ok(())
//! # }
//! ```

// The derives name this crate by its path, also inside it.
extern crate self as wire;

pub mod filter;
pub mod member;
pub mod page;
mod percent;
pub mod protocol;
pub mod query;
pub mod rest_json;
pub mod shapes;
pub mod sigv4;
pub mod xml;

pub use protocol::{Protocol, Service};
pub use query::{Blob, FromQuery};
pub use wire_derive::{FromQuery, ToXml};
pub use xml::ToXml;

/// What generated code names.
#[doc(hidden)]
pub mod derive_support {
    pub use model::Fault;
}
