//! HTTP/1.1: connections with limits, and requests that the dispatcher can trust to be whole.

mod connections;
mod request;
mod routes;
#[cfg(test)]
mod tests;

pub(crate) use connections::serve;
pub(crate) use routes::Routes;
