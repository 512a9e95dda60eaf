//! `katagami account create`: works whether a server runs on the data directory or not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use control::Env;
use metastore::Metastore;
use model::{AccountId, OsIdGen, SystemClock};

use crate::admin::{self, Reply, Request};
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::options::chosen_data;
use crate::profiles;

const NAME_CHARACTERS_MAX: usize = 64;
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Manage accounts of the server on this host
#[derive(Debug, Args)]
pub struct AccountOptions {
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Make an account, add its access key to DIR/credentials as profile NAME, and print its id
    #[command(after_help = "\
Example:
  katagami account create dev
  AWS_PROFILE=dev aws ec2 describe-images --owners self")]
    Create {
        /// The account's and the profile's name
        name: String,
        /// The server's data directory [default: $XDG_DATA_HOME/katagami]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
}

impl AccountOptions {
    /// The line to print.
    pub async fn run(self, default_data: Option<PathBuf>) -> Result<String> {
        let AccountCommand::Create { name, data } = self.command;
        check_name(&name)?;
        let path = chosen_data(data, default_data)?;
        if !path.is_dir() {
            return Err(Error::usage(format!("there is no data directory {}", path.display()))
                .with_hint("katagami serve makes one; name the server's with --data"));
        }
        create(&DataDir::open(&path)?, &name).await
    }
}

fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_number = name.parse::<AccountId>().is_ok();
    if name.is_empty() || name.len() > NAME_CHARACTERS_MAX || !name.chars().all(fits) || is_number {
        let rule = "an account's name has 1 to 64 letters, digits, dots, dashes and underscores, and is no account id";
        return Err(Error::usage(rule));
    }
    Ok(())
}

/// Asks the server if there is one, and is the one process on the directory if not. A server that is just
/// starting or stopping has the lock but no socket.
async fn create(data: &DataDir, name: &str) -> Result<String> {
    for _ in 0..ATTEMPTS {
        let request = Request::AccountCreate { name: name.to_owned() };
        let reply = if let Some(_lock) = data.try_lock()? {
            let clock = Arc::new(SystemClock::new());
            let metastore = Metastore::open(&data.metastore_file(), clock).await?;
            Some(answer(data, &metastore, &local_env(), None, request).await)
        } else {
            admin::ask(data, &request).await?
        };
        match reply {
            Some(Reply::AccountId(id)) => return Ok(id),
            Some(Reply::Taken) => {
                return Err(Error::conflict(format!("there is an account {name} already"))
                    .with_hint(format!("its access key is in {}", data.credentials_file().display())));
            }
            Some(Reply::Failed(why)) => return Err(Error::new(why)),
            None => tokio::time::sleep(PAUSE).await,
        }
    }
    Err(Error::conflict(format!("another process uses {} and does not answer", data.path().display())))
}

/// Carries an administrator's request out.
pub(crate) async fn answer(
    data: &DataDir,
    metastore: &Metastore,
    env: &Env,
    endpoint_url: Option<&str>,
    request: Request,
) -> Reply {
    let Request::AccountCreate { name } = request;
    let created = async {
        check_name(&name)?;
        // The first account is the one that everything falls back to.
        control::ensure_first_account(metastore, env).await?;
        let created = control::create_account(metastore, env, &name).await?;
        profiles::write(data, metastore, endpoint_url).await?;
        Ok::<_, Error>(created)
    };
    match created.await {
        Ok(Some(created)) => Reply::AccountId(created.account.account_id.to_string()),
        Ok(None) => Reply::Taken,
        Err(error) => Reply::Failed(error.chain()),
    }
}

/// Enough of an environment to make an account; no client ever sees its endpoint or its tokens.
fn local_env() -> Env {
    Env {
        clock: Arc::new(SystemClock::new()),
        ids: Arc::new(OsIdGen),
        token_key: [0; 32],
        endpoint: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_profiles() {
        for good in ["dev", "a.b-c_d", "1234"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in ["", "a b", "a]", "123456789012", "\u{e9}", &long] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
