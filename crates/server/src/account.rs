//! `katagami account create`: works whether a server runs on the data directory or not.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::AccountId;

use crate::admin::{Reply, Request};
use crate::administrator::{self, Administrator};
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::options::existing_data;
use crate::profiles;

const NAME_CHARACTERS_MAX: usize = 64;

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
        let data = DataDir::open(&existing_data(data, default_data)?)?;
        let reply = administrator::ask(&data, &Request::AccountCreate { name: name.clone() }).await?;
        if let Reply::Taken = reply {
            return Err(Error::conflict(format!("there is an account {name} already"))
                .with_hint(format!("its access key is in {}", data.credentials_file().display())));
        }
        let Reply::AccountId(id) = reply else { return Err(reply.unexpected()) };
        Ok(id)
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

/// Makes an account and its profile.
pub(crate) async fn create(administrator: &Administrator, name: &str) -> Result<Reply> {
    let Administrator { data, metastore, env, endpoint_url, .. } = administrator;
    check_name(name)?;
    // The first account is the one that everything falls back to.
    control::ensure_first_account(metastore, env).await?;
    let created = control::create_account(metastore, env, name).await?;
    profiles::write(data, metastore, endpoint_url.as_deref()).await?;
    Ok(created.map_or(Reply::Taken, |created| Reply::AccountId(created.account.account_id.to_string())))
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
