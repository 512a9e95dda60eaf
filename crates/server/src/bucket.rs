//! Where the snapshot store is: the data directory, or a bucket that the configuration names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockstore::{CacheOptions, Options, RemoteOptions, S3Credentials, S3Options, Store};
use model::{Clock, IdGen};
use serde::{Deserialize, Serialize};

use crate::data_dir::DataDir;
use crate::error::{Error, Result};

const DEFAULT_REGION: &str = "us-east-1";
const DEFAULT_PROFILE: &str = "default";
const CACHE_BYTES_MAX: u64 = 10 << 30;

/// What AWS's own tools take from the environment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AwsEnvironment {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    credentials_file: Option<PathBuf>,
    profile: Option<String>,
    region: Option<String>,
    endpoint: Option<String>,
}

impl AwsEnvironment {
    /// `get` tells the value of a variable that is set.
    pub fn new(get: impl Fn(&str) -> Option<String>) -> Self {
        let home = || Some(PathBuf::from(get("HOME")?).join(".aws/credentials"));
        Self {
            access_key_id: get("AWS_ACCESS_KEY_ID"),
            secret_access_key: get("AWS_SECRET_ACCESS_KEY"),
            session_token: get("AWS_SESSION_TOKEN"),
            credentials_file: get("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(home),
            profile: get("AWS_PROFILE"),
            region: get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")),
            endpoint: get("AWS_ENDPOINT_URL_S3").or_else(|| get("AWS_ENDPOINT_URL")),
        }
    }
}

impl fmt::Debug for AwsEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsEnvironment").field("region", &self.region).finish_non_exhaustive()
    }
}

/// The table `[store]` of the configuration file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct StoreFileOptions {
    url: Option<String>,
    endpoint: Option<String>,
    region: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    session_token: Option<String>,
    credentials_file: Option<PathBuf>,
    profile: Option<String>,
    cache_bytes: Option<u64>,
}

impl fmt::Debug for StoreFileOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreFileOptions").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Decided: where the snapshot store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreConfig {
    /// In the data directory.
    Local,
    Bucket {
        place: S3Options,
        /// None for what is right for this host's disk.
        cache_bytes: Option<u64>,
    },
}

/// A store in a bucket, and what of it is kept on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bucket {
    pub(crate) place: S3Options,
    pub(crate) cache: CacheOptions,
}

impl StoreFileOptions {
    /// Relative paths start at the configuration file's directory.
    pub(crate) fn based_at(mut self, dir: &Path) -> Self {
        self.credentials_file = self.credentials_file.map(|file| dir.join(file));
        self
    }

    pub(crate) fn resolve(self, environment: &AwsEnvironment) -> Result<StoreConfig> {
        let Some(url) = &self.url else {
            let is_empty = self.endpoint.is_none() && self.access_key_id.is_none() && self.profile.is_none();
            return if is_empty {
                Ok(StoreConfig::Local)
            } else {
                Err(Error::usage("[store] has no url").with_hint("url = \"s3://BUCKET/PREFIX\""))
            };
        };
        let cache_bytes = self.cache_bytes;
        let (bucket, prefix) = S3Options::parse_url(url).map_err(|e| Error::usage(e.to_string()))?;
        let place = S3Options {
            bucket,
            prefix,
            endpoint: self.endpoint.clone().or_else(|| environment.endpoint.clone()),
            region: self
                .region
                .clone()
                .or_else(|| environment.region.clone())
                .unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            credentials: self.credentials(environment)?,
        };
        Ok(StoreConfig::Bucket { place, cache_bytes })
    }

    /// The file before the environment; in each, keys before a file of keys.
    fn credentials(self, environment: &AwsEnvironment) -> Result<S3Credentials> {
        let environment = environment.clone();
        let profile = self.profile.clone().or(environment.profile);
        let profile = profile.unwrap_or_else(|| DEFAULT_PROFILE.to_owned());
        let keys = |id: Option<String>, secret: Option<String>, session_token| {
            Some(S3Credentials::Keys { access_key_id: id?, secret_access_key: secret?, session_token })
        };
        if self.access_key_id.is_some() != self.secret_access_key.is_some() {
            return Err(Error::usage("[store] needs both access-key-id and secret-access-key, or neither"));
        }
        if let Some(keys) = keys(self.access_key_id, self.secret_access_key, self.session_token) {
            return Ok(keys);
        }
        let of_file = |path| S3Credentials::File { path, profile };
        if let Some(path) = self.credentials_file {
            return Ok(of_file(path));
        }
        if self.profile.is_none() {
            let found =
                keys(environment.access_key_id, environment.secret_access_key, environment.session_token);
            if let Some(keys) = found {
                return Ok(keys);
            }
        }
        environment.credentials_file.filter(|path| path.exists()).map(of_file).ok_or_else(|| {
            Error::usage("[store] names a bucket, but no access key is known for it")
                .with_hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or credentials-file in [store]")
        })
    }
}

