//! The only SQL of the service: transactions, the tables of the nouns, and the queue of durable jobs.
//!
//! Refuses to know: what the API means, who may see a row, and when work is due to be done. Rows hold the
//! model's nouns as JSON beside the columns that queries use, so that a newer program reads older rows.

mod engine;
mod error;
mod migrations;
mod noun;
mod schema;
mod store;
mod tables;

pub use error::{Error, ErrorKind, Result};
pub use store::{Keep, Metastore, Tx};
pub use tables::audit::AuditRow;
pub use tables::client_tokens::ClientTokenRow;
pub use tables::domains::Domain;
pub use tables::image_search::{ImageKey, ImageSearch, Whose};
pub use tables::images::ImageTombstone;
pub use tables::jobs::{JobId, JobRow, NextJob};
pub use tables::tags::TagRow;
