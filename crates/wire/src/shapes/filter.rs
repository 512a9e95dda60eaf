//! `Filter.N.Name` and `Filter.N.Value.M` of the describe operations.

use crate::FromQuery;

#[derive(Debug, Clone, PartialEq, Eq, FromQuery)]
pub struct Filter {
    pub name: String,
    /// An empty value is one to match, as in `tag:purpose` with nothing in it.
    #[query("Value", keep_empty)]
    pub values: Vec<String>,
}
