//! The client commands, one file each.

mod forwards;
mod push;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use clap::Subcommand;
use model::{OsIdGen, SystemClock};

use crate::client::Client;
use crate::config::{Connection, Settings};
use crate::environment::Environment;
use crate::error::Result;

#[derive(Debug, Subcommand)]
pub enum Command {
    Push(push::Push),
    Forwards(forwards::Forwards),
}

impl Command {
    pub async fn run(self, environment: &Environment) -> Result<()> {
        match self {
            Self::Push(push) => push.run(environment).await,
            Self::Forwards(forwards) => forwards.run(environment).await,
        }
    }
}

fn client(connection: &Connection, environment: &Environment) -> Result<Client> {
    let settings = Settings::load(connection, environment)?;
    Ok(Client::new(settings, Arc::new(SystemClock::new()), Arc::new(OsIdGen)))
}