impl StoreConfig {
    /// The bucket that is used with this data directory; None for a store in the directory itself.
    pub(crate) fn bucket(&self, data: &DataDir) -> Option<Bucket> {
        let Self::Bucket { place, cache_bytes } = self else { return None };
        let bytes_max = cache_bytes.unwrap_or_else(|| default_cache_bytes(data.path()));
        Some(Bucket { place: place.clone(), cache: CacheOptions { dir: data.frames(), bytes_max } })
    }
}

/// `DIR/bucket.json`.
#[derive(Serialize, Deserialize)]
struct Remembered {
    /// Files that are older than the number have none.
    #[serde(default = "first_version")]
    version: u32,
    #[serde(flatten)]
    bucket: Bucket,
}

const VERSION: u32 = 1;

const fn first_version() -> u32 {
    1
}

fn parse_remembered(bytes: &[u8]) -> std::result::Result<Bucket, String> {
    let remembered: Remembered = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if remembered.version > VERSION {
        return Err(format!("it has version {}, and this program knows up to {VERSION}", remembered.version));
    }
    Ok(remembered.bucket)
}

/// Writes down for commands that run without a server, and know no configuration, where the store is.
pub(crate) fn remember(bucket: Option<&Bucket>, data: &DataDir) -> Result<()> {
    let path = data.bucket_file();
    let failed = |e| Error::caused(format!("write {}", path.display()), e);
    let Some(bucket) = bucket else {
        return match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(failed(e)),
            _ => Ok(()),
        };
    };
    let remembered = Remembered { version: VERSION, bucket: bucket.clone() };
    let bytes = serde_json::to_vec_pretty(&remembered).map_err(|e| Error::caused("write JSON", e))?;
    // It may hold the keys to the bucket.
    blockstore::durable::write_file(&path, &bytes, 0o600).map_err(failed)
}

/// The store that the last server used.
pub(crate) async fn open_remembered(
    data: &DataDir,
    clock: &Arc<dyn Clock>,
    ids: Arc<dyn IdGen>,
) -> Result<Store> {
    let path = data.bucket_file();
    let bucket: Option<Bucket> = match std::fs::read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::caused(format!("read {}", path.display()), e)),
        Ok(bytes) => Some(
            parse_remembered(&bytes).map_err(|why| Error::new(format!("read {}: {why}", path.display())))?,
        ),
    };
    open(bucket.as_ref(), data, clock, ids).await
}

/// Opens the store, and makes it one where nothing is there yet.
pub(crate) async fn open(
    bucket: Option<&Bucket>,
    data: &DataDir,
    clock: &Arc<dyn Clock>,
    ids: Arc<dyn IdGen>,
) -> Result<Store> {
    let options = Options { clock: Arc::clone(clock), ..Options::default() };
    let Some(bucket) = bucket else {
        return Ok(Store::open(Store::local(&data.store())?, ids, options).await?);
    };
    let remote = RemoteOptions { cache: Some(bucket.cache.clone()), ..RemoteOptions::new(Arc::clone(clock)) };
    let options = Options { remote: Some(remote), ..options };
    let store = Store::open(Store::s3(&bucket.place)?, ids, options).await?;
    let cache_bytes = bucket.cache.bytes_max;
    tracing::info!(store = %bucket.place, cache_bytes, "snapshots are kept in a bucket");
    Ok(store)
}

