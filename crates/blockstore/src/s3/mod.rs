//! S3-compatible buckets: how one is named and opened.

mod credentials;
mod http;

use std::fmt;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};
use serde::{Deserialize, Serialize};

use self::credentials::Keys;
pub use self::credentials::S3Credentials;
use self::http::Connector;
use crate::error::{Error, ErrorKind, Result};

/// A place in a bucket, and what opens it. Serialized it holds secrets: for its owner's eyes only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Options {
    pub bucket: String,
    /// What all keys begin with; empty for the whole bucket.
    pub prefix: String,
    /// `http://127.0.0.1:9000`; None for AWS itself.
    pub endpoint: Option<String>,
    pub region: String,
    pub credentials: S3Credentials,
}

impl S3Options {
    /// The bucket and the prefix of `s3://bucket/prefix`.
    pub fn parse_url(url: &str) -> Result<(String, String)> {
        let (bucket, prefix) = match url.strip_prefix("s3://") {
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
            None => return Err(Error::invalid("the address of a bucket is s3://BUCKET/PREFIX")),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if bucket.is_empty() || !bucket.chars().all(is_name) {
            return Err(Error::invalid(format!("`{bucket}` is not the name of a bucket")));
        }
        let prefix = prefix.trim_matches('/');
        let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| is_name(c) || c == '=');
        if !prefix.is_empty() && !prefix.split('/').all(|part| is_part(part) && !matches!(part, "." | "..")) {
            return Err(Error::invalid(format!(
                "a prefix is words of A-Z a-z 0-9 . - _ = between slashes, not `{prefix}`"
            )));
        }
        Ok((bucket.to_owned(), prefix.to_owned()))
    }

    /// The bucket as an object store. Nothing is asked of it yet.
    pub(crate) fn open(&self) -> Result<Arc<dyn ObjectStore>> {
        let endpoint = self.endpoint.as_deref();
        if endpoint.is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            return Err(Error::invalid("an endpoint is a URL that begins with http:// or https://"));
        }
        let is_plain = endpoint.is_some_and(|url| url.starts_with("http://"));
        let connector = Connector::new(is_plain)
            .map_err(|e| Error::new(ErrorKind::Invalid, "prepare TLS for the bucket").with_source(e))?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_disable_bulk_delete(true)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_credentials(Arc::new(Keys::new(self.credentials.clone())))
            .with_allow_http(is_plain)
            .with_retry(no_retries())
            .with_http_connector(connector);
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let built = builder.build();
        let store = built.map_err(|e| Error::invalid(format!("open {self}")).with_source(e))?;
        if self.prefix.is_empty() {
            return Ok(Arc::new(store));
        }
        Ok(Arc::new(PrefixStore::new(store, self.prefix.as_str())))
    }
}

impl fmt::Display for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)?;
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {endpoint}"),
            None => write!(f, " in {}", self.region),
        }
    }
}

/// `remote.rs` decides what is tried again and when; two layers of it would multiply.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_buckets() {
        let parse = |url| S3Options::parse_url(url).ok();
        let of = |bucket: &str, prefix: &str| Some((bucket.to_owned(), prefix.to_owned()));
        assert_eq!(parse("s3://images"), of("images", ""));
        assert_eq!(parse("s3://images/"), of("images", ""));
        assert_eq!(parse("s3://images/a/b/"), of("images", "a/b"));
        for wrong in ["images", "s3://", "s3:///x", "s3://a b", "http://x", "s3://b/a//b", "s3://b/../c"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let credentials = S3Credentials::Keys {
            access_key_id: "AKID".to_owned(),
            secret_access_key: "canary-one".to_owned(),
            session_token: Some("canary-two".to_owned()),
        };
        let options = S3Options {
            bucket: "b".to_owned(),
            prefix: "p".to_owned(),
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            region: "us-east-1".to_owned(),
            credentials,
        };
        let store = options.open().unwrap();
        let printed = format!("{options:?} {options} {store:?} {store}");
        assert!(printed.contains("AKID") && !printed.contains("canary"), "{printed}");
    }
}
