//! How the server is told what to do: flags before the configuration file before defaults.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::bucket::{AwsEnvironment, StoreConfig, StoreFileOptions};
use crate::error::{Error, Result};
use crate::logging::LogFormat;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4566);

/// A tenth of a slow disk.
const DEFAULT_SCRUB_BYTES_PER_SECOND: u64 = 20_000_000;

/// Run the service
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Everything is kept in one directory. The first start makes an account and writes its access key to
DIR/credentials, and an AWS configuration to DIR/config.

Examples:
  katagami serve
  katagami serve --data /srv/katagami --listen 127.0.0.1:8000
  katagami serve --emulator --data \"$(mktemp -d)\" --listen 127.0.0.1:0")]
pub struct ServeOptions {
    /// Where everything is kept [default: $XDG_DATA_HOME/katagami]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:4566]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// The HOST:PORT that clients are told [default: where it listens]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
    /// A TOML file with the long names of these options as keys
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// For test suites: any signature is good, POST /_katagami/reset clears
    #[arg(long)]
    pub(crate) emulator: bool,
    /// How guests reach their volumes: auto or nbd [default: auto]
    #[arg(long, value_enum, value_name = "WAY", hide_possible_values = true)]
    pub(crate) disk_transport: Option<DiskTransport>,
    /// Bytes a second to check for damage; 0 for none [default: 20000000]
    #[arg(long, value_name = "BYTES")]
    pub(crate) scrub_rate: Option<u64>,
    /// What to log: a level, or levels by module [default: info]
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// text or json [default: text]
    #[arg(long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    pub(crate) log_format: Option<LogFormat>,
}

/// How guests reach their volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DiskTransport {
    /// Over shared memory where that can be had, else over NBD.
    #[default]
    Auto,
    Nbd,
}

impl From<DiskTransport> for machine::DiskTransport {
    fn from(configured: DiskTransport) -> Self {
        match configured {
            DiskTransport::Auto => Self::Auto,
            DiskTransport::Nbd => Self::Nbd,
        }
    }
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct FileOptions {
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    advertise: Option<String>,
    emulator: bool,
    disk_transport: Option<DiskTransport>,
    scrub_rate: Option<u64>,
    log: Option<String>,
    log_format: Option<LogFormat>,
    store: StoreFileOptions,
}

/// Everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) advertise: Option<String>,
    pub(crate) emulator: bool,
    pub(crate) disk_transport: DiskTransport,
    pub(crate) scrub_rate: u64,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    pub(crate) store: StoreConfig,
}

impl ServeOptions {
    pub(crate) fn resolve(self, default_data: Option<PathBuf>, aws: &AwsEnvironment) -> Result<Config> {
        let file = self.config.as_deref().map_or_else(|| Ok(FileOptions::default()), read)?;
        let config = Config {
            data: chosen_data(self.data.or(file.data), default_data)?,
            listen: self.listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
            advertise: self.advertise.or(file.advertise),
            emulator: self.emulator || file.emulator,
            disk_transport: self.disk_transport.or(file.disk_transport).unwrap_or_default(),
            scrub_rate: self.scrub_rate.or(file.scrub_rate).unwrap_or(DEFAULT_SCRUB_BYTES_PER_SECOND),
            log: self.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
            log_format: self.log_format.or(file.log_format).unwrap_or_default(),
            store: file.store.resolve(aws)?,
        };
        if config.emulator && !config.listen.ip().is_loopback() {
            return Err(Error::usage(format!(
                "--emulator accepts any signature, so it must not listen on {}",
                config.listen
            ))
            .with_hint("listen on 127.0.0.1"));
        }
        Ok(config)
    }
}

pub(crate) fn chosen_data(named: Option<PathBuf>, default_data: Option<PathBuf>) -> Result<PathBuf> {
    named.or(default_data).ok_or_else(|| {
        Error::usage("no data directory: neither HOME nor XDG_DATA_HOME is set")
            .with_hint("name one with --data")
    })
}

/// For commands that look at a data directory, and must not make one of a typo.
pub(crate) fn existing_data(named: Option<PathBuf>, default_data: Option<PathBuf>) -> Result<PathBuf> {
    let path = chosen_data(named, default_data)?;
    if path.is_dir() {
        return Ok(path);
    }
    Err(Error::usage(format!("there is no data directory {}", path.display()))
        .with_hint("katagami serve makes one; name the server's with --data"))
}

/// Relative paths in the file start at the file's directory.
fn read(path: &Path) -> Result<FileOptions> {
    let text =
        std::fs::read_to_string(path).map_err(|e| Error::usage(format!("read {}: {e}", path.display())))?;
    let mut options: FileOptions =
        toml::from_str(&text).map_err(|e| Error::usage(format!("{}: {e}", path.display())))?;
    let dir = path.parent().unwrap_or(Path::new(""));
    options.data = options.data.map(|data| dir.join(data));
    options.store = options.store.based_at(dir);
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(options: ServeOptions) -> Result<Config> {
        options.resolve(Some(PathBuf::from("/default")), &AwsEnvironment::default())
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("katagami.toml");
        std::fs::write(
            &file,
            "data = \"d\"\nlisten = \"127.0.0.1:1\"\nlog-format = \"json\"\ndisk-transport = \"nbd\"\n\
             scrub-rate = 0\n",
        )
        .unwrap();
        let defaults = resolve(ServeOptions::default()).unwrap();
        assert_eq!((defaults.data.to_str(), defaults.listen), (Some("/default"), DEFAULT_LISTEN));
        let of_file =
            resolve(ServeOptions { config: Some(file.clone()), ..ServeOptions::default() }).unwrap();
        assert_eq!((of_file.data, of_file.listen.port()), (home.path().join("d"), 1));
        assert_eq!((of_file.log_format, of_file.disk_transport), (LogFormat::Json, DiskTransport::Nbd));
        assert_eq!((of_file.scrub_rate, defaults.scrub_rate), (0, 20_000_000));
        let listen = Some("127.0.0.1:2".parse().unwrap());
        let flags = ServeOptions { config: Some(file), listen, ..ServeOptions::default() };
        assert_eq!(resolve(flags).unwrap().listen.port(), 2);
    }

    #[test]
    fn mistakes_are_usage_errors() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("katagami.toml");
        std::fs::write(&file, "lisen = \"127.0.0.1:1\"\n").unwrap();
        let unknown = resolve(ServeOptions { config: Some(file), ..ServeOptions::default() }).unwrap_err();
        assert!(unknown.to_string().contains("lisen"), "{unknown}");
        let listen = Some("0.0.0.0:4566".parse().unwrap());
        let open = resolve(ServeOptions { emulator: true, listen, ..ServeOptions::default() }).unwrap_err();
        assert_eq!((open.exit_code(), unknown.exit_code()), (2, 2));
        assert_eq!(
            ServeOptions::default().resolve(None, &AwsEnvironment::default()).unwrap_err().exit_code(),
            2
        );
    }
}
