//! Where the server is and who asks: flags, environment, AWS config files, in the AWS command line's order.

mod ini;
mod resolve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use ini::Section;

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};

/// Where a client command finds its server.
#[derive(Debug, Clone, Default, Args)]
pub struct Connection {
    /// The server's URL [default: the aws cli's, else 127.0.0.1:4566]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The profile of the AWS config and credentials files
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The region
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
}

/// Everything that a request needs beside its content.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    pub(crate) ec2_endpoint: String,
    pub(crate) ebs_endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key: AccessKey,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AccessKey {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) session_token: Option<String>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("ec2_endpoint", &self.ec2_endpoint)
            .field("ebs_endpoint", &self.ebs_endpoint)
            .field("region", &self.region)
            .field("access_key_id", &self.access_key.id)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the files and decides.
    pub fn load(connection: &Connection, environment: &Environment) -> Result<Self> {
        resolve::settings(connection, environment, &Files::read(environment)?)
    }
}

/// The parsed files: the user's, and those that a server with the default data directory wrote.
#[derive(Debug, Default)]
struct Files {
    config: Profiles,
    credentials: Profiles,
    local_config: Profiles,
    local_credentials: Profiles,
}

type Profiles = BTreeMap<String, Section>;

impl Files {
    fn read(environment: &Environment) -> Result<Self> {
        let user = |variable, name: &str| match environment.get(variable) {
            Some(path) => Some(environment.expand(path)),
            None => Some(environment.home()?.join(".aws").join(name)),
        };
        let local = |name: &str| Some(environment.data_dir()?.join(name));
        Ok(Self {
            config: read(user("AWS_CONFIG_FILE", "config"))?,
            credentials: read(user("AWS_SHARED_CREDENTIALS_FILE", "credentials"))?,
            local_config: read(local("config"))?,
            local_credentials: read(local("credentials"))?,
        })
    }
}

/// A file that is not there has no profiles.
fn read(path: Option<PathBuf>) -> Result<Profiles> {
    path.map_or_else(|| Ok(Profiles::new()), |path| read_file(&path))
}

fn read_file(path: &Path) -> Result<Profiles> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(ini::parse(&String::from_utf8_lossy(&bytes))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Profiles::new()),
        Err(e) => Err(Error::new(ErrorKind::Usage, format!("read {}: {e}", path.display()))),
    }
}