/// A tenth of what is free, so that guests have space to write, and not more than images need.
fn default_cache_bytes(dir: &Path) -> u64 {
    let free = rustix::fs::statvfs(dir).map_or(0, |at| at.f_bavail.saturating_mul(at.f_frsize));
    (free / 10).min(CACHE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, variables: &[(&str, &str)]) -> Result<StoreConfig> {
        let get = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        toml::from_str::<StoreFileOptions>(text).unwrap().resolve(&AwsEnvironment::new(get))
    }

    fn bucket(text: &str, variables: &[(&str, &str)]) -> S3Options {
        let StoreConfig::Bucket { place, .. } = resolve(text, variables).unwrap() else { panic!("{text}") };
        place
    }

    const OF_ENVIRONMENT: &[(&str, &str)] =
        &[("AWS_ACCESS_KEY_ID", "EK"), ("AWS_SECRET_ACCESS_KEY", "es"), ("AWS_REGION", "eu-north-1")];

    #[test]
    fn what_is_remembered_is_read_and_newer_forms_are_refused() {
        let cache = CacheOptions { dir: "/cache".into(), bytes_max: 5 };
        let bucket = Bucket { place: bucket("url = \"s3://b/p\"", OF_ENVIRONMENT), cache };
        let text = serde_json::to_string(&Remembered { version: VERSION, bucket: bucket.clone() }).unwrap();
        assert_eq!(parse_remembered(text.as_bytes()).unwrap(), bucket);
        // As it was written before it had a number.
        assert_eq!(parse_remembered(&serde_json::to_vec(&bucket).unwrap()).unwrap(), bucket);
        let newer = text.replace("\"version\":1", "\"version\":2");
        assert!(parse_remembered(newer.as_bytes()).unwrap_err().contains("version 2"));
        assert!(parse_remembered(b"{}").is_err());
    }

    #[test]
    fn the_file_goes_before_the_environment() {
        let of_environment = bucket("url = \"s3://b/p\"", OF_ENVIRONMENT);
        assert_eq!((of_environment.bucket.as_str(), of_environment.prefix.as_str()), ("b", "p"));
        assert_eq!((of_environment.region.as_str(), &of_environment.endpoint), ("eu-north-1", &None));
        let keys = |id: &str, secret: &str| S3Credentials::Keys {
            access_key_id: id.to_owned(),
            secret_access_key: secret.to_owned(),
            session_token: None,
        };
        assert_eq!(of_environment.credentials, keys("EK", "es"));
        let text = "url = \"s3://b\"\nendpoint = \"http://127.0.0.1:9000\"\nregion = \"x\"\n\
                    access-key-id = \"FK\"\nsecret-access-key = \"fs\"";
        let of_file = bucket(text, OF_ENVIRONMENT);
        assert_eq!((of_file.credentials, of_file.region.as_str()), (keys("FK", "fs"), "x"));
        let of_profile =
            bucket("url = \"s3://b\"\ncredentials-file = \"/k\"\nprofile = \"p\"", OF_ENVIRONMENT);
        let file = S3Credentials::File { path: PathBuf::from("/k"), profile: "p".to_owned() };
        assert_eq!(of_profile.credentials, file);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(resolve("", OF_ENVIRONMENT).unwrap(), StoreConfig::Local);
        for (text, variables, told) in [
            ("url = \"s3://b\"", &[][..], "no access key"),
            ("url = \"s3://b\"\naccess-key-id = \"x\"", OF_ENVIRONMENT, "both"),
            ("url = \"http://b\"", OF_ENVIRONMENT, "s3://"),
            ("endpoint = \"http://b\"", OF_ENVIRONMENT, "no url"),
        ] {
            let error = resolve(text, variables).unwrap_err();
            assert!(error.to_string().contains(told) && error.exit_code() == 2, "{text}: {error}");
        }
    }

    #[test]
    fn the_bucket_is_remembered_for_its_owner_only_until_there_is_none() {
        use std::os::unix::fs::PermissionsExt as _;

        let home = tempfile::tempdir().unwrap();
        let data = DataDir::open(home.path()).unwrap();
        let config = resolve("url = \"s3://b/p\"\ncache-bytes = 5", OF_ENVIRONMENT).unwrap();
        let bucket = config.bucket(&data).unwrap();
        remember(Some(&bucket), &data).unwrap();
        let bytes = std::fs::read(data.bucket_file()).unwrap();
        assert_eq!(serde_json::from_slice::<Bucket>(&bytes).unwrap(), bucket);
        let mode = std::fs::metadata(data.bucket_file()).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, bucket.cache.bytes_max), (0o600, 5));
        remember(None, &data).unwrap();
        remember(None, &data).unwrap();
        assert!(!data.bucket_file().exists());
    }

    #[test]
    fn secrets_are_not_printed() {
        let variables = [("AWS_ACCESS_KEY_ID", "EK"), ("AWS_SECRET_ACCESS_KEY", "canary")];
        let text = "url = \"s3://b\"\naccess-key-id = \"FK\"\nsecret-access-key = \"canary\"";
        let file = toml::from_str::<StoreFileOptions>(text).unwrap();
        let environment = AwsEnvironment::new(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        });
        let printed = format!("{file:?} {environment:?} {:?}", bucket(text, &variables));
        assert!(!printed.contains("canary"), "{printed}");
    }
}
