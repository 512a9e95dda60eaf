//! The store over S3: its own behaviour tests again over a bucket that fails at every third request, and what is special
//! about a store behind a network.

#[cfg(test)]
#[path = "../../../blockstore/tests/it/basics.rs"]
mod basics;
#[cfg(test)]
mod cache;
#[cfg(test)]
#[path = "../../../blockstore/tests/it/copies.rs"]
mod copies;
#[cfg(test)]
#[path = "../../../blockstore/tests/it/dedup.rs"]
mod dedup;
#[cfg(test)]
mod network;
#[cfg(test)]
#[path = "../../../blockstore/tests/it/oracle.rs"]
mod oracle;
#[cfg(test)]
mod support;
