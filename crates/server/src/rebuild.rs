//! `katagami rebuild`: a database out of the store, when the one there was is lost.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use metastore::Metastore;
use model::{Clock, OsIdGen, SystemClock};

use crate::administrator::env_without_clients;
use crate::bucket;
use crate::data_dir::DataDir;
use crate::domain_keys::DomainKeys;
use crate::error::{Error, Result};
use crate::options::existing_data;
use crate::profiles;

/// Make the database anew from the store, when DIR/meta is lost
#[derive(Debug, Args)]
#[command(after_help = "\
Needs DIR/store and DIR/domains.key, and no server on DIR. Images, snapshots and their tags come
back; accounts keep their names and keys where DIR/credentials has them.

Example:
  katagami rebuild --data /srv/katagami")]
pub struct RebuildOptions {
    /// The server's data directory [default: $XDG_DATA_HOME/katagami]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl RebuildOptions {
    /// The lines to print.
    pub async fn run(self, default_data: Option<PathBuf>) -> Result<String> {
        let data = DataDir::open(&existing_data(self.data, default_data)?)?;
        let Some(_lock) = data.try_lock()? else {
            return Err(Error::conflict(format!("a server uses {}", data.path().display()))
                .with_hint("a server that runs has its database: stop it first"));
        };
        let Some(keys) = DomainKeys::read(&data)? else {
            return Err(Error::new(format!("there is no {}", data.domain_keys_file().display()))
                .with_hint("without it the store cannot be read: take the file from a backup"));
        };
        rebuild(&data, &keys).await
    }
}

async fn rebuild(data: &DataDir, keys: &DomainKeys) -> Result<String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = bucket::open_remembered(data, &clock, Arc::new(OsIdGen)).await?;
    let known = profiles::known_accounts(data, clock.now())?;
    let metastore = Metastore::open(&data.metastore_file(), Arc::clone(&clock)).await?;
    let env = env_without_clients(clock, keys.master());
    let rebuilt = control::rebuild(&metastore, &store, &env, |name| keys.secret_of(name), known).await?;
    let Some(rebuilt) = rebuilt else {
        let file = data.metastore_file();
        return Err(Error::conflict(format!("{} has accounts: it is not lost", file.display()))
            .with_hint("to make it anew all the same, move DIR/meta away"));
    };
    profiles::write(data, &metastore, None).await?;
    let mut lines: Vec<String> = rebuilt.left_out.iter().map(|line| format!("left out: {line}")).collect();
    lines.push(format!(
        "{} accounts, {} images, {} snapshots (of {} only the content was known); access keys are in {}",
        rebuilt.accounts,
        rebuilt.images,
        rebuilt.snapshots,
        rebuilt.bare_snapshots,
        data.credentials_file().display(),
    ));
    Ok(lines.join("\n"))
}
